#include "host/corpus.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "host/interrupt.hpp"
#include "tests/corpus_helpers.hpp"

namespace aloft::corpus_tests {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<TokenId>;

CorpusSpec text_spec(std::vector<std::string> paths, const std::string& tokenizer = "words",
                     std::int64_t vocab = 0) {
  CorpusSpec spec;
  spec.paths = std::move(paths);
  spec.tokenizer = tokenizer;
  spec.vocab_size = vocab;
  return spec;
}

TEST(Corpus, BytesAreTheirValues) {
  const Folder folder;
  const std::string a = folder.file("a.txt", std::string("A\0\xFF\n", 4)),
                    b = folder.file("b.txt", "\xEF\xBB\xBFz");
  const auto corpus = open(text_spec({a, b}, "bytes"));
  EXPECT_EQ(corpus->vocab_size(), 256);
  EXPECT_EQ(corpus->expected_tokens(), 8u);
  EXPECT_EQ(corpus->format_name(), "text (bytes)");
  EXPECT_FALSE(corpus->vocabulary_json());
  for (int pass = 0; pass < 2; ++pass)
    EXPECT_EQ(ids_of(*corpus, 3), (Ids{65, 0, 255, 10, kDocumentBreak, 0xEF, 0xBB, 0xBF, 'z'}));
}

TEST(Corpus, FilesAreDocumentsAndWordsDoNotJoinAcrossThem) {
  const Folder folder;
  const auto corpus =
      open(text_spec({folder.file("a.txt", "ab"), folder.file("b.txt", "ab c")}, "words", 10));
  EXPECT_EQ(ids_of(*corpus), (Ids{1, kDocumentBreak, 1, 2}));
}

TEST(Corpus, SourcesOutliveTheCorpusAndRunSideBySide) {
  const Folder folder;
  auto corpus = open(text_spec({folder.file("a.txt", "a b a")}, "words", 10));
  const auto first = corpus->open(), second = corpus->open();
  corpus.reset();
  Ids one(1), all(10);
  EXPECT_EQ(first->read(one), 1u);
  EXPECT_EQ(second->read(all), 3u);
  EXPECT_EQ(first->read(all), 2u);
  EXPECT_EQ(first->read(all), 0u);
  EXPECT_EQ(first->read(all), 0u);  // the end stays the end
  EXPECT_EQ(first->position().done, 5u);
  EXPECT_EQ(first->position().total, 5u);
}

TEST(CorpusUtf8, InvalidBytesAreRefusedWithTheirOffsetOrReplacedEach) {
  const Folder folder;
  struct Case {
    std::string bad;
    std::size_t bytes;  // how many of its bytes are no part of a character
  };
  const std::vector<Case> cases{
      {"\x80", 1},              // continuation alone
      {"\xC0\xAF", 2},          // overlong /
      {"\xC1\x81", 2},          // overlong A
      {"\xE0\x80\xAF", 3},      // overlong, three bytes
      {"\xE0\x9F\xBF", 3},      // the largest overlong of three
      {"\xF0\x80\x80\xAF", 4},  // overlong, four bytes
      {"\xF0\x8F\xBF\xBF", 4},  // the largest overlong of four
      {"\xED\xA0\x80", 3},      // first surrogate
      {"\xED\xBF\xBF", 3},      // last surrogate
      {"\xF4\x90\x80\x80", 4},  // U+110000
      {"\xF5\x80\x80\x80", 4},  // lead byte that never occurs
      {"\xFE", 1},
      {"\xFF", 1},
      {"\xC3", 1},  // cut off by the next character
      {"\xE2\x82", 2},
      {"\xF0\x9F\x98", 3},
      {"\xC3\xC3\xA9", 1},  // then é
  };
  for (const auto& c : cases)
    for (const std::string& behind : {std::string(), std::string(" x")}) {
      auto spec = text_spec({folder.file("bad.txt", "ok é " + c.bad + behind)}, "words", 100);
      const std::string what = message_of<InputError>(spec);
      EXPECT_NE(what.find("bad.txt: byte 6 "), std::string::npos) << what;
      EXPECT_NE(what.find("--utf8 replace"), std::string::npos) << what;
      spec.invalid_utf8 = InvalidUtf8::replace;
      const auto corpus = open(spec);
      const auto tokens = nlohmann::json::parse(*corpus->vocabulary_json())["tokens"];
      std::size_t replaced = 0;
      for (const TokenId id : ids_of(*corpus)) replaced += tokens[id] == "\uFFFD" ? 1 : 0;
      EXPECT_EQ(replaced, c.bytes) << testing::PrintToString(c.bad + behind);
    }
}

TEST(CorpusUtf8, BordersOfTheValidRangesPass) {
  const Folder folder;
  const std::string text = "\x7F \u0080 \u07FF \u0800 \uD7FF \uE000 \uFFFF \U00010000 \U0010FFFF";
  const auto corpus = open(text_spec({folder.file("t.txt", text)}, "words", 100));
  EXPECT_EQ(ids_of(*corpus).size(), 9u);
}

TEST(CorpusUtf8, TheOffsetHoldsBeyondTheFirstBlock) {
  const Folder folder;
  const std::string before(3'000'001, 'a');
  const std::string what =
      message_of<InputError>(text_spec({folder.file("t.txt", before + "\xFF")}, "words", 10));
  EXPECT_NE(what.find("byte 3000001 "), std::string::npos) << what;
}

TEST(Corpus, FormatsAreDetected) {
  const Folder folder;
  const std::string u16 = bytes_of(std::vector<std::uint16_t>{1, 2, 3, 4, 5});
  const std::vector<std::tuple<std::string, std::string, std::string>> cases{
      {"a.txt", "hello", "text (words)"},
      {"A.XML", "<a/>", "text (words)"},
      {"no-extension", "héllo", "text (words)"},
      {"a.unheard-of", "hello", "text (words)"},
      {"a.bin", u16, "u16"},
      {"a.u16", u16, "u16"},
      {"long", std::string(65535, 'a') + "é", "text (words)"},  // a character across the end of the sample
  };
  for (const auto& [name, content, format] : cases)
    EXPECT_EQ(open(text_spec({folder.file(name, content)}, "words", 100))->format_name(), format) << name;
  for (const auto& [name, content, reason] :
       std::vector<std::tuple<std::string, std::string, std::string>>{{"nul", std::string("a\0b", 3), "NUL"},
                                                                      {"latin1", "caf\xE9 au lait", "byte 3"},
                                                                      {"tail", "caf\xC3", "byte 3"},
                                                                      {"a.gz", "\x1f\x8b\x08", "gzip"},
                                                                      {"a.zst", "\x28\xb5\x2f\xfd", "zstd"},
                                                                      {"a.zip", "PK\x03\x04", "zip"},
                                                                      {"a.parquet", "PAR1", "Parquet"},
                                                                      {"utf16",
                                                                       std::string("\xFF\xFE"
                                                                                   "a\0",
                                                                                   4),
                                                                       "UTF-16"}}) {
    const std::string path = folder.file(name, content);
    const std::string what = message_of<InputError>(text_spec({path}, "words", 100));
    EXPECT_NE(what.find(path), std::string::npos) << what;
    EXPECT_NE(what.find(reason), std::string::npos) << what;
  }
}

TEST(Corpus, FilesThatCannotBeRead) {
  const Folder folder;
  const auto check = [](const std::string& path, const std::string& reason) {
    for (const char* tokenizer : {"words", "bytes"}) {
      const std::string what =
          message_of<InputError>(text_spec({path}, tokenizer, tokenizer[0] == 'w' ? 10 : 0));
      EXPECT_NE(what.find(path), std::string::npos) << what;
      EXPECT_NE(what.find(reason), std::string::npos) << what;
    }
  };
  check((folder.path / "missing.txt").string(), "No such file");
  const Folder nothing;
  check(nothing.path.string(), "is a folder without a file");
  check(folder.file("empty.txt", ""), "is empty");
  if (::geteuid() != 0) {  // root may read everything
    const std::string path = folder.file("secret.txt", "a");
    ::chmod(path.c_str(), 0);
    check(path, "Permission denied");
  }
  const std::string blank = folder.file("blank.txt", " \t\r ");
  EXPECT_NE(message_of<InputError>(text_spec({blank}, "words", 10)).find("no token"), std::string::npos);
  auto spec = text_spec({folder.file("a.txt", "a")});
  spec.vocabulary = (folder.path / "missing.json").string();
  EXPECT_NE(message_of<InputError>(spec).find("missing.json"), std::string::npos);
}

TEST(Corpus, AFileThatShrinksMeanwhileIsNoticed) {
  const Folder folder;
  const std::string path = folder.file("a.txt", "a b c d");
  const auto corpus = open(text_spec({path}, "words", 10));
  fs::resize_file(path, 3);
  EXPECT_THROW((void)ids_of(*corpus), InputError);
}

TEST(Corpus, ContradictoryOptionsAreUsageErrors) {
  const Folder folder;
  const std::string text = folder.file("a.txt", "a b");
  const auto check = [](const CorpusSpec& spec, const std::string& reason) {
    const std::string what = message_of<UsageError>(spec);
    EXPECT_NE(what.find(reason), std::string::npos) << what;
  };
  check(text_spec({}), "no corpus");
  check(text_spec({""}), "empty name");
  check(text_spec({"-", "-"}), "more than once");
  check(text_spec({text}), "--vocab-size");
  check(text_spec({text}, "words", 1), "--vocab-size");
  check(text_spec({text}, "words", -5), "--vocab-size");
  check(text_spec({text}, "words", (std::int64_t{1} << 31) + 1), "--vocab-size");
  check(text_spec({text}, "bytes", 255), "256");
  check(text_spec({text}, "gpt2"), "\"gpt2\"");
  auto spec = text_spec({text}, "words", 10);
  spec.doc_sep_id = 3;
  check(spec, "--doc-sep-id");
  spec = text_spec({text}, "bytes");
  spec.vocabulary = text;
  check(spec, "--vocabulary");
  EXPECT_EQ(open(text_spec({text}, "bytes", 256))->vocab_size(), 256);
}

TEST(CorpusStdin, WordsAreSpooledForTheirTwoPassesAndMore) {
  const Folder spool;
  std::string text;
  for (int k = 0; k < 100'000; ++k) text += k % 3 == 0 ? "some " : "Words\n";
  const Stdin in(text);
  auto spec = text_spec({"-"}, "words", 10);
  spec.spool_folder = spool.path.string();
  const auto corpus = open(spec);
  const Ids first = ids_of(*corpus);
  EXPECT_EQ(first.size(), 100'000u / 3 + 1 + 2 * 66'666u);
  EXPECT_EQ(corpus->expected_tokens(), first.size());
  EXPECT_EQ(ids_of(*corpus), first);
  EXPECT_TRUE(fs::is_empty(spool.path));  // the copy has no name
}

TEST(CorpusStdin, OnePassIsEnoughWithAVocabulary) {
  const Folder folder;
  const std::string path = folder.file("a.txt", "a b a");
  auto spec = text_spec({"-"});
  spec.vocabulary = folder.file("v.json", *open(text_spec({path}, "words", 10))->vocabulary_json());
  spec.spool_folder = "/nonexistent";  // must not be needed
  const Stdin in("b a c");
  const auto corpus = open(spec);
  EXPECT_EQ(corpus->expected_tokens(), 0u);
  EXPECT_EQ(ids_of(*corpus), (Ids{2, 1, 0}));
  EXPECT_THROW((void)corpus->open(), UsageError);
}

TEST(CorpusStdin, MixesWithFilesInTheOrderGiven) {
  const Folder folder;
  const Stdin in("x");
  const auto corpus = open(text_spec({folder.file("a.txt", "A"), "-", folder.file("b.txt", "B")}, "bytes"));
  EXPECT_EQ(ids_of(*corpus), (Ids{'A', kDocumentBreak, 'x', kDocumentBreak, 'B'}));
}

TEST(CorpusStdin, ARedirectedFileIsReadAgainAndFromWhereItStands) {
  const Folder folder;
  const std::string path = folder.file("a.txt", "skip a b a");
  const int saved = ::dup(0), file = ::open(path.c_str(), O_RDONLY);
  ::lseek(file, 5, SEEK_SET);
  ::dup2(file, 0);
  auto spec = text_spec({"-"}, "words", 10);
  spec.spool_folder = "/nonexistent";  // must not be needed
  const auto corpus = open(spec);
  for (int pass = 0; pass < 2; ++pass) EXPECT_EQ(ids_of(*corpus), (Ids{1, 2, 1}));
  ::dup2(saved, 0);
  ::close(saved);
  ::close(file);
}

TEST(CorpusStdin, Defects) {
  {
    const Stdin in("");
    EXPECT_NE(message_of<InputError>(text_spec({"-"}, "bytes")).find("stdin: is empty"), std::string::npos);
  }
  {
    const Stdin in(std::string("\0\1\2", 3));
    EXPECT_NE(message_of<InputError>(text_spec({"-"}, "words", 10)).find("stdin: cannot tell"),
              std::string::npos);
  }
  {
    const Stdin in("a b");
    auto spec = text_spec({"-"}, "words", 10);
    spec.spool_folder = "/nonexistent";
    EXPECT_NE(message_of<InputError>(spec).find("/nonexistent"), std::string::npos);
  }
}

TEST(Corpus, AFifoIsReadLikeStdin) {
  const Folder folder;
  const std::string path = (folder.path / "fifo").string();
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(path) << "a b a"; });
  const auto corpus = open(text_spec({path}, "words", 10));
  writer.join();
  for (int pass = 0; pass < 2; ++pass) EXPECT_EQ(ids_of(*corpus), (Ids{1, 2, 1}));
}

TEST(Corpus, AnInterruptEndsTheReading) {
  const Folder folder;
  const auto corpus = open(text_spec({folder.file("a.txt", "a b a")}, "words", 10));
  const auto source = corpus->open();
  set_interrupt_requested(true);
  Ids ids(10);
  EXPECT_THROW((void)source->read(ids), Interrupted);
  set_interrupt_requested(false);
  EXPECT_EQ(ids_of(*corpus), (Ids{1, 2, 1}));
}

}  // namespace
}  // namespace aloft::corpus_tests
