#pragma once
#include <cstdint>

#include "kernels/ops.hpp"

namespace aloft::cuda {

/// How many of the lags 1..max_lag stay inside the document of position k < n_from + halo, and inside the
/// chunk; 0 at a document break.
__device__ inline std::int32_t reach_of(const TokenChunk& chunk, std::int64_t k, std::int32_t max_lag) {
  const std::int64_t n_all = chunk.n_from + chunk.halo;
  std::int32_t reach = 0;
  if (chunk.ids[k] != kDocumentBreak)
    while (reach < max_lag && k + reach + 1 < n_all && chunk.ids[k + reach + 1] != kDocumentBreak) ++reach;
  return reach;
}

}  // namespace aloft::cuda
