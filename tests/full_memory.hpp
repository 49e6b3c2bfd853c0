#pragma once
#include <vector>

#include "host/error.hpp"
#include "tests/conformance.hpp"

namespace aloft::conformance {

/// Takes all of a device's memory, pieces of half the size whenever one no longer fits, down to `least`
/// bytes, and frees it again. Nothing where memory is the host's.
inline void fill_and_free(Device& device, std::uint64_t least) {
  std::vector<Buffer<std::byte>> held;
  std::uint64_t piece = device.memory().free / 8;
  while (piece >= least) {
    try {
      held.emplace_back(device, piece);
    } catch (const ResourceError&) {
      piece /= 2;
    }
  }
  held.clear();
  device.synchronize();
}

/// Decompositions of random n x n matrices, for which NVIDIA's solver takes memory of its own besides; their
/// invariants hold.
inline void decompose_each_way(Backend& backend, std::int64_t n) {
  Device& device = *backend.device;
  LinearOps& ops = *backend.linear;
  const Dense g = random_dense(n, n, 90), symmetric = (g + g.transpose()) / 2, skew = (g - g.transpose()) / 2;
  const auto on_device = [&](const Dense& m) {
    return matrix_from(device, {m.data(), m.data() + m.size()}, n, n);
  };
  const auto squares = [&](const Matrix& x) {
    double sum = 0;
    for (const double v : aloft::to_host(x.data)) sum += v * v;
    return sum;
  };
  Matrix values(device, 1, n), half(device, 1, n / 2), u(device, n, n), vt(device, n, n),
      left(device, n / 2, n), right(device, n / 2, n);
  ops.eigh(on_device(symmetric).cview(), values.data.data(), u.view());
  EXPECT_NEAR(squares(values), symmetric.squaredNorm(), 1e-9 * symmetric.squaredNorm());
  ops.svd(on_device(g).cview(), u.view(), values.data.data(), vt.view());
  EXPECT_NEAR(squares(values), g.squaredNorm(), 1e-9 * g.squaredNorm());
  ops.skew_spectrum(on_device(skew).cview(), half.data.data(), left.view(), right.view());
  EXPECT_NEAR(2 * squares(half), skew.squaredNorm(), 1e-9 * skew.squaredNorm());
}

}  // namespace aloft::conformance
