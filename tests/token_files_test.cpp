#include "host/token_files.hpp"

#include <gtest/gtest.h>

#include <random>

#include "tests/corpus_helpers.hpp"

namespace aloft::corpus_tests {
namespace {

using Ids = std::vector<TokenId>;
constexpr TokenId kBreak = kDocumentBreak;

std::string llmc(std::uint32_t magic, std::int32_t version, std::int32_t tokens, const std::string& data) {
  std::vector<std::int32_t> header(256, 0);
  header[0] = static_cast<std::int32_t>(magic);
  header[1] = version;
  header[2] = tokens;
  return bytes_of(header) + data;
}

std::string npy(const std::string& dtype, const std::string& shape, const std::string& data,
                int version = 1) {
  std::string dictionary = "{'descr': '" + dtype + "', 'fortran_order': False, 'shape': " + shape + ", }";
  while ((dictionary.size() + (version == 1 ? 10 : 12) + 1) % 64 != 0) dictionary += ' ';
  dictionary += '\n';
  const auto n = static_cast<std::uint32_t>(dictionary.size());
  std::string out = "\x93NUMPY";
  out += static_cast<char>(version);
  out += '\0';
  out.append(reinterpret_cast<const char*>(&n), version == 1 ? 2 : 4);
  return out + dictionary + data;
}

CorpusSpec spec_of(std::vector<std::string> paths, std::int64_t vocab, const std::string& format = "auto") {
  CorpusSpec spec;
  spec.paths = std::move(paths);
  spec.vocab_size = vocab;
  spec.format = format;
  return spec;
}

const std::vector<std::uint16_t> kIds16{5, 1, 0, 9, 2, 2, 7, 300, 65535};
const std::vector<std::uint32_t> kIds32{5, 1, 0, 9, 2, 2, 7, 300, 65535, 70000};

TEST(TokenFiles, EveryFormatGivesItsIds) {
  const Folder folder;
  struct Case {
    std::string name, content, format;
    bool wide;
  };
  std::vector<Case> cases{
      {"a.bin", bytes_of(kIds16), "u16", false},
      {"b.u16", bytes_of(kIds16), "u16", false},
      {"c.u32", bytes_of(kIds32), "u32", true},
      {"d.bin", llmc(20240520, 1, 9, bytes_of(kIds16)), "llmc v1", false},
      {"e.bin", llmc(20240801, 7, 10, bytes_of(kIds32)), "llmc v7", true},
      {"f.npy", npy("<u2", "(9,)", bytes_of(kIds16)), "npy", false},
      {"g.npy", npy("<u4", "(10,)", bytes_of(kIds32), 2), "npy", true},
      {"h.npy", npy("<i4", "(10,)", bytes_of(kIds32), 3), "npy", true},
      {"i.npy", npy("<i8", "(10,)", bytes_of(std::vector<std::int64_t>(kIds32.begin(), kIds32.end()))), "npy",
       true},
      {"j.npy", npy("<u8", "(10,)", bytes_of(std::vector<std::int64_t>(kIds32.begin(), kIds32.end()))), "npy",
       true},
  };
  for (const auto& c : cases) {
    const auto corpus = open(spec_of({folder.file(c.name, c.content)}, c.wide && c.name != "c.u32" ? 70001
                                                                       : c.wide                    ? 70001
                                                                                                   : 65536));
    const Ids expected = c.wide ? Ids(kIds32.begin(), kIds32.end()) : Ids(kIds16.begin(), kIds16.end());
    EXPECT_EQ(corpus->format_name(), c.format) << c.name;
    EXPECT_EQ(corpus->expected_tokens(), expected.size());
    EXPECT_EQ(ids_of(*corpus), expected) << c.name;
    EXPECT_EQ(ids_of(*corpus, 1), expected) << c.name << ", a second pass, one id at a time";
    EXPECT_FALSE(corpus->vocabulary_json());
  }
  const auto bytes = open(spec_of({folder.file("k.npy", npy("|u1", "(3,)", "\x05\xFF\x07"))}, 256));
  EXPECT_EQ(ids_of(*bytes), (Ids{5, 255, 7}));
}

TEST(TokenFiles, MoreThanABlockComesThroughWhole) {
  const Folder folder;
  std::mt19937 random(3);
  std::vector<std::uint16_t> ids(1'300'001);  // 2.6 MB, an odd number
  for (auto& id : ids) id = static_cast<std::uint16_t>(random() % 50257);
  const auto corpus = open(spec_of({folder.file("a.bin", bytes_of(ids))}, 50257));
  EXPECT_EQ(ids_of(*corpus, 77777), Ids(ids.begin(), ids.end()));
}

TEST(TokenFiles, SeparatorsAndFilesBoundDocuments) {
  const Folder folder;
  auto spec = spec_of({folder.file("a.u16", bytes_of(std::vector<std::uint16_t>{1, 9, 2})),
                       folder.file("b.u16", bytes_of(std::vector<std::uint16_t>{9, 3}))},
                      10);
  EXPECT_EQ(ids_of(*open(spec)), (Ids{1, 9, 2, kBreak, 9, 3}));
  spec.doc_sep_id = 9;
  EXPECT_EQ(ids_of(*open(spec)), (Ids{1, kBreak, 2, kBreak, kBreak, 3}));
  EXPECT_EQ(open(spec)->expected_tokens(), 5u);
  for (const std::int64_t bad : {-1, 10, 1 << 20}) {
    spec.doc_sep_id = bad;
    EXPECT_NE(message_of<UsageError>(spec).find("--doc-sep-id"), std::string::npos);
  }
}

TEST(TokenFiles, PositionCountsBytesOfAllFiles) {
  const Folder folder;
  const auto corpus =
      open(spec_of({folder.file("a.u16", bytes_of(kIds16)), folder.file("b.u16", bytes_of(kIds16))}, 65536));
  const auto source = corpus->open();
  EXPECT_EQ(source->position().done, 0u);
  EXPECT_EQ(source->position().total, 36u);
  Ids buffer(100);
  while (source->read(buffer) != 0) {
  }
  EXPECT_EQ(source->position().done, 36u);
}

TEST(TokenFiles, AU32FileIsRecognisedByItsZeroHalves) {
  const Folder folder;
  const std::vector<std::uint32_t> ids{7, 3, 9, 1, 1, 2};
  const std::string path = folder.file("a.bin", bytes_of(ids));
  const auto corpus = open(spec_of({path}, 10));
  EXPECT_EQ(corpus->format_name(), "u32");
  EXPECT_EQ(ids_of(*corpus), Ids(ids.begin(), ids.end()));
  const std::string what = message_of<InputError>(spec_of({path}, 10, "u16"));
  EXPECT_NE(what.find(path), std::string::npos);
  EXPECT_NE(what.find("--format u32"), std::string::npos) << what;
  // u16 ids that alternate with one id, zero, are still u16
  const std::vector<std::uint16_t> alternating{1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0};
  EXPECT_EQ(open(spec_of({folder.file("b.bin", bytes_of(alternating))}, 10))->format_name(), "u16");
  EXPECT_EQ(open(spec_of({folder.file("c.bin", bytes_of(kIds32))}, 100000))->format_name(), "u32");
}

TEST(TokenFiles, DefectsNameFileAndReason) {
  const Folder folder;
  const std::string good16 = bytes_of(kIds16), good32 = bytes_of(kIds32);
  struct Case {
    std::string name, content;
    std::string format;
    std::int64_t vocab;
    std::string reason;
  };
  const std::vector<Case> cases{
      {"empty.bin", "", "auto", 10, "is empty"},
      {"odd.bin", good16 + "x", "auto", 65536, "not a multiple of the 2"},
      {"odd.u32", good32 + "x", "auto", 70001, "not a multiple of the 4"},
      {"half.u32", good32 + "xy", "auto", 70001, "--format u16"},
      {"id.bin", good16, "auto", 300, "token 7 (at byte 14) is 300"},
      {"id32.bin", good32, "u32", 300, "token 7 (at byte 28) is 300"},
      {"halves.bin", bytes_of(std::vector<std::uint16_t>{5, 6, 7, 8}), "u32", 300, "--format u16"},
      {"llmc-as-raw.bin", llmc(20240520, 1, 9, good16), "u16", 65536, "--format llmc"},
      {"npy-as-raw.bin", npy("<u2", "(9,)", good16), "u16", 65536, "--format npy"},
      {"short.bin", llmc(20240520, 1, 9, good16).substr(0, 1000), "auto", 65536, "less than an llm.c header"},
      {"cut.bin", llmc(20240520, 1, 10, good16), "auto", 65536, "announces 10 tokens"},
      {"long.bin", llmc(20240520, 1, 8, good16), "auto", 65536, "announces 8 tokens"},
      {"negative.bin", llmc(20240520, 1, -3, good16), "auto", 65536, "announces -3 tokens"},
      {"version.bin", llmc(20240520, 2, 9, good16), "auto", 65536, "version 2"},
      {"version7.bin", llmc(20240801, 1, 10, good32), "auto", 70001, "version 1"},
      {"eval.bin", llmc(20240522, 1, 9, good16), "auto", 65536, "evaluation"},
      {"magic.bin", llmc(12345, 1, 9, good16), "llmc", 65536, "12345"},
      {"llmc-id.bin", llmc(20240520, 1, 9, good16), "auto", 300, "token 7 (at byte 1038) is 300"},
      {"no.npy", good16 + good16, "auto", 65536, "NUMPY"},
      {"f4.npy", npy("<f4", "(2,)", "12345678"), "auto", 10, "<f4"},
      {"big.npy", npy(">u2", "(9,)", good16), "auto", 65536, ">u2"},
      {"matrix.npy", npy("<u2", "(3, 3)", good16), "auto", 65536, "(3, 3)"},
      {"scalar.npy", npy("<u2", "()", "ab"), "auto", 65536, "()"},
      {"none.npy", npy("<u2", "(0,)", ""), "auto", 65536, "holds no token"},
      {"cut.npy", npy("<u2", "(10,)", good16), "auto", 65536, "cut off"},
      {"more.npy", npy("<u2", "(8,)", good16), "auto", 65536, "behind"},
      {"minus.npy", npy("<i4", "(2,)", bytes_of(std::vector<std::int32_t>{1, -2})), "auto", 10, "token 1"},
      {"minus64.npy", npy("<i8", "(1,)", bytes_of(std::vector<std::int64_t>{-1})), "auto", 10, "is -1"},
      {"wide.npy", npy("<u8", "(1,)", bytes_of(std::vector<std::uint64_t>{1ull << 32})), "auto", 10,
       "4294967296"},
  };
  for (const auto& c : cases) {
    const std::string path = folder.file(c.name, c.content);
    const std::string what = message_of<InputError>(spec_of({path}, c.vocab, c.format));
    EXPECT_NE(what.find(path), std::string::npos) << c.name << ": " << what;
    EXPECT_NE(what.find(c.reason), std::string::npos) << c.name << ": " << what;
  }
}

TEST(TokenFiles, OneCorpusHasOneFormat) {
  const Folder folder;
  const std::string raw = folder.file("a.u16", bytes_of(kIds16)),
                    array = folder.file("b.npy", npy("<u2", "(9,)", bytes_of(kIds16)));
  const std::string v1 = folder.file("v1.bin", llmc(20240520, 1, 9, bytes_of(kIds16)));
  const std::string v7 = folder.file("v7.bin", llmc(20240801, 7, 10, bytes_of(kIds32)));
  const std::string text = folder.file("t.txt", "hello");
  for (const auto& paths :
       std::vector<std::vector<std::string>>{{raw, array}, {array, text}, {v1, v7}, {text, raw}}) {
    const std::string what = message_of<InputError>(spec_of(paths, 70001));
    EXPECT_NE(what.find(paths[1]), std::string::npos) << what;
  }
}

TEST(TokenFiles, NeedAVocabularySize) {
  const Folder folder;
  const std::string path = folder.file("a.u16", bytes_of(kIds16));
  EXPECT_NE(message_of<UsageError>(spec_of({path}, 0)).find("--vocab-size"), std::string::npos);
  EXPECT_NE(message_of<UsageError>(spec_of({path}, -1)).find("--vocab-size"), std::string::npos);
  EXPECT_NE(message_of<UsageError>(spec_of({path}, (std::int64_t{1} << 31) + 1)).find("--vocab-size"),
            std::string::npos);
  auto spec = spec_of({path}, 65536);
  spec.vocabulary = folder.file("v.json", "{}");
  EXPECT_NE(message_of<UsageError>(spec).find("--vocabulary"), std::string::npos);
}

TEST(TokenFiles, ComeThroughAPipe) {
  struct Case {
    std::string content;
    std::string format;
    std::uint64_t expected;
  };
  for (const auto& c : std::vector<Case>{{bytes_of(kIds16), "u16", 0},
                                         {llmc(20240520, 1, 9, bytes_of(kIds16)), "auto", 9},
                                         {npy("<u2", "(9,)", bytes_of(kIds16)), "auto", 9}}) {
    const Stdin in(c.content);
    const auto corpus = open(spec_of({"-"}, 65536, c.format));
    EXPECT_EQ(corpus->expected_tokens(), c.expected);
    EXPECT_EQ(ids_of(*corpus), Ids(kIds16.begin(), kIds16.end()));
    EXPECT_THROW((void)ids_of(*corpus), UsageError);  // a pipe streamed straight through is gone
  }
  for (const auto& [content, reason] : std::vector<std::pair<std::string, std::string>>{
           {bytes_of(kIds16) + "x", "ends within an id"},
           {llmc(20240520, 1, 10, bytes_of(kIds16)), "announces 10 tokens, but there are only 9"},
           {llmc(20240520, 1, 8, bytes_of(kIds16)), "announces 8 tokens"}}) {
    const Stdin in(content);
    const std::string format = content.size() > 100 ? "llmc" : "u16";
    const std::string what = message_of<InputError>(spec_of({"-"}, 65536, format));
    EXPECT_NE(what.find("stdin"), std::string::npos) << what;
    EXPECT_NE(what.find(reason), std::string::npos) << what;
  }
}

}  // namespace
}  // namespace aloft::corpus_tests
