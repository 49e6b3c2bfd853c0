#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "kernels/ops.hpp"
#include "tests/simt/cudart.hpp"

namespace aloft {
namespace {

TEST(CudaCountMemory, SortedCountingStaysWithinItsBound) {
  // Every pair distinct: rows as long as they can be.
  constexpr std::int64_t n = 200'000;
  constexpr std::int32_t lags = 8;
  Backend backend = make_backend("cuda");
  std::vector<TokenId> ids(n);
  std::iota(ids.begin(), ids.end(), 0u);
  const auto on_device = to_device<const TokenId>(*backend.device, ids);
  const std::size_t before = simt::runtime.bytes;
  simt::runtime.peak_bytes = before;
  const auto counted = backend.count->count_pairs_sparse({on_device.data(), n, 0}, n, lags);
  EXPECT_EQ(counted.back().nnz(), n - lags);
  const std::uint64_t used = simt::runtime.peak_bytes - before;
  EXPECT_LE(used, backend.count->sparse_workspace_bytes(n, n, lags));
  EXPECT_GE(1.05 * static_cast<double>(used),
            static_cast<double>(backend.count->sparse_workspace_bytes(n, n, lags)));
  EXPECT_GT(used, std::uint64_t{n} * (3 * 8 + lags * 12));  // the test sees what is allocated
}

// 16 MiB were planned for a library's sort of any size; it says what it needs (next to nothing for so few).
TEST(CudaCountMemory, SortedCountingHasNoFloor) {
  const Backend backend = make_backend("cuda");
  const std::uint64_t few = backend.count->sparse_workspace_bytes(1000, 1000, 1);
  EXPECT_LE(few, 1000 * (3 * 8 + 1 + 12) + 1001 * 8 + (std::uint64_t{1} << 16));
}

}  // namespace
}  // namespace aloft
