#include <gtest/gtest.h>

#include <cstring>

#include "tests/corpus_helpers.hpp"

// Token files of other programs: 64-bit ids, OLMo's, datatrove's with its index, Megatron's with its index,
// LitGPT's chunks.

namespace aloft::corpus_tests::token_index {
namespace {

using Ids = std::vector<TokenId>;
constexpr TokenId kBreak = kDocumentBreak;

CorpusSpec spec_of(std::vector<std::string> paths, std::int64_t vocab, const std::string& format = "auto") {
  CorpusSpec spec;
  spec.paths = std::move(paths);
  spec.vocab_size = vocab;
  spec.format = format;
  return spec;
}

template <class T>
std::string as(const Ids& ids) {
  return bytes_of(std::vector<T>(ids.begin(), ids.end()));
}

const Ids kIds{5, 1, 0, 9, 2, 2, 7, 300, 4, 6};

TEST(Ids64, AreRecognisedAndReadAndNeverTakenForNarrowerOnes) {
  const Folder folder;
  for (const char* name : {"a.bin", "a.u64"}) {
    const auto corpus = open(spec_of({folder.file(name, as<std::int64_t>(kIds))}, 301));
    EXPECT_EQ(corpus->format_name(), "u64");
    EXPECT_EQ(corpus->expected_tokens(), kIds.size());
    EXPECT_EQ(ids_of(*corpus), kIds);
  }
  Ids large(500);  // of a vocabulary that 16 bits do not hold
  for (std::size_t k = 0; k < large.size(); ++k) large[k] = static_cast<TokenId>(k * 2654435761u % 151936);
  EXPECT_EQ(ids_of(*open(spec_of({folder.file("l.bin", as<std::int64_t>(large))}, 151936))), large);
  for (const char* format : {"u16", "u32"})
    for (const Ids& ids : {kIds, large}) {
      const std::string path = folder.file("b.bin", as<std::int64_t>(ids));
      const std::string what = message_of<InputError>(spec_of({path}, 151936, format));
      EXPECT_NE(what.find("--format u64"), std::string::npos) << what;
      EXPECT_EQ(what.find("--format u32"), std::string::npos) << what;
    }
  EXPECT_NE(message_of<InputError>(spec_of({folder.file("a.u32", as<std::int64_t>(kIds))}, 301)).find("u64"),
            std::string::npos);
  EXPECT_NE(
      message_of<InputError>(spec_of({folder.file("nameless", as<std::int64_t>(kIds))}, 301)).find("u64"),
      std::string::npos);
  {
    const Stdin in(as<std::int64_t>(kIds));
    EXPECT_EQ(ids_of(*open(spec_of({"-"}, 301, "u64"))), kIds);
  }
  const Stdin in(as<std::int64_t>(kIds));
  EXPECT_NE(message_of<InputError>(spec_of({"-"}, 301, "u32")).find("--format u64"), std::string::npos);
}

TEST(Ids64, OfAnotherWidthSayWhich) {
  const Folder folder;
  const auto reason = [&](const std::string& content) {
    return message_of<InputError>(spec_of({folder.file("x.u64", content)}, 301));
  };
  EXPECT_NE(reason(as<std::uint32_t>(kIds)).find("--format u32"), std::string::npos);
  EXPECT_NE(reason(as<std::uint16_t>({5, 1, 3, 9})).find("--format u16"), std::string::npos);
  EXPECT_NE(reason(as<std::int64_t>(kIds) + "x").find("not a multiple of the 8"), std::string::npos);
  EXPECT_NE(reason(as<std::int64_t>({1, 400, 2})).find("token 1 (at byte 8) is 400"), std::string::npos);
}

TEST(Ids64, ANegativeOneIsNamedAndDoesNotMakeThemNarrower) {
  const Folder folder;
  std::string ids = as<std::int64_t>(kIds);
  const std::int64_t ignored = -100;  // what labels have where nothing is learned
  std::memcpy(ids.data() + 8, &ignored, sizeof ignored);
  const std::string path = folder.file("labels.bin", ids);
  EXPECT_NE(message_of<InputError>(spec_of({path}, 65536)).find("token 1 (at byte 8) is -100"),
            std::string::npos);
  EXPECT_NE(message_of<InputError>(spec_of({path}, 65536, "u16")).find("--format u64"), std::string::npos);
}

TEST(Ids32, OfALargeVocabularyAreNoU16) {
  const Folder folder;
  Ids large(500);
  for (std::size_t k = 0; k < large.size(); ++k) large[k] = static_cast<TokenId>(k * 2654435761u % 151936);
  const std::string path = folder.file("a.bin", as<std::uint32_t>(large));
  EXPECT_NE(message_of<InputError>(spec_of({path}, 65536, "u16")).find("--format u32"), std::string::npos);
  EXPECT_EQ(open(spec_of({path}, 151936))->format_name(), "u32");
  Ids small(500);  // u16 ids below 256 have every second byte zero
  for (std::size_t k = 0; k < small.size(); ++k) small[k] = static_cast<TokenId>(k * 7919 % 256);
  EXPECT_EQ(ids_of(*open(spec_of({folder.file("s.bin", as<std::uint16_t>(small))}, 256))), small);
}

TEST(OlmoIds, ANpyWithoutAHeaderNamesTheFormat) {
  const Folder folder;
  const auto reason = [&](const std::string& content) {
    return message_of<InputError>(spec_of({folder.file("part-0.npy", content)}, 301));
  };
  EXPECT_NE(reason(as<std::uint16_t>(kIds)).find("--format u16 (or u32"), std::string::npos);
  EXPECT_NE(reason(as<std::uint32_t>(kIds)).find("--format u32"), std::string::npos);
  EXPECT_EQ(ids_of(*open(spec_of({folder.file("o.npy", as<std::uint16_t>(kIds))}, 301, "u16"))), kIds);
}

TEST(LitgptChunks, TheirHeaderIsNoIds) {
  const Folder folder;
  const auto chunk = [](std::uint8_t type, std::uint64_t count, const std::string& data,
                        std::uint64_t version = 1) {
    return "LITPKDS" + bytes_of(std::vector<std::uint64_t>{version}) + static_cast<char>(type) +
           bytes_of(std::vector<std::uint64_t>{count}) + data;
  };
  const std::vector<std::pair<std::uint8_t, std::string>> types{{8, as<std::uint16_t>(kIds)},
                                                                {3, as<std::int16_t>(kIds)},
                                                                {4, as<std::int32_t>(kIds)},
                                                                {5, as<std::int64_t>(kIds)}};
  for (const auto& [type, data] : types) {
    const auto corpus = open(spec_of({folder.file("train_0.bin", chunk(type, 10, data))}, 301));
    EXPECT_EQ(corpus->format_name(), "litgpt");
    EXPECT_EQ(corpus->expected_tokens(), 10u);
    EXPECT_EQ(ids_of(*corpus), kIds) << int{type};
  }
  const std::string good = as<std::uint16_t>(kIds);
  const std::vector<std::pair<std::string, std::string>> bad{
      {chunk(8, 11, good), "announces 11"},
      {chunk(8, 9, good), "announces 9"},
      {chunk(8, 0, ""), "no ids"},
      {chunk(6, 10, good), "type 6"},
      {chunk(200, 10, good), "type 200"},
      {chunk(8, 10, good, 2), "version 2"},
      {chunk(8, 10, good).substr(0, 20), "header of 24"},
      {chunk(8, ~0ull, good), "announces"}};
  for (const auto& [content, reason] : bad) {
    const std::string what = message_of<InputError>(spec_of({folder.file("b.bin", content)}, 301));
    EXPECT_NE(what.find(reason), std::string::npos) << what;
  }
  EXPECT_NE(
      message_of<InputError>(spec_of({folder.file("c.bin", chunk(8, 10, good))}, 301, "u16")).find("litgpt"),
      std::string::npos);
  const Stdin in(chunk(8, 10, good));
  EXPECT_EQ(ids_of(*open(spec_of({"-"}, 301))), kIds);
}

TEST(DatatroveIds, TheIndexSaysWhereDocumentsEndAndHowWideIdsAre) {
  const Folder folder;
  const auto index = [&](const std::string& name, const std::vector<std::uint64_t>& ends) {
    (void)folder.file(name + ".ds.index", bytes_of(ends));
  };
  const Ids expected{5, kBreak, 1, 0, 9, 2, kBreak, kBreak, 2, 7, 300, 4, 6};
  for (const bool wide : {false, true}) {
    const std::string path = folder.file("a.ds", wide ? as<std::uint32_t>(kIds) : as<std::uint16_t>(kIds));
    index("a", {1, 5, 5, 10});
    const auto corpus = open(spec_of({path}, 301));
    EXPECT_EQ(corpus->format_name(), "datatrove");
    EXPECT_EQ(corpus->expected_tokens(), 10u);
    EXPECT_EQ(ids_of(*corpus), expected);
    EXPECT_EQ(ids_of(*corpus, 1), expected);
  }
  // Two of them, and a separator beside the list.
  const std::string a = folder.file("a.ds", as<std::uint16_t>(kIds)),
                    b = folder.file("b.ds", as<std::uint16_t>({1, 2}));
  index("b", {2, 2});
  auto spec = spec_of({a, b}, 301);
  spec.doc_sep_id = 9;
  EXPECT_EQ(ids_of(*open(spec)),
            (Ids{5, kBreak, 1, 0, kBreak, 2, kBreak, kBreak, 2, 7, 300, 4, 6, kBreak, 1, 2}));
  EXPECT_EQ(open(spec_of({folder.file("none.ds", as<std::uint16_t>(kIds))}, 301))->format_name(), "u16");

  struct Case {
    std::string bytes, reason;
  };
  const auto ends = [](const std::vector<std::uint64_t>& e) { return bytes_of(e); };
  for (const auto& [bytes, reason] : std::vector<Case>{{ends({1, 5, 3, 10}), "before the one in front"},
                                                       {ends({1, 11}), "has 11 ids"},
                                                       {ends({0}), "has 0 ids"},
                                                       {ends({1, ~0ull}), "ids"},
                                                       {ends({20}), "has 20 ids"},  // one byte each
                                                       {ends({1, 10}) + "x", "17 bytes"},
                                                       {"", "0 bytes"}}) {
    (void)folder.file("a.ds.index", bytes);
    const std::string what = message_of<InputError>(spec_of({a}, 301));
    EXPECT_NE(what.find("a.ds.index: "), std::string::npos) << what;
    EXPECT_NE(what.find(reason), std::string::npos) << what;
  }
  index("a", {10});
  EXPECT_NE(message_of<InputError>(spec_of({a + ".index"}, 301)).find("give the .ds"), std::string::npos);
  EXPECT_NE(message_of<InputError>(spec_of({a}, 301, "u32")).find("--format datatrove"), std::string::npos);
  EXPECT_EQ(ids_of(*open(spec_of({a}, 301, "u16"))), kIds);
  const Stdin in(as<std::uint16_t>(kIds));
  EXPECT_NE(message_of<InputError>(spec_of({"-"}, 301, "datatrove")).find("--format u16"), std::string::npos);
}

struct Megatron {
  std::uint64_t version = 1;
  std::uint8_t type = 8;
  std::vector<std::int32_t> lengths{1, 2, 2, 0, 5};
  std::vector<std::int64_t> places{0, 2, 6, 10, 10}, borders{0, 1, 3, 4, 5};
  std::string magic = std::string("MMIDIDX\0\0", 9);
  [[nodiscard]] std::string file() const {
    return magic + bytes_of(std::vector<std::uint64_t>{version}) + static_cast<char>(type) +
           bytes_of(std::vector<std::uint64_t>{lengths.size(), borders.size()}) + bytes_of(lengths) +
           bytes_of(places) + bytes_of(borders);
  }
};

TEST(MegatronIds, TheIndexSaysTypeAndDocuments) {
  const Folder folder;
  const Ids expected{5, kBreak, 1, 0, 9, 2, kBreak, kBreak, 2, 7, 300, 4, 6};
  const auto read = [&](const Megatron& index, const std::string& data) {
    (void)folder.file("a.idx", index.file());
    const auto corpus = open(spec_of({folder.file("a.bin", data)}, 301));
    EXPECT_EQ(corpus->format_name(), "megatron");
    EXPECT_EQ(corpus->expected_tokens(), 10u);
    EXPECT_EQ(ids_of(*corpus, 3), ids_of(*corpus));
    return ids_of(*corpus);
  };
  Megatron index;
  EXPECT_EQ(read(index, as<std::uint16_t>(kIds)), expected);
  index.type = 4;
  for (auto& place : index.places) place *= 2;
  EXPECT_EQ(read(index, as<std::int32_t>(kIds)), expected);
  for (const std::string format : {"u16", "u64"}) {
    const std::string what =
        message_of<InputError>(spec_of({folder.file("a.bin", as<std::int32_t>(kIds))}, 301, format));
    EXPECT_NE(what.find("--format megatron"), std::string::npos) << what;
    EXPECT_NE(what.find(" u32"), std::string::npos) << what;
  }
  EXPECT_EQ(ids_of(*open(spec_of({folder.path / "a.bin"}, 301, "u32"))), kIds);
  EXPECT_NE(message_of<InputError>(spec_of({folder.path / "a.idx"}, 301)).find("give the .bin"),
            std::string::npos);
  (void)folder.file("a.idx", "an index of something else");
  EXPECT_EQ(open(spec_of({folder.path / "a.bin"}, 301))->format_name(), "u32");
}

TEST(MegatronIds, AnIndexThatLiesIsRefused) {
  const Folder folder;
  const std::string path = folder.file("a.bin", as<std::uint16_t>(kIds));
  const auto check = [&](const std::string& index, const std::string& reason) {
    (void)folder.file("a.idx", index);
    const std::string what = message_of<InputError>(spec_of({path}, 301));
    EXPECT_NE(what.find("a.idx: "), std::string::npos) << what;
    EXPECT_NE(what.find(reason), std::string::npos) << what;
  };
  const auto changed = [](auto change) {
    Megatron index;
    change(index);
    return index.file();
  };
  check(changed([](Megatron& m) { m.version = 2; }), "version 2");
  check(changed([](Megatron& m) { m.type = 7; }), "type 7");
  check(changed([](Megatron& m) { m.type = 4; }), "ids of 4 bytes");
  check(changed([](Megatron& m) { m.lengths.back() = 6; }), "11 ids");
  check(changed([](Megatron& m) { m.lengths.back() = -5; }), "negative");
  check(changed([](Megatron& m) { m.lengths[1] = -2; }), "length -2");
  check(changed([](Megatron& m) { m.borders = {0, 3, 1, 5}; }), "ends at sequence 1");
  check(changed([](Megatron& m) { m.borders = {0, 9, 5}; }), "ends at sequence 9");
  check(changed([](Megatron& m) { m.borders = {0, -1, 5}; }), "ends at sequence -1");
  check(changed([](Megatron& m) { m.lengths[0] = 3; }),
        "ends at");  // more ids than there are before the last
  check(changed([](Megatron& m) { m.borders = {0}; }), "sequences and 0 documents");
  check(Megatron().file().substr(0, 60), "60 bytes");
  check(Megatron().file() + "xx", "bytes, which is not");
  std::string huge = Megatron().file();
  huge.replace(18, 8, 8, '\xFF');
  check(huge, "which is not");
}

}  // namespace
}  // namespace aloft::corpus_tests::token_index
