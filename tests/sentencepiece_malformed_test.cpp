#include <gtest/gtest.h>

#include <random>

#include "tests/sentencepiece_models.hpp"

// A damaged model is refused in one line of ours, or works; the library says nothing and nothing crashes.

namespace aloft::corpus_tests {
namespace {

using namespace sentencepiece_models;

const char* const kText = "The cat\u0301 sat \u3000 ﬁ ▁ <sep> tabs\t\t\n\nΑΒΓ数 end";

class DamagedSentencePiece : public testing::Test {
 protected:
  /// Whether a corpus with this model could be read.
  bool works(const std::string& model) {
    spec_.tokenizer = folder_.file("m.model", model);
    spec_.paths = {text_};
    try {
      const auto ids = ids_of(*open(spec_));
      return true;
    } catch (const InputError& error) {
      const std::string what = error.what();
      EXPECT_TRUE(what.starts_with(spec_.tokenizer)) << what;
      for (const char* theirs : {"LOG(", ".cc", "INTERNAL", "Darts", "libprotobuf", "\n"})
        EXPECT_EQ(what.find(theirs), std::string::npos) << what;
      last_ = what;
    }
    return false;
  }
  std::string refusal(const std::string& model) {
    EXPECT_FALSE(works(model));
    return last_;
  }

  Folder folder_;
  std::string text_ = folder_.file("t.txt", kText), last_;
  CorpusSpec spec_;
};

std::string small_model() {
  return piece("<unk>", 0, unknown) + piece("<s>", 0, control) + piece("▁The", -1, normal_piece) +
         piece("▁", -2, normal_piece) + piece("a", -3, normal_piece) + piece("<sep>", 0, user_defined) +
         piece("<se", 0, user_defined) + message(2, integer(3, 1)) +
         message(3, message(1, "identity") + integer(3, 1));
}

TEST_F(DamagedSentencePiece, SaysWhatIsWrong) {
  const std::string sound = small_model();
  ASSERT_TRUE(works(sound));
  const std::pair<std::string, const char*> bad[] = {
      {"", "no pieces"},
      {"not a model at all", "no protobuf at byte 0"},
      {sound.substr(0, 20), "no protobuf at byte"},
      {sound + piece("", 0, normal_piece), "piece 7 is empty"},
      {sound + piece("a", 0, normal_piece), "piece 7 is there twice"},
      {sound + piece("<unknown>", 0, unknown), "2 unknown tokens"},
      {sound + piece("<0x0A>", 0, byte), "no byte fallback"},
      {sound + message(2, integer(35, 1)) + piece("<0x0A>", 0, byte), "only 1 of the 256 bytes"},
      {sound + message(2, integer(35, 1)) + piece("<0xZZ>", 0, byte), "not called"},
      {sound + piece(std::string("b\0c", 3), 0, normal_piece), "NUL"},
      {sound + piece("\xE2\x96", 0, user_defined), "not UTF-8"},
      {message(1, message(1, "<unk>") + integer(3, 2)), "no piece of it can occur"},
      {sound + message(3, message(2, "rules")), "rules of normalisation"},
      {sound + message(4, message(1, message(1, "a") + message(2, "x"))), "self-test"}};
  for (const auto& [model, what] : bad)
    EXPECT_NE(refusal(model).find(what), std::string::npos) << what << ": " << last_;

  std::string nested = sound;  // more than the library has room for
  for (std::size_t n = 1; n <= 65; ++n) nested += piece(std::string(n, '='), 0, user_defined);
  EXPECT_NE(refusal(nested).find("more than 64"), std::string::npos) << last_;
}

TEST_F(DamagedSentencePiece, TruncationsAndFlippedBits) {
  std::mt19937 random(3);
  const std::string small = small_model();
  const std::string big =
      trained("The cat sat on the mat\nand the other cat\n<sep>\n" + std::string(kText) + "\n",
              {{"user_defined_symbols", "<sep>,<se"}, {"vocab_size", "60"}});
  ASSERT_TRUE(works(big));
  testing::internal::CaptureStderr();
  int refused = 0;
  for (std::size_t n = 0; n < small.size(); ++n) refused += works(small.substr(0, n)) ? 0 : 1;
  EXPECT_GT(refused, 80);
  for (std::size_t bit = 0; bit < 8 * small.size(); bit += 3) {
    std::string flipped = small;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    (void)works(flipped);
  }
  for (int k = 0; k < 40; ++k) {  // most of it is the trie of the rules
    std::string damaged = big.substr(0, k % 4 == 0 ? random() % big.size() : big.size());
    for (int flips = 0; flips < 1 + k % 5; ++flips) {
      if (damaged.empty()) break;
      char& at =
          damaged[random() % (k % 3 == 0 ? std::min<std::size_t>(damaged.size(), 1500) : damaged.size())];
      at = static_cast<char>(at ^ (1 << random() % 8));
    }
    (void)works(damaged);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace aloft::corpus_tests
