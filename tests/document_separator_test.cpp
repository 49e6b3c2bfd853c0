#include <gtest/gtest.h>

#include "host/bytes_tokenizer.hpp"
#include "host/document_stream.hpp"
#include "host/words_tokenizer.hpp"
#include "tests/corpus_helpers.hpp"
#include "tests/malformed_cases.hpp"

// --doc-sep: a string ends a document, whatever the tokenizer and wherever blocks end.

namespace aloft::corpus_tests::separator {
namespace {

using Ids = std::vector<TokenId>;
constexpr TokenId kBreak = kDocumentBreak;

CorpusSpec spec_of(std::vector<std::string> paths, const std::string& separator,
                   const std::string& tokenizer = "words") {
  CorpusSpec spec;
  spec.paths = std::move(paths);
  spec.doc_sep = separator;
  spec.tokenizer = tokenizer;
  spec.vocab_size = tokenizer == "words" ? 100 : 0;
  return spec;
}

/// The naive way.
std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> out;
  std::size_t begin = 0;
  for (std::size_t at = 0; (at = text.find(separator, begin)) != std::string::npos;
       begin = at + separator.size())
    out.push_back(text.substr(begin, at - begin));
  out.push_back(text.substr(begin));
  return out;
}

TEST(DocumentStream, AgreesWithTheNaiveSplit) {
  const Folder folder;
  std::string cycle;  // much of it looks like a separator that is about to be
  for (int k = 0; k < 700'000; ++k) cycle += "<|<end|>"[k * 7 % 8];
  const std::vector<std::pair<std::string, std::string>> cases{
      {"a<s>b<s><s>c<s>", "<s>"},
      {"<s>", "<s>"},
      {"", "x"},
      {"no separator", "<s>"},
      {"aaaa", "aa"},
      {"aab", "ab"},
      {"x\n\ny\n\n\nz", "\n\n"},
      {"ab", "abc"},
      {"ééxé", "é"},
      {cycle + "<end>" + cycle + "<end", "<end>"},
      {std::string((1 << 18) - 1, 'x') + "<s>y", "<s>"},
      {std::string((1 << 18) + 2, 'x') + "<s>y", "<s>"}};
  for (const auto& [text, separator] : cases)
    for (const std::size_t block : {1u, 3u, 1000u, 1u << 20}) {
      if (block < 1000 && text.size() > 1000) continue;
      InputFile file(folder.file("t", text + " "));
      const auto stream = file.open();
      DocumentStream documents(*stream, separator);
      std::vector<std::string> got;
      std::vector<char> buffer(block);
      do {
        got.emplace_back();
        const std::uint64_t begins = documents.offset();
        while (const std::size_t n = documents.read(buffer)) got.back().append(buffer.data(), n);
        EXPECT_EQ(documents.offset(), begins + got.back().size());
      } while (documents.next_document());
      EXPECT_EQ(got, split(text + " ", separator)) << separator << " block " << block;
    }
}

TEST(DocumentSeparator, EveryTokenizerReadsDocumentsAsIfTheyWereFiles) {
  const Folder folder;
  const std::string model = folder.file("sp.model", cli_tests::kSoundPieces + cli_tests::kSoundModelTail);
  const std::vector<std::string> documents{"the a t\nthe the", "a", "\nt the a", "the"};
  std::string joined;
  std::vector<std::string> paths;
  for (const auto& d : documents) {
    joined += (joined.empty() ? "" : "<|endoftext|>") + d;
    paths.push_back(folder.file("d" + std::to_string(paths.size()), d));
  }
  const std::string path = folder.file("joined.txt", joined);
  for (const std::string& tokenizer : {std::string("words"), std::string("bytes"), model}) {
    const auto whole = open(spec_of({path}, "<|endoftext|>", tokenizer));
    const Ids expected = ids_of(*open(spec_of(paths, "", tokenizer)));
    EXPECT_EQ(std::count(expected.begin(), expected.end(), kBreak), 3);
    EXPECT_EQ(ids_of(*whole), expected) << tokenizer;
    EXPECT_EQ(ids_of(*whole, 1), expected) << tokenizer;
    const Stdin in(joined);
    EXPECT_EQ(ids_of(*open(spec_of({"-"}, "<|endoftext|>", tokenizer))), expected) << tokenizer;
  }
}

TEST(DocumentSeparator, WordsAreTheSameWithAnyBlock) {
  const Folder folder;
  const std::string path = folder.file("t", "Ab é-é<é>ab<é><é>c é<é");
  NoProgress progress;
  for (const std::size_t block : {1u, 2u, 3u, 4u, 5u, 1u << 20}) {
    const auto corpus =
        open_words({std::make_shared<InputFile>(path)}, spec_of({path}, "<é>"), progress, block);
    // é 4 times, then in the order of their first occurrence ab (2), -, c, <
    EXPECT_EQ(ids_of(*corpus), (Ids{2, 1, 3, 1, kBreak, 2, kBreak, kBreak, 4, 1, 5, 1})) << block;
    EXPECT_EQ(corpus->expected_tokens(), 9u);  // the separators are in no count
  }
}

TEST(DocumentSeparator, OffsetsOfBadBytesAreThoseOfTheFile) {
  const Folder folder;
  const std::string path = folder.file("bad.txt", "ab<sep>cd<sep>e\xFF");
  EXPECT_NE(message_of<InputError>(spec_of({path}, "<sep>")).find("byte 15 "), std::string::npos);
  // A character that a separator cuts off is none.
  const std::string cut = folder.file("cut.txt", "a\xC3<sep>\xA9");
  EXPECT_NE(message_of<InputError>(spec_of({cut}, "<sep>")).find("byte 1 "), std::string::npos);
}

struct Notes final : ProgressSink {
  std::vector<std::string> lines;
  void update(std::string_view, double, double, std::uint64_t, std::string_view) override {}
  void finish(std::string_view, double, bool) override {}
  void note(const std::string& line) override { lines.push_back(line); }
};

TEST(DocumentSeparator, OneNoteAdvisesItWhereTheUsualOneStands) {
  const Folder folder;
  const std::string with = folder.file("a.txt", "a b<|endoftext|>c d"),
                    other = folder.file("b.txt", "<|endoftext|>");
  Notes notes;
  (void)open_corpus(spec_of({with, other}, ""), notes);
  ASSERT_EQ(notes.lines.size(), 1u);
  EXPECT_NE(notes.lines[0].find(with), std::string::npos) << notes.lines[0];
  EXPECT_NE(notes.lines[0].find("--doc-sep '<|endoftext|>'"), std::string::npos) << notes.lines[0];
  (void)open_corpus(spec_of({with}, "<|endoftext|>"), notes);
  (void)open_corpus(spec_of({folder.file("c.txt", "a b")}, ""), notes);
  EXPECT_EQ(notes.lines.size(), 1u);
}

TEST(DocumentSeparator, TheUsualOneIsSeenWhereverItStands) {
  const Folder folder;
  const std::string model = folder.file("sp.model", cli_tests::kSoundPieces + cli_tests::kSoundModelTail);
  for (const std::size_t before : {(1u << 17) - 5, 300'000u, (1u << 20) - 3, (1u << 20) - 13})
    for (const std::string& tokenizer : {std::string("words"), std::string("bytes"), model}) {
      std::string text;
      while (text.size() < before) text += "the a <|endof ";
      text.resize(before);
      const std::string path = folder.file("a.txt", text + "<|endoftext|>the a");
      Notes notes;
      const auto corpus = open_corpus(spec_of({path}, "", tokenizer), notes);
      EXPECT_EQ(notes.lines.size(), tokenizer == "words" ? 1u : 0u);  // its first pass has seen it
      (void)ids_of(*corpus);
      const std::string late = corpus->reading_note();
      EXPECT_EQ(late.find("--doc-sep") != std::string::npos, tokenizer != "words") << late;
    }
}

TEST(DocumentSeparator, IsForTextAndIsUtf8) {
  const Folder folder;
  auto spec = spec_of({folder.file("a.u16", bytes_of(std::vector<std::uint16_t>{1, 2, 3}))}, "<s>");
  EXPECT_NE(message_of<UsageError>(spec).find("--doc-sep-id"), std::string::npos);
  EXPECT_NE(message_of<UsageError>(spec_of({folder.file("a.txt", "a b")}, "\xFF")).find("UTF-8"),
            std::string::npos);
}

}  // namespace
}  // namespace aloft::corpus_tests::separator
