#include "pipeline/counts/coverage.hpp"

#include <fmt/format.h>

namespace aloft {
namespace {

constexpr double kTooMuch = 0.1;

}  // namespace

Coverage coverage(std::uint64_t unknown, std::uint64_t tokens) {
  return {unknown, tokens == 0 ? 0 : static_cast<double>(unknown) / static_cast<double>(tokens)};
}

std::optional<Coverage> coverage(const Counts& counts) {
  if (!counts.unknown_id) return std::nullopt;
  return coverage(counts.unigram.at(*counts.unknown_id), counts.tokens);
}

std::string coverage_note(const Coverage& c) {
  const std::string share = fmt::format("{:.2f}% of the tokens are <unk>", 100 * c.share);
  if (c.share <= kTooMuch) return "note: " + share;
  return "warning: " + share +
         ": the vocabulary leaves out much of this text; a larger --vocab-size, --tokenizer bytes or a "
         "SentencePiece model keeps more of it";
}

}  // namespace aloft
