#pragma once
#include "host/footprint.hpp"
#include "kernels/matrix.hpp"
#include "pipeline/model/architecture.hpp"

// What designing a layer takes is said next to each LayerFunction; here is what several of them say it with.

namespace aloft::recipes {

/// Numbers of W_Q, and of W_O; of W_K, and of W_V.
struct LayerNumbers {
  explicit LayerNumbers(const ModelShape& s)
      : query(s.heads * s.head_dim * s.d_model), key(s.kv_heads * s.head_dim * s.d_model) {}
  std::int64_t query, key;
};

/// Floats on the host, of tensors as they are kept.
[[nodiscard]] inline Footprint singles(std::int64_t numbers) { return on_host(matrix_bytes(numbers, 1) / 2); }
[[nodiscard]] inline Footprint doubles(std::int64_t rows, std::int64_t cols = 1) {
  return on_host(matrix_bytes(rows, cols));
}
[[nodiscard]] inline Footprint device_doubles(std::int64_t rows, std::int64_t cols = 1) {
  return on_device(matrix_bytes(rows, cols));
}
/// By normal_f32(): on the device, rounded there, and on the host.
[[nodiscard]] inline Footprint drawn_singles(std::int64_t numbers) {
  return device_doubles(numbers) + on_device(matrix_bytes(numbers, 1) / 2) + singles(numbers);
}
/// By normal(): on the device and, as they come from there, on the host.
[[nodiscard]] inline Footprint drawn(std::int64_t numbers) {
  return device_doubles(numbers) + doubles(numbers);
}

}  // namespace aloft::recipes
