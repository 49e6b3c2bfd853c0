#include "kernels/cpu/grouped_positions.hpp"

#include <omp.h>

#include <algorithm>
#include <utility>

namespace aloft::cpu {
namespace {

// Each block of the chunk has its own histogram, so that the scatter needs no atomics; short ones would not
// pay for it.
std::int64_t histogram_blocks(std::int64_t n, std::int64_t vocab) {
  return std::clamp<std::int64_t>(n / (vocab + 1), 1, omp_get_max_threads());
}

// Positions of a token lie anywhere: asked for so many positions ahead, their tokens come in time.
constexpr std::int64_t kPrefetchAhead = 24;

// `lags`: the number of lags, a constant where it is a usual one, so that loops over lags unroll.
template <class Lags>
void gather(TokenChunk chunk, const std::uint32_t* position, std::int64_t n, std::int64_t readable, Lags lags,
            TokenId* targets, std::int64_t stride) {
  const std::int64_t length = chunk.n_from + chunk.halo;
  for (std::int64_t k = 0; k < n; ++k) {
    const TokenId* const ahead = chunk.ids + position[std::min(k + kPrefetchAhead, readable - 1)];
    __builtin_prefetch(ahead + 1);
    __builtin_prefetch(ahead + lags);
    const std::int64_t left = length - 1 - position[k];
    const TokenId* const next = chunk.ids + position[k] + 1;
    bool ends = left < lags;
    if (!ends) [[likely]] {
      for (std::int32_t l = 0; l < lags; ++l) {
        targets[l * stride + k] = next[l];
        ends |= next[l] == kDocumentBreak;
      }
    }
    if (!ends) [[likely]]
      continue;
    bool inside = true;
    for (std::int32_t l = 0; l < lags; ++l) {
      inside = inside && l < left && next[l] != kDocumentBreak;
      targets[l * stride + k] = inside ? next[l] : kDocumentBreak;
    }
  }
}

}  // namespace

std::uint64_t grouping_bytes(std::int64_t n, std::int64_t vocab) {
  return static_cast<std::uint64_t>(histogram_blocks(n, vocab) * vocab) * sizeof(std::uint32_t);
}

GroupedPositions group_by_token(Device& device, TokenChunk chunk, std::int64_t vocab) {
  const std::int64_t n = chunk.n_from, blocks = histogram_blocks(n, vocab);
  std::vector<std::vector<std::uint32_t>> at(static_cast<std::size_t>(blocks),
                                             std::vector<std::uint32_t>(static_cast<std::size_t>(vocab)));
  const auto begin_of = [&](std::int64_t b) { return n * b / blocks; };
#pragma omp parallel for schedule(static, 1) num_threads(static_cast <int>(blocks))
  for (std::int64_t b = 0; b < blocks; ++b) {
    auto& histogram = at[static_cast<std::size_t>(b)];
    for (std::int64_t k = begin_of(b); k < begin_of(b + 1); ++k)
      if (chunk.ids[k] != kDocumentBreak) ++histogram[chunk.ids[k]];
  }
  GroupedPositions out;
  out.offsets.resize(static_cast<std::size_t>(vocab + 1));
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(vocab); ++i) {
    out.offsets[i] = sum;
    for (auto& histogram : at)
      sum += std::exchange(histogram[i], sum);  // becomes where this block writes token i
  }
  out.offsets.back() = sum;
  out.position = Buffer<std::uint32_t>(device, sum);
  std::uint32_t* const position = out.position.data();
#pragma omp parallel for schedule(static, 1) num_threads(static_cast <int>(blocks))
  for (std::int64_t b = 0; b < blocks; ++b) {
    auto& next = at[static_cast<std::size_t>(b)];
    for (std::int64_t k = begin_of(b); k < begin_of(b + 1); ++k)
      if (chunk.ids[k] != kDocumentBreak) position[next[chunk.ids[k]]++] = static_cast<std::uint32_t>(k);
  }
  return out;
}

void gather_targets(TokenChunk chunk, const GroupedPositions& groups, std::int64_t begin, std::int64_t n,
                    std::int32_t max_lag, TokenId* targets, std::int64_t stride) {
  const std::uint32_t* const position = groups.position.data() + begin;
  const std::int64_t readable = static_cast<std::int64_t>(groups.position.size()) - begin;
  constexpr std::int32_t usual = 8;
  if (max_lag == usual)
    gather(chunk, position, n, readable, std::integral_constant<std::int32_t, usual>{}, targets, stride);
  else
    gather(chunk, position, n, readable, max_lag, targets, stride);
}

}  // namespace aloft::cpu
