#include "host/sentencepiece_tokenizer.hpp"

#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include <nlohmann/json.hpp>

#include "tests/corpus_helpers.hpp"

namespace aloft::corpus_tests {
namespace {

using Ids = std::vector<TokenId>;

// A SentencePiece model file by hand (protobuf: ModelProto{1: pieces{1: text, 2: score, 3: type}, 2: trainer,
// 3: normalizer}), so that the tests need no training and no file.

std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 128; value >>= 7) out += static_cast<char>((value & 127) | 128);
  return out += static_cast<char>(value);
}
std::string integer(int field, std::uint64_t value) {
  return varint(static_cast<std::uint64_t>(field) << 3) + varint(value);
}
std::string message(int field, const std::string& content) {
  return varint((static_cast<std::uint64_t>(field) << 3) | 2) + varint(content.size()) + content;
}
enum Type { normal = 1, unknown = 2, control = 3, user_defined = 4, byte = 6 };
std::string piece(const std::string& text, float score, Type type) {
  std::string number(4, '\0');
  std::memcpy(number.data(), &score, 4);
  return message(1, message(1, text) + varint((2 << 3) | 5) + number + integer(3, type));
}

enum class Newline { none, piece, byte };
// ids: 0 <unk>, 1 <s>, 2 </s>, 3 ▁the, 4 ▁, 5 a, 6 b, 7 c, then "\n" or the 256 bytes
std::string model_file(Newline newline) {
  std::string out = piece("<unk>", 0, unknown) + piece("<s>", 0, control) + piece("</s>", 0, control) +
                    piece("▁the", -1, normal) + piece("▁", -2, normal) + piece("a", -3, normal) +
                    piece("b", -3, normal) + piece("c", -3, normal);
  if (newline == Newline::piece) out += piece("\n", 0, user_defined);
  const char* digits = "0123456789ABCDEF";
  if (newline == Newline::byte)
    for (int b = 0; b < 256; ++b)
      out += piece(std::string("<0x") + digits[b / 16] + digits[b % 16] + ">", 0, byte);
  std::string trainer = integer(3, 1);  // unigram
  if (newline == Newline::byte) trainer += integer(35, 1);
  out += message(2, trainer);
  return out + message(3, message(1, "identity") + integer(3, 1) + integer(4, 1) + integer(5, 1));
}

CorpusSpec spec_of(const Folder& folder, const std::string& text, Newline newline) {
  CorpusSpec spec;
  spec.paths = {folder.file("t.txt", text)};
  spec.tokenizer = folder.file("m.model", model_file(newline));
  return spec;
}

std::unique_ptr<Corpus> with_block(const CorpusSpec& spec, std::size_t block) {
  InputFiles files;
  for (const auto& path : spec.paths) files.push_back(std::make_shared<InputFile>(path));
  return open_sentencepiece(files, spec, block);
}

TEST(SentencePiece, LinesAndTheirBreaks) {
  const Folder folder;
  const std::string text = "the ab\n\nc the\n";
  EXPECT_EQ(ids_of(*open(spec_of(folder, text, Newline::none))), (Ids{3, 4, 5, 6, 4, 7, 3}));
  EXPECT_EQ(ids_of(*open(spec_of(folder, text, Newline::piece))), (Ids{3, 4, 5, 6, 8, 8, 4, 7, 3, 8}));
  EXPECT_EQ(ids_of(*open(spec_of(folder, text, Newline::byte))), (Ids{3, 4, 5, 6, 18, 18, 4, 7, 3, 18}));
  EXPECT_EQ(ids_of(*open(spec_of(folder, "the ab", Newline::piece))),
            (Ids{3, 4, 5, 6}));  // no break at the end
}

TEST(SentencePiece, ModelGivesTheVocabulary) {
  const Folder folder;
  auto spec = spec_of(folder, "the x", Newline::none);
  const auto corpus = open(spec);
  EXPECT_EQ(corpus->vocab_size(), 8);
  EXPECT_EQ(corpus->format_name(), "text (sentencepiece)");
  EXPECT_EQ(ids_of(*corpus), (Ids{3, 4, 0}));
  EXPECT_EQ(ids_of(*corpus), (Ids{3, 4, 0}));  // again
  const auto json = nlohmann::json::parse(*corpus->vocabulary_json());
  EXPECT_EQ(json["tokenizer"], "sentencepiece");
  EXPECT_EQ(json["tokens"][3], "▁the");
  spec.vocab_size = 8;
  EXPECT_EQ(open(spec)->vocab_size(), 8);
  spec.vocab_size = 9;
  EXPECT_NE(message_of<UsageError>(spec).find("8 pieces"), std::string::npos);
}

TEST(SentencePiece, BlockSizeDoesNotMatter) {
  const Folder folder;
  std::string text = "\uFEFF";
  for (int k = 0; k < 300; ++k) text += k % 17 == 0 ? "\n" : k % 3 == 0 ? " the" : k % 5 == 0 ? "é" : "abc";
  text += std::string(kMaxLineBytes, 'a') + " " + std::string(3 * kMaxLineBytes, 'b') +
          "\n the";  // lines that are cut
  const auto spec = spec_of(folder, text, Newline::piece);
  const Ids expected = ids_of(*with_block(spec, std::size_t{1} << 22));
  EXPECT_GT(expected.size(), 4 * kMaxLineBytes);
  for (const std::size_t block : {3u, 1000u, 65535u, 65536u})
    EXPECT_TRUE(ids_of(*with_block(spec, block)) == expected) << block;
}

TEST(SentencePiece, ShortLinesAreEncodedAsTheLibraryEncodesThem) {
  const Folder folder;
  const std::vector<std::string> lines{"the abc", "a  b the", " c", "éa", "the the b"};
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  const auto spec = spec_of(folder, text, Newline::none);
  sentencepiece::SentencePieceProcessor processor;
  ASSERT_TRUE(processor.Load(spec.tokenizer).ok());
  Ids expected;
  for (const auto& line : lines)
    for (const int id : processor.EncodeAsIds(line)) expected.push_back(static_cast<TokenId>(id));
  EXPECT_EQ(ids_of(*open(spec)), expected);
}

TEST(SentencePiece, BadModelsAndBadTextAreRefused) {
  const Folder folder;
  auto spec = spec_of(folder, "the", Newline::none);
  const std::string good = spec.tokenizer;
  for (const std::string& model :
       {std::string("not a model at all"), std::string(), model_file(Newline::none).substr(0, 20)}) {
    spec.tokenizer = folder.file("bad.model", model);
    EXPECT_NE(message_of<InputError>(spec).find("bad.model"), std::string::npos);
  }
  spec.tokenizer = (folder.path / "missing.model").string();
  EXPECT_NE(message_of<InputError>(spec).find("missing.model"), std::string::npos);
  spec.tokenizer = folder.path.string();
  EXPECT_NE(message_of<UsageError>(spec).find("tokenizer"), std::string::npos);
  spec.tokenizer = good;
  spec.paths = {folder.file("bad.txt", "the \xFF")};
  EXPECT_NE(message_of<InputError>(spec).find("bad.txt: byte 4"), std::string::npos);
  spec.paths = {folder.file("wide.txt", std::string("\xFE\xFF\0a", 4))};
  EXPECT_NE(message_of<InputError>(spec).find("UTF-16"), std::string::npos);
}

}  // namespace
}  // namespace aloft::corpus_tests
