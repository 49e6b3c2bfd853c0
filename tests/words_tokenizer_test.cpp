#include "host/words_tokenizer.hpp"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "host/error.hpp"
#include "host/vocabulary.hpp"
#include "tests/corpus_helpers.hpp"

// The `words` rule against a naive reading of it: the whole text as code points, std::map, no blocks.

namespace aloft {
namespace {

using corpus_tests::Folder;
using corpus_tests::ids_of;
using Tokens = std::vector<std::string>;

std::u32string code_points(const std::string& utf8) {
  std::u32string out;
  for (std::size_t k = 0; k < utf8.size();) {
    const auto lead = static_cast<unsigned char>(utf8[k]);
    const int n = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    char32_t c = n == 1 ? lead : lead & (0x7F >> n);
    for (int j = 1; j < n; ++j)
      c = c * 64 + (static_cast<unsigned char>(utf8[k + static_cast<std::size_t>(j)]) & 63);
    out += c;
    k += static_cast<std::size_t>(n);
  }
  return out;
}

std::string utf8_of(char32_t c) {
  utf8proc_uint8_t bytes[4];
  const auto n = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
  return {reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(n)};
}

Tokens oracle_tokens(const std::string& text) {
  const std::u32string spaces =
      U"\t\v\f\r \x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
      U"\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000";
  Tokens out;
  bool in_run = false;
  for (const char32_t raw : code_points(text)) {
    const auto lower = static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(raw)));
    const std::string category = utf8proc_category_string(static_cast<utf8proc_int32_t>(lower));
    if (category[0] == 'L') {
      if (!in_run) out.emplace_back();
      out.back() += utf8_of(lower);
      in_run = true;
      continue;
    }
    in_run = false;
    if (spaces.find(lower) == std::u32string::npos) out.push_back(utf8_of(lower));
  }
  for (auto& token : out)
    if (token.size() > 256) token.clear();
  return out;
}

Tokens scan(const std::string& text, std::size_t piece = 0) {  // piece: characters per call, 0: all at once
  Tokens out;
  const auto sink = [&](std::string_view token) { out.emplace_back(token); };
  WordsScanner scanner;
  if (piece == 0) {
    scanner.scan(text, sink);
  } else {
    const std::u32string points = code_points(text);
    for (std::size_t k = 0; k < points.size(); k += piece) {
      std::string part;
      for (const char32_t c : points.substr(k, piece)) part += utf8_of(c);
      scanner.scan(part, sink);
    }
  }
  scanner.finish(sink);
  return out;
}

std::unique_ptr<Corpus> words(const std::vector<std::string>& paths, std::int64_t vocab, std::size_t block,
                              InvalidUtf8 policy = InvalidUtf8::refuse) {
  InputFiles files;
  for (const auto& path : paths) files.push_back(std::make_shared<InputFile>(path));
  CorpusSpec spec;
  spec.vocab_size = vocab;
  spec.invalid_utf8 = policy;
  NoProgress progress;
  return open_words(files, spec, progress, block);
}

/// ids by the naive rule: frequency order over all files, ties by first occurrence.
std::vector<TokenId> oracle_ids(const std::vector<std::string>& texts, std::size_t vocab) {
  std::map<std::string, std::pair<long, long>> types;  // −count, first
  std::vector<Tokens> documents;
  long position = 0;
  for (const auto& text : texts) {
    documents.push_back(oracle_tokens(text));
    for (const auto& token : documents.back()) {
      auto [at, is_new] = types.try_emplace(token, 0, position++);
      --at->second.first;
    }
  }
  types.erase("");
  std::vector<std::pair<std::pair<long, long>, std::string>> order;
  for (const auto& [token, rank] : types) order.push_back({rank, token});
  std::sort(order.begin(), order.end());
  std::map<std::string, TokenId> id;
  for (std::size_t k = 0; k < order.size() && k + 1 < vocab; ++k)
    id[order[k].second] = static_cast<TokenId>(k + 1);
  std::vector<TokenId> out;
  for (std::size_t d = 0; d < documents.size(); ++d) {
    if (d > 0) out.push_back(kDocumentBreak);
    for (const auto& token : documents[d]) out.push_back(id.count(token) ? id[token] : 0);
  }
  return out;
}

const std::string kSample =
    "The cat, the DOG; 1984!\r\n\tÉcole naïve — Ελληνικά ΣΊΣΥΦΟΣ, Привет МИР.\n\n日本語 テスト。e\u0301 "
    "İstanbul "
    "straße ẞ 😀👍 x2y\u00a0z\u2028w\x1c"
    "ab\u200bc ǅ ⅷ Ⅷ Ⱥ ٣ don't <doc id=\"7\">";

TEST(WordsScanner, HandWrittenExpectations) {
  EXPECT_EQ(scan("The cat, the DOG"), (Tokens{"the", "cat", ",", "the", "dog"}));
  EXPECT_EQ(scan("a1 23\nb"), (Tokens{"a", "1", "2", "3", "\n", "b"}));
  EXPECT_EQ(scan("x\r\n\n\ty"), (Tokens{"x", "\n", "\n", "y"}));
  EXPECT_EQ(scan("École naïve"), (Tokens{"école", "naïve"}));
  EXPECT_EQ(scan("ΣΊΣΥΦΟΣ"), (Tokens{"σίσυφοσ"}));  // the simple mapping knows no final sigma
  EXPECT_EQ(scan("Привет МИР."), (Tokens{"привет", "мир", "."}));
  EXPECT_EQ(scan("日本語。"), (Tokens{"日本語", "。"}));
  EXPECT_EQ(scan("e\u0301t"), (Tokens{"e", "\u0301", "t"}));  // a combining mark is no letter
  EXPECT_EQ(scan("İx"), (Tokens{"ix"}));                      // İ maps to i alone
  EXPECT_EQ(scan("Straße ẞ"), (Tokens{"straße", "ß"}));
  EXPECT_EQ(scan("😀👍"), (Tokens{"😀", "👍"}));
  EXPECT_EQ(scan("a\u00a0b\u3000c\xc2\x85"
                 "d\x1f"
                 "e"),
            (Tokens{"a", "b", "c", "d", "e"}));
  EXPECT_EQ(scan("a\u200bb"),
            (Tokens{"a", "\u200b", "b"}));  // zero-width space is no white space (category Cf)
  EXPECT_EQ(scan(std::string("a\0b", 3)), (Tokens{"a", std::string(1, '\0'), "b"}));
  EXPECT_EQ(scan(""), Tokens{});
  EXPECT_EQ(scan(" \t\r\u2003"), Tokens{});
}

TEST(WordsScanner, EveryCodePointAgreesWithTheOracle) {
  std::string text;
  for (char32_t c = 0; c <= 0x10FFFF; ++c)
    if (c < 0xD800 || c > 0xDFFF) text.append("q").append(utf8_of(c)).append("q ");
  EXPECT_EQ(scan(text), oracle_tokens(text));
}

TEST(WordsScanner, AnyCutBetweenCharactersGivesTheSameTokens) {
  const Tokens expected = oracle_tokens(kSample);
  ASSERT_GT(expected.size(), 40u);
  for (const std::size_t piece : {0, 1, 2, 3, 7}) EXPECT_EQ(scan(kSample, piece), expected) << piece;
}

TEST(WordsScanner, LongRunsOfLettersAreUnknownAboveTheLimit) {
  for (const std::size_t n : {255u, 256u, 257u, 258u, 1000u}) {
    const Tokens got = scan(std::string(n, 'a') + " b");
    ASSERT_EQ(got.size(), 2u);
    EXPECT_EQ(got[0], n <= 256 ? std::string(n, 'a') : "") << n;
    EXPECT_EQ(got[1], "b");
  }
  EXPECT_EQ(scan(std::string(255, 'a') + "é."), (Tokens{"", "."}));  // 257 bytes, cut within no character
  EXPECT_EQ(scan(std::string(254, 'a') + "é.")[0].size(), 256u);
  EXPECT_EQ(scan(std::string(300, 'a') + std::string(10, 'b'), 1), Tokens{""});
}

TEST(WordsCorpus, RandomTextWithEveryBlockSizeAgreesWithTheOracle) {
  const Folder folder;
  std::mt19937 random(7);
  const std::vector<std::string> alphabet{"a", "b", "A", "É",  "é", " ",      "\n",    "\r\n",
                                          "1", ".", "ж", "語", "😀", "\u00a0", "\u0301"};
  std::vector<std::string> texts(3), paths;
  for (auto& text : texts) {
    for (int k = 0; k < 400; ++k) text += alphabet[random() % alphabet.size()];
    text += kSample;
    paths.push_back(folder.file(std::to_string(paths.size()), text));
  }
  for (const std::size_t vocab : {2u, 5u, 40u, 5000u})
    for (const std::size_t block : {1u, 2u, 3u, 4u, 5u, 17u, 64u, 1u << 20}) {
      const auto corpus = words(paths, static_cast<std::int64_t>(vocab), block);
      const auto expected = oracle_ids(texts, vocab);
      EXPECT_EQ(ids_of(*corpus), expected) << "vocab " << vocab << " block " << block;
      EXPECT_EQ(ids_of(*corpus, 1), expected) << "a second pass, one id at a time";
      EXPECT_EQ(corpus->vocab_size(), static_cast<std::int64_t>(vocab));
      EXPECT_EQ(corpus->expected_tokens(), expected.size() - 2);  // two breaks
    }
}

TEST(WordsCorpus, ManyTypesSurviveTheGrowthOfTheTable) {
  const Folder folder;
  std::string text;
  for (int k = 0; k < 60000; ++k) {
    std::string word;
    for (int rest = k; word.size() < 4; rest /= 26) word += static_cast<char>('a' + rest % 26);
    text.append(word).append(" ");
    if (k % 3 == 0) text.append(word).append(" ");
  }
  const auto corpus = words({folder.file("t", text)}, 30000, 1 << 12);
  EXPECT_EQ(ids_of(*corpus), oracle_ids({text}, 30000));
}

TEST(WordsCorpus, TenMegabytesWithoutASpaceAreOneUnknownToken) {
  const Folder folder;
  const auto corpus =
      words({folder.file("t", std::string("a ") + std::string(10 << 20, 'x') + " a")}, 10, kTextBlockBytes);
  EXPECT_EQ(ids_of(*corpus), (std::vector<TokenId>{1, 0, 1}));
}

TEST(WordsCorpus, ByteOrderMarkIsSkippedOnceAtTheBeginning) {
  const Folder folder;
  const std::string path = folder.file("t", "\uFEFFa \uFEFF b");
  for (const std::size_t block : {1u, 2u, 3u, 100u}) {
    const auto corpus = words({path}, 10, block);
    EXPECT_EQ(ids_of(*corpus), (std::vector<TokenId>{1, 2, 3})) << block;  // the second one is a character
    EXPECT_EQ(nlohmann::json::parse(*corpus->vocabulary_json())["tokens"],
              (nlohmann::json{"<unk>", "a", "\uFEFF", "b"}));
  }
}

TEST(WordsCorpus, FewerTypesThanAskedForKeepTheSize) {
  const Folder folder;
  const auto corpus = words({folder.file("t", "b a b \n")}, 100, 64);
  EXPECT_EQ(corpus->vocab_size(), 100);
  EXPECT_EQ(corpus->format_name(), "text (words)");
  const std::string text = *corpus->vocabulary_json();
  EXPECT_EQ(
      text,
      "{\"tokenizer\":\"words\",\"version\":1,\"lowercase\":true,\"tokens\":[\"<unk>\",\"b\",\"a\",\"\\n\"],"
      "\"size\":100}\n");
  EXPECT_EQ(Vocabulary(text, "v").size(), 100);
  EXPECT_EQ(Vocabulary(text, "v").tokens(), 4);
}

TEST(WordsCorpus, AVocabularyReadBackGivesTheSameIds) {
  const Folder folder;
  const std::string path = folder.file("t", kSample);
  const auto built = words({path}, 20, 64);
  CorpusSpec spec;
  spec.vocabulary = folder.file("vocab.json", *built->vocabulary_json());
  NoProgress progress;
  for (const std::int64_t size : {0, 20}) {
    spec.vocab_size = size;
    const auto again = open_words({std::make_shared<InputFile>(path)}, spec, progress);
    EXPECT_EQ(again->vocab_size(), 20);
    EXPECT_EQ(ids_of(*again), ids_of(*built));
    EXPECT_EQ(again->vocabulary_json(), built->vocabulary_json());
  }
  spec.vocab_size = 21;
  EXPECT_THROW((void)open_words({std::make_shared<InputFile>(path)}, spec, progress), UsageError);
}

TEST(WordsVocabulary, DefectsAreNamed) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "not valid JSON"},
      {"{", "not valid JSON"},
      {"[]", "not a JSON object"},
      {R"({"version":1,"lowercase":true,"tokens":["<unk>"]})", "\"tokenizer\" is missing"},
      {R"({"tokenizer":"bytes","version":1,"lowercase":true,"tokens":["<unk>"]})", "\"bytes\""},
      {R"({"tokenizer":"words","version":2,"lowercase":true,"tokens":["<unk>"]})", "\"version\" is 2"},
      {R"({"tokenizer":"words","version":1,"lowercase":false,"tokens":["<unk>"]})", "\"lowercase\""},
      {R"({"tokenizer":"words","version":1,"lowercase":true})", "no list or empty"},
      {R"({"tokenizer":"words","version":1,"lowercase":true,"tokens":[]})", "no list or empty"},
      {R"({"tokenizer":"words","version":1,"lowercase":true,"tokens":["a"]})", "tokens[0]"},
      {R"({"tokenizer":"words","version":1,"lowercase":true,"tokens":["<unk>",7]})",
       "tokens[1] is no string"},
      {R"({"tokenizer":"words","version":1,"lowercase":true,"tokens":["<unk>",""]})", "tokens[1] is empty"},
      {R"({"tokenizer":"words","version":1,"lowercase":true,"tokens":["<unk>","a","bc","bc"]})",
       "tokens[3] repeats tokens[2]"},
      {R"({"tokenizer":"words","version":1,"lowercase":true,"tokens":["<unk>","a"],"size":1})", "size"},
      {R"({"tokenizer":"words","version":1,"lowercase":true,"tokens":["<unk>","a"],"size":"x"})", "size"},
  };
  for (const auto& [text, why] : cases) {
    try {
      const Vocabulary vocabulary(text, "my-vocab.json");
      ADD_FAILURE() << text;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("my-vocab.json"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(why), std::string::npos) << error.what();
    }
  }
}

struct CountingProgress final : ProgressSink {
  double done = 0, total = 0;
  std::uint64_t items = 0;
  int calls = 0;
  void update(std::string_view stage, double d, double t, std::uint64_t n, std::string_view unit) override {
    EXPECT_EQ(stage, "vocabulary");
    EXPECT_EQ(unit, "tokens");
    EXPECT_GE(d, done);
    done = d, total = t, items = n, ++calls;
  }
  void finish(std::string_view, double, bool) override {}
};

TEST(WordsCorpus, TheVocabularyPassReportsProgress) {
  const Folder folder;
  CorpusSpec spec;
  spec.vocab_size = 10;
  CountingProgress progress;
  const auto corpus = open_words({std::make_shared<InputFile>(folder.file("a", "a b c d ")),
                                  std::make_shared<InputFile>(folder.file("b", "e f "))},
                                 spec, progress, 4);
  EXPECT_EQ(progress.calls, 3);
  EXPECT_EQ(progress.done, 12);
  EXPECT_EQ(progress.total, 12);
  EXPECT_EQ(progress.items, 6u);
}

struct LastNote final : ProgressSink {
  std::string line;
  void update(std::string_view, double, double, std::uint64_t, std::string_view) override {}
  void finish(std::string_view, double, bool) override {}
  void note(const std::string& said) override { line += said + "\n"; }
};

// With a vocabulary that leaves nothing out: no share of <unk> tells of them.
// The first: 37 of 40 characters.
TEST(WordsCorpus, TextWithoutBlanksBetweenWordsIsWarnedOfOnce) {
  const Folder folder;
  const auto said = [&](std::string text) {
    for (int k = 0; k < 4; ++k) text += text;
    CorpusSpec spec;
    spec.vocab_size = 1000;
    LastNote progress;
    (void)open_words({std::make_shared<InputFile>(folder.file("a.txt", text))}, spec, progress);
    return progress.line;
  };
  const std::string chinese =
      said("人类的历史就是一个不断地从必然王国向自由王国发展的历史。这个历史永远不会完结。\n");
  EXPECT_EQ(chinese.find("warning: 92% of the text is in a script without blanks between words"), 0u)
      << chinese;
  EXPECT_NE(chinese.find("--tokenizer FILE.model"), std::string::npos);
  EXPECT_EQ(std::count(chinese.begin(), chinese.end(), '\n'), 1);
  for (const char* text : {"吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n",
                           "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย\n", "ភាសាខ្មែរជាភាសាកំណើត\n",
                           "The word for it, 人类的历史就是一个不断地, is long.\n"})
    EXPECT_NE(said(text), "") << text;
  for (const char* text :
       {"人类 的 历史 就 是 一个 不断 地 从 必然 王国 向 自由 王国 发展 的 历史 。\n",
        "吾輩 は 猫 で ある 。 コンピューター は 無い 。 名前 は まだ 無い 。 どこ で 生れ た か とんと 見当 "
        "が つか ぬ 。 何 でも 薄暗い じめじめ し た 所 で 泣い て い た 事 だけ は 記憶 し て いる 。\n",
        "대한민국은 동아시아의 한반도 남부에 있는 공화국이다.\n",
        "Привет, мир! Все люди рождаются свободными.\n",
        "The Chinese word 中文 is short, and what is around it is English prose.\n"})
    EXPECT_EQ(said(text), "") << text;
}

}  // namespace
}  // namespace aloft
