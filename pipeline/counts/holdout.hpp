#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "host/footprint.hpp"
#include "host/token_source.hpp"
#include "pipeline/base/context.hpp"
#include "pipeline/counts/counts.hpp"

// A slice of the training stream that the scalars of a recipe are chosen on. It is taken in passing while the
// corpus is counted; the statistics for that choice are the counts without every pair that touches it,
// exactly.

namespace aloft {

/// A pass over a corpus that remembers a slice of it: blocks of 64 tokens at even distances, with `context`
/// tokens on either side. A block every 512 tokens at first; whenever there are 512 blocks, every other one
/// is dropped and the distance doubles, so one pass over a stream of unknown length suffices, and the slice
/// depends on nothing but the stream. It is an eighth of the stream at most.
class HoldoutSource final : public TokenSource {
 public:
  HoldoutSource(TokenSource& source, std::int32_t context);
  [[nodiscard]] std::size_t read(std::span<TokenId> out) override;
  void cancel() noexcept override { source_.cancel(); }
  [[nodiscard]] Position position() const override { return source_.position(); }
  /// The slice; no blocks when the stream was too short. Once, after the last read().
  [[nodiscard]] Holdout take();

 private:
  struct Block {
    std::uint64_t begin = 0;  ///< position of its first own token
    std::int64_t before = 0;
    std::vector<TokenId> ids;
  };
  void begin_block();

  TokenSource& source_;
  std::uint64_t context_;
  std::uint64_t seen_ = 0, distance_ = 512;
  std::vector<TokenId> recent_;  ///< the last `context` tokens
  std::vector<Block> blocks_;
};

/// The text's sizes, hash and unigram; no pairs and no slice.
[[nodiscard]] Counts without_pairs(const Counts& counts);

/// What the slice adds to the counts: its tokens, and at each of so many lags the pairs that have an end in
/// it.
[[nodiscard]] Counts holdout_counts(Context& ctx, const Counts& counts, std::int32_t lags);
/// The unigram less its tokens.
[[nodiscard]] std::vector<std::uint64_t> unigram_without_holdout(const Counts& counts);
/// Unigram and J of so many lags less that; exact. Throws InputError when the slice is not part of these
/// counts. Only the slice's own pairs go to the device.
[[nodiscard]] Counts without_holdout(Context& ctx, const Counts& counts, std::int32_t lags);
/// As in counts.hpp.
[[nodiscard]] Peak without_holdout_memory(const CountsShape& counts);

/// Tokens of the slice whose last `lags` tokens are in the same document, at most `most` of them, evenly
/// spread.
struct HoldoutPositions {
  std::int32_t lags = 0;
  std::vector<TokenId> context;     ///< [n][lags], the latest token first
  std::vector<TokenId> next;        ///< [n]
  std::vector<std::int64_t> block;  ///< [n] which block of the slice each is of
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(next.size()); }
};
[[nodiscard]] HoldoutPositions holdout_positions(const Holdout& holdout, std::int32_t lags,
                                                 std::int64_t most);
/// At most `most` of these, evenly spread.
[[nodiscard]] HoldoutPositions some_of(const HoldoutPositions& positions, std::int64_t most);

}  // namespace aloft
