#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include <random>

#include "tests/sentencepiece_models.hpp"

// Any document, in windows of any size, has the ids that the library gives to it as a whole.

namespace aloft::corpus_tests {
namespace {

using namespace sentencepiece_models;
using Ids = std::vector<TokenId>;

std::string pick(std::mt19937& random, const std::vector<std::string>& from) {
  return from[random() % from.size()];
}

std::string english(std::mt19937& random, int words) {
  const std::vector<std::string> all{"the",    "of",   "and",  "matrix", "counting", "tokens",
                                     "Tokens", "in",   "that", "then",   "other",    "thesis",
                                     "x",      "1984", "3.14", "naïve"};
  std::string out;
  for (int k = 0; k < words; ++k)
    out += pick(random, all) + pick(random, {" ", " ", " ", ", ", ".\n", "  ", ".\n\n", "\t", " \n"});
  return out;
}

std::string code(std::mt19937& random, int lines) {
  std::string out;
  for (int k = 0; k < lines; ++k)
    out += std::string(2 * (random() % 7), ' ') +
           pick(random, {"if (x == 0) {", "}", "return x;  // the end", "", "# define A\t1",
                         "for (;;) ++x[i];", "\r"}) +
           "\n";
  return out;
}

std::string chinese(std::mt19937& random, int characters) {
  std::string out;
  for (int k = 0; k < characters; ++k)
    out += pick(random, {"的", "一", "是", "不", "了", "人", "我", "在", "有", "他", "这", "中", "大", "，",
                         "。", "\n", "数", "ｱ", "！"});
  return out;
}

std::string letters(std::mt19937& random, int characters) {  // a long line without spaces
  std::string out;
  for (int k = 0; k < characters; ++k) out += "abcdefghijklmnopqrstuvwxyz+/0123456789="[random() % 39];
  return out;
}

// What a normaliser changes, joins, drops; the space sign itself; symbols that a user defined.
const std::string kOdd =
    "  \u3000a\u0301e\u0301 \ufb01 Ⅷ ㌀\u00a0\u00a0x\u200b\u200by \u00ad▁literal▁▁ 😀👩\u200d👩\u200d👧 "
    "<sep>a<sep> <sep>\n\n\nthe▁▁\u2028"
    "\u0300 \u0308 ﷺ\r\n\r\n\t\t tab in the  end \ufeff\u0000 "
    "…";

std::vector<std::string> documents() {
  std::mt19937 random(5);
  std::vector<std::string> out{english(random, 1500),
                               code(random, 400),
                               chinese(random, 900),
                               letters(random, 1500),
                               kOdd,
                               kOdd + kOdd + english(random, 40) + kOdd,
                               "   ",
                               " a",
                               "a ",
                               "\n",
                               "\u200b",
                               "▁",
                               "▁a▁ ",
                               "\u3000\u3000x \n",
                               "\u200b \u200b"};
  std::string mixed;
  for (int k = 0; k < 12; ++k)
    mixed += english(random, 20) + code(random, 5) + chinese(random, 30) + letters(random, 50) + kOdd;
  out.push_back(mixed);
  return out;
}

const std::string& training_text() {
  static const std::string text = [] {
    std::mt19937 random(7);
    std::string out;
    for (int k = 0; k < 12; ++k)
      out += english(random, 40) + code(random, 20) + chinese(random, 60) + letters(random, 20) + "\n" + kOdd;
    return out;
  }();
  return text;
}

struct Variant {
  const char* name;
  Settings settings;
};
void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

/// Segmentations of equal score differ by the rounding of a sum that began elsewhere, no more.
template <class Id>
double score_of(const sentencepiece::SentencePieceProcessor& library, const std::vector<Id>& ids) {
  double sum = 0;
  for (const auto id : ids) sum += library.GetScore(static_cast<int>(id));
  return sum;
}

class SentencePieceDocuments : public testing::TestWithParam<std::tuple<const char*, Variant>> {};

TEST_P(SentencePieceDocuments, HaveTheLibrarysIds) {
  const auto& [algorithm, variant] = GetParam();
  Settings settings = variant.settings;
  settings["model_type"] = algorithm;
  const std::string model = trained(training_text(), settings);
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.LoadFromSerializedProto(model).ok());

  const Folder folder;
  CorpusSpec spec;
  spec.tokenizer = folder.file("m.model", model);
  std::size_t tokens = 0;
  for (const std::string& document : documents()) {
    spec.paths = {folder.file("t.txt", document)};
    const std::vector<int> expected = library.EncodeAsIds(document);
    tokens += expected.size();
    for (const std::size_t window : {1u, 300u, 1u << 17}) {
      const auto corpus = open_with(spec, window == 300 ? 7 : 1000, {window, 40000});
      const Ids ids = ids_of(*corpus);
      EXPECT_EQ(corpus->reading_note(), "");
      if (algorithm == std::string("unigram") && document.size() > window) {
        EXPECT_NEAR(score_of(library, ids), score_of(library, expected),
                    1e-5 * static_cast<double>(ids.size()));
        continue;
      }
      EXPECT_TRUE(std::equal(ids.begin(), ids.end(), expected.begin(), expected.end()))
          << window << ", " << ids.size() << " ids for " << expected.size() << ": " << document.substr(0, 40);
    }
  }
  EXPECT_GT(tokens, 1500u);
}

std::vector<Variant> variants() {
  const std::string symbols = "<sep>,the,▁▁,▁▁▁▁,\n,\n\n,tab,in the";
  return {
      {"Usual", {}},
      {"Llama",
       {{"byte_fallback", "true"},
        {"normalization_rule_name", "identity"},
        {"remove_extra_whitespaces", "false"},
        {"allow_whitespace_only_pieces", "true"},
        {"split_digits", "true"}}},
      {"NoPrefix", {{"add_dummy_prefix", "false"}}},
      {"NoPrefixSpacesKept", {{"add_dummy_prefix", "false"}, {"remove_extra_whitespaces", "false"}}},
      {"Symbols",
       {{"user_defined_symbols", symbols}, {"byte_fallback", "true"}, {"remove_extra_whitespaces", "false"}}},
      {"SymbolsSpacesDropped", {{"user_defined_symbols", symbols}}},
      {"AcrossWords", {{"split_by_whitespace", "false"}}},
      {"Suffix", {{"treat_whitespace_as_suffix", "true"}, {"split_by_whitespace", "false"}}},
      {"LowerCase", {{"normalization_rule_name", "nfkc_cf"}}},
      {"LowerCaseSpacesKept",
       {{"normalization_rule_name", "nmt_nfkc_cf"}, {"remove_extra_whitespaces", "false"}}}};
}

const auto kName = [](const auto& info) {
  return std::string(std::get<0>(info.param)) + std::get<1>(info.param).name;
};
INSTANTIATE_TEST_SUITE_P(Subwords, SentencePieceDocuments,
                         testing::Combine(testing::Values("unigram", "bpe"), testing::ValuesIn(variants())),
                         kName);
INSTANTIATE_TEST_SUITE_P(Others, SentencePieceDocuments,
                         testing::Combine(testing::Values("char", "word"), testing::Values(variants()[2])),
                         kName);

// Of an unused piece only the parts are left, as it last came about: "abc" as ab·c here, as a·bc there.
TEST(SentencePieceDocuments, AModelWhosePartsDependOnTheWholeIsNotCut) {
  const std::string model =
      piece("<unk>", 0, unknown) + piece("a", -9, normal_piece) + piece("b", -9, normal_piece) +
      piece("c", -9, normal_piece) + piece("d", -9, normal_piece) + piece("ab", -2, normal_piece) +
      piece("bc", -1, normal_piece) + piece("abc", -3, unused) + piece("dab", -0.5F, normal_piece) +
      message(2, integer(3, 2)) + message(3, integer(3, 0) + integer(4, 0));
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.LoadFromSerializedProto(model).ok());
  const Folder folder;
  CorpusSpec spec;
  spec.tokenizer = folder.file("m.model", model);
  const std::string document = "abcxabcdxabcabdcabcxabc";
  spec.paths = {folder.file("t.txt", document)};
  const std::vector<int> expected = library.EncodeAsIds(document);
  const Ids ids = ids_of(*open_with(spec, 5, {1, 1000}));
  EXPECT_TRUE(std::equal(ids.begin(), ids.end(), expected.begin(), expected.end()));
  EXPECT_NE(open_with(spec, 5, {1, 8}), nullptr);
  const auto bounded = open_with(spec, 5, {1, 8});
  (void)ids_of(*bounded);
  EXPECT_NE(bounded->reading_note(), "");
}

}  // namespace
}  // namespace aloft::corpus_tests
