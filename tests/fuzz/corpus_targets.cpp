#include <algorithm>
#include <fstream>
#include <memory>

#include "host/corpus.hpp"
#include "host/error.hpp"
#include "host/progress.hpp"
#include "host/text_reader.hpp"
#include "host/token.hpp"
#include "host/token_format.hpp"
#include "host/utf8.hpp"
#include "tests/fuzz/target.hpp"

namespace aloft::fuzz {
namespace {

/// Reads a corpus to its end; returns the ids.
std::vector<TokenId> all_ids(const CorpusSpec& spec) {
  NoProgress progress;
  const auto corpus = open_corpus(spec, progress);
  const auto source = corpus->open();
  std::vector<TokenId> block(4096), all;
  while (const std::size_t n = source->read(block))
    all.insert(all.end(), block.begin(), block.begin() + static_cast<std::ptrdiff_t>(n));
  const auto vocab = static_cast<std::uint64_t>(corpus->vocab_size());
  for (const TokenId id : all) require(id == kDocumentBreak || id < vocab, "an id outside the vocabulary");
  return all;
}

void read_token_files(std::string_view data) {
  Options options(data);
  std::vector<std::string> formats = format_names();
  std::erase(formats, kTextFormat);
  CorpusSpec spec;
  spec.format = formats[options.choice(formats.size())];
  const std::int64_t sizes[]{5, 70000, std::int64_t{1} << 31};
  spec.vocab_size = sizes[options.choice(3)];
  if (options.choice(2) == 1) spec.doc_sep_id = 1;
  const std::size_t more = options.choice(4);
  const std::size_t cut = more == 0 ? data.size() : data.size() / 2;
  spec.paths = {file_with(data.substr(0, cut))};
  if (more == 1) spec.paths.push_back(file_with(data.substr(cut), 1));
  (void)all_ids(spec);
}

// What the reader gives does not depend on where blocks end, and is UTF-8.
std::string decoded(const std::string& path, InvalidUtf8 policy, std::size_t block) {
  InputFile file(path);
  const auto stream = file.open();
  TextReader reader(*stream, policy, block);
  std::string out;
  for (;;) {
    const std::string_view part = reader.next();
    require(valid_utf8_prefix(part) == part.size(), "text that is not UTF-8");
    out += part;
    if (part.empty() && !reader.next_document()) return out;
  }
}

void read_text(std::string_view data) {
  Options options(data);
  const InvalidUtf8 policy = options.choice(2) == 0 ? InvalidUtf8::refuse : InvalidUtf8::replace;
  const std::size_t block = 1 + options.choice(9);
  CorpusSpec spec;
  spec.tokenizer = options.choice(2) == 0 ? "words" : "bytes";
  spec.format = kTextFormat;
  spec.vocab_size = spec.tokenizer == "words" ? 40 : 0;
  spec.invalid_utf8 = policy;
  const std::string& path = file_with(data);
  spec.paths = {path};
  require(decoded(path, policy, block) == decoded(path, policy, std::size_t{1} << 16),
          "text depends on its blocks");
  (void)all_ids(spec);
}

void read_sentencepiece(std::string_view data) {
  Options options(data);
  const std::size_t text = std::min<std::size_t>(options.choice(64), data.size());
  const std::string model = own_folder() + "/fuzz.model";
  std::ofstream(model, std::ios::binary | std::ios::trunc) << data.substr(text);
  CorpusSpec spec;
  spec.tokenizer = model;
  spec.format = kTextFormat;
  spec.invalid_utf8 = InvalidUtf8::replace;
  spec.paths = {file_with("the cat\n\n  sat \xe4\xb8\xad on\tthe mat" + std::string(data.substr(0, text)))};
  (void)all_ids(spec);
}

std::string options(std::size_t format, std::size_t vocab, const std::string& rest) {
  return std::string{static_cast<char>(format), static_cast<char>(vocab), 0, 0} + rest;
}
std::string npy_ids(const std::string& type, const std::string& data) {
  const std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': (4,), }\n";
  return std::string("\x93NUMPY\x01\x00", 8) +
         little_endian<std::uint16_t>({static_cast<std::uint16_t>(header.size())}) + header + data;
}
Seeds token_seeds() {
  const std::string u16 = little_endian<std::uint16_t>({1, 2, 3, 4}),
                    u32 = little_endian<std::uint32_t>({1, 2, 3, 4}),
                    i64 = little_endian<std::int64_t>({1, 2, 3, 4});
  const auto llmc = [](std::int32_t magic, std::int32_t version, const std::string& ids) {
    return little_endian<std::int32_t>({magic, version, 4}) + std::string(253 * 4, '\0') + ids;
  };
  Seeds out{options(0, 0, npy_ids("<u2", u16)),
            options(0, 0, npy_ids("<i8", i64)),
            options(0, 0, llmc(20240520, 1, u16)),
            options(0, 1, llmc(20240801, 7, u32)),
            options(0, 0, "\x1f\x8b..."),
            options(0, 0, "plain text"),
            options(0, 2, std::string("MMIDIDX\0\0\1\0\0\0\0\0\0\0", 17))};
  for (std::size_t format = 0; format + 1 < format_names().size(); ++format)
    for (const std::string& ids : {u16, u32, i64}) out.push_back(options(format, 0, ids));
  return out;
}
Seeds text_seeds() {
  return {std::string("\0\3\0", 3) + "The cat sat.\n\nOn the Mat!",
          std::string("\1\1\0", 3) + "\xef\xbb\xbf\xe4\xb8\xad\xff\xf0\x9f\x98",
          std::string("\1\2\1", 3) + "\xff\xfe" + std::string("a\0b\0", 4),
          std::string("\0\4\0", 3) + std::string(300, 'x') + "\xc3\x84"};
}

std::string field(int number, const std::string& text) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(text.size())} + text;
}
std::string field(int number, char value) { return {static_cast<char>(number << 3), value}; }
std::string piece(const std::string& text, char type) {
  return field(1, field(1, text) + std::string("\x15\0\0\x80\xbf", 5) + field(3, type));
}
Seeds sentencepiece_seeds() {
  const std::string pieces = piece("<unk>", 2) + piece("<s>", 3) + piece("</s>", 3) +
                             piece("\xe2\x96\x81the", 1) + piece("\xe2\x96\x81", 1) + piece("a", 1) +
                             piece("t", 1) + piece("x", 4);
  const std::string bytes = piece("<0x0A>", 6) + piece("<0xE4>", 6);
  const auto tail = [](char type) {
    return field(2, field(3, type)) +
           field(3, field(1, "identity") + field(3, '\1') + field(4, '\1') + field(5, '\1'));
  };
  const std::string two("\2ab");
  return {two + pieces + tail('\1'),
          two + pieces + tail('\2'),
          two + pieces + bytes + tail('\1'),
          two + pieces + piece(std::string(1, '\0'), 1) +
              tail('\1'),  // the library throws what is no error of ours
          two + pieces + tail('\3'),
          two + pieces + tail('\4')};
}

}  // namespace

std::vector<Target> corpus_targets() {
  return {{"token_files",
           read_token_files,
           token_seeds,
           {"\x93NUMPY", "\x1f\x8b", "(\xb5/\xfd", "PK\x03\x04", std::string("MMIDIDX\0\0", 9),
            little_endian<std::uint32_t>({20240520, 1}), little_endian<std::uint32_t>({20240801, 7}), "'<i8'",
            "'|b1'"}},
          {"text",
           read_text,
           text_seeds,
           {"\xef\xbb\xbf", "\xf0\x9f\x98\x80", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90", "{\"text\":\"",
            "\xff\xfe"}},
          {"sentencepiece",
           read_sentencepiece,
           sentencepiece_seeds,
           {"<unk>", "\xe2\x96\x81", "<0x0A>", "\x0a\x05", "\x12\x04", "\x1a\x02", "\x15\x00\x00\x80\xbf",
            "nmt_nfkc"}}};
}

}  // namespace aloft::fuzz
