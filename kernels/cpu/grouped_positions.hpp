#pragma once
#include <cstdint>
#include <vector>

#include "kernels/ops.hpp"

namespace aloft::cpu {

/// The positions that a chunk owns, by their token: those of token i are position[offsets[i], offsets[i +
/// 1]), ascending. Breaks are in no group.
struct GroupedPositions {
  std::vector<std::uint32_t> offsets;  ///< [vocab + 1]
  Buffer<std::uint32_t> position;      ///< [offsets.back()]
};
[[nodiscard]] GroupedPositions group_by_token(Device& device, TokenChunk chunk, std::int64_t vocab);
/// Bytes that it takes beside its result.
[[nodiscard]] std::uint64_t grouping_bytes(std::int64_t n, std::int64_t vocab);

/// targets[l·stride + k]: the token l + 1 places behind grouped position begin + k, k in [0, n), or
/// kDocumentBreak where the document or the chunk ends before it.
void gather_targets(TokenChunk chunk, const GroupedPositions& groups, std::int64_t begin, std::int64_t n,
                    std::int32_t max_lag, TokenId* targets, std::int64_t stride);

}  // namespace aloft::cpu
