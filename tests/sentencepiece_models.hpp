#pragma once
#include <gtest/gtest.h>
#include <sentencepiece_trainer.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "host/sentencepiece_tokenizer.hpp"
#include "tests/corpus_helpers.hpp"

// SentencePiece models for tests: made by hand, byte by byte, or trained on a few sentences.

namespace aloft::sentencepiece_models {

// The file is protobuf: ModelProto{1: pieces{1: text, 2: score, 3: type}, 2: trainer, 3: normalizer}.
inline std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 128; value >>= 7) out += static_cast<char>((value & 127) | 128);
  return out += static_cast<char>(value);
}
inline std::string integer(int field, std::uint64_t value) {
  return varint(static_cast<std::uint64_t>(field) << 3) + varint(value);
}
inline std::string message(int field, const std::string& content) {
  return varint((static_cast<std::uint64_t>(field) << 3) | 2) + varint(content.size()) + content;
}
enum PieceType { normal_piece = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
inline std::string piece(const std::string& text, float score, PieceType type) {
  std::string number(4, '\0');
  std::memcpy(number.data(), &score, 4);
  return message(1, message(1, text) + varint((2 << 3) | 5) + number + integer(3, type));
}
inline std::string byte_pieces() {
  const char* digits = "0123456789ABCDEF";
  std::string out;
  for (int b = 0; b < 256; ++b)
    out += piece(std::string("<0x") + digits[b / 16] + digits[b % 16] + ">", 0, byte);
  return out;
}

using Settings = std::unordered_map<std::string, std::string>;

class Sentences final : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(std::vector<std::string> all) : all_(std::move(all)) {}
  bool done() const override { return at_ == all_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return all_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> all_;
  std::size_t at_ = 0;
};

/// A small model of the lines of `text`; the same one each time.
inline std::string trained(const std::string& text, Settings settings) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);)
    if (!line.empty()) lines.push_back(line);
  for (const auto& [name, value] : Settings{{"vocab_size", "400"},
                                            {"hard_vocab_limit", "false"},
                                            {"num_threads", "1"},
                                            {"minloglevel", "3"},
                                            {"character_coverage", "0.99"}})
    settings.try_emplace(name, value);
  Sentences sentences(std::move(lines));
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(settings, &sentences, &model);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return model;
}

inline std::unique_ptr<Corpus> open_with(const CorpusSpec& spec, std::size_t block,
                                         SentencePieceWindow window = {}) {
  InputFiles files;
  for (const auto& path : spec.paths) files.push_back(std::make_shared<InputFile>(path));
  return open_sentencepiece(std::move(files), spec, block, window);
}

}  // namespace aloft::sentencepiece_models
