#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include <nlohmann/json.hpp>

#include "tests/sentencepiece_models.hpp"

// With a model made by hand: what a user sees of a SentencePiece corpus.

namespace aloft::corpus_tests {
namespace {

using namespace sentencepiece_models;
using Ids = std::vector<TokenId>;

enum class Newline { none, piece, byte };
// ids: 0 <unk>, 1 <s>, 2 </s>, 3 ▁the, 4 ▁, 5 a, 6 b, 7 c, then "\n" or the 256 bytes
std::string model_file(Newline newline) {
  std::string out = piece("<unk>", 0, unknown) + piece("<s>", 0, control) + piece("</s>", 0, control) +
                    piece("▁the", -1, normal_piece) + piece("▁", -2, normal_piece) +
                    piece("a", -3, normal_piece) + piece("b", -3, normal_piece) +
                    piece("c", -3, normal_piece);
  if (newline == Newline::piece) out += piece("\n", 0, user_defined);
  if (newline == Newline::byte) out += byte_pieces();
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

TEST(SentencePiece, ADocumentHasOnePrefixAndLineBreaksAreCharacters) {
  const Folder folder;
  const std::string text = "the ab\n\nc the\n";
  EXPECT_EQ(ids_of(*open(spec_of(folder, text, Newline::none))), (Ids{3, 4, 5, 6, 0, 7, 3, 0}));
  EXPECT_EQ(ids_of(*open(spec_of(folder, text, Newline::piece))), (Ids{3, 4, 5, 6, 8, 8, 7, 3, 8}));
  EXPECT_EQ(ids_of(*open(spec_of(folder, text, Newline::byte))), (Ids{3, 4, 5, 6, 18, 18, 7, 3, 18}));
}

TEST(SentencePiece, EveryFileIsADocument) {
  const Folder folder;
  auto spec = spec_of(folder, "a the  ", Newline::none);
  spec.paths.push_back(folder.file("u.txt", "xx"));
  spec.paths.push_back(folder.file("v.txt", "x\nthe"));
  EXPECT_EQ(ids_of(*open(spec)), (Ids{4, 5, 3, kDocumentBreak, 4, 0, kDocumentBreak, 4, 0}));
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

TEST(SentencePiece, UnknownTokensInARowAreOneWhereverItIsCut) {
  const Folder folder;
  const std::string unknown(1000, 'x');
  const auto spec = spec_of(folder, "a" + unknown + "b", Newline::none);
  for (const std::size_t aim : {5u, 64u, 4000u})
    EXPECT_EQ(ids_of(*open_with(spec, 100, {aim, 2000})), (Ids{4, 5, 0, 6})) << aim;
}

TEST(SentencePiece, WhereNoCutIsSafeTheUserIsTold) {
  const Folder folder;
  const std::string model = piece("<unk>", 0, unknown) + piece("▁", -2, normal_piece) +
                            piece("a", -3, normal_piece) + piece("aaa", -4, normal_piece) +
                            message(2, integer(3, 1)) + message(3, integer(4, 0));
  CorpusSpec spec;
  spec.tokenizer = folder.file("m.model", model);
  spec.paths = {folder.file("t.txt", std::string(1000, 'a'))};
  const auto bounded = open_with(spec, 64, {16, 100}), whole = open_with(spec, 64, {16, 2000});
  EXPECT_EQ(ids_of(*whole).size(), 1 + 333 + 1u);
  EXPECT_EQ(whole->reading_note(), "");
  EXPECT_GE(ids_of(*bounded).size(), 1 + 333 + 1u);
  EXPECT_NE(bounded->reading_note().find("in 9 places"), std::string::npos) << bounded->reading_note();
  spec.paths = {folder.file("u.txt", std::string(99, 'a') + "b" + std::string(90, 'a') + " a")};
  const auto safe = open_with(spec, 64, {16, 110});
  EXPECT_EQ(ids_of(*safe).size(), 1 + 33 + 1 + 30 + 2u);
  EXPECT_EQ(safe->reading_note(), "");
}

TEST(SentencePiece, BadTextAndMissingModelsAreRefused) {
  const Folder folder;
  auto spec = spec_of(folder, "the", Newline::none);
  const std::string good = spec.tokenizer;
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
