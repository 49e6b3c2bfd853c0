#pragma once
#include <cstdint>

#include "kernels/cuda/grid.cuh"

// What the 32 threads of a warp do together. Every lane of the warp must make these calls; blocks are one-
// dimensional and full warps.

namespace aloft::cuda {

inline constexpr unsigned kWarp = 32;
inline constexpr unsigned kAllLanes = 0xFFFF'FFFFu;

/// The thread's place in its warp, and the mask of those before it.
__device__ inline unsigned lane() { return threadIdx.x % kWarp; }
__device__ inline unsigned lanes_before() { return (1u << lane()) - 1; }

/// One warp an item: element_grid(items * kWarp), then item i = first_warp(), += warp_stride().
__device__ inline std::int64_t first_warp() { return first_element() / kWarp; }
__device__ inline std::int64_t warp_stride() { return element_stride() / kWarp; }

/// combine() of x over the warp, *for lane 0*; one order, so the same bits every time.
template <class T, class Combine>
__device__ T fold_to_lane_0(T x, Combine combine) {
  for (unsigned step = kWarp / 2; step != 0; step /= 2) x = combine(x, __shfl_down_sync(kAllLanes, x, step));
  return x;
}
template <class T>
__device__ T sum_to_lane_0(T x) {
  return fold_to_lane_0(x, [](T a, T b) { return a + b; });
}
/// One instruction, and exact in any order.
__device__ inline unsigned sum_to_lane_0(unsigned x) { return __reduce_add_sync(kAllLanes, x); }
template <class T>
__device__ T larger(T a, T b) {
  return a < b ? b : a;
}
template <class T>
__device__ T largest_to_lane_0(T x) {
  return fold_to_lane_0(x, larger<T>);
}

/// combine() of x over lanes [0, lane()], for each lane.
template <class T, class Combine>
__device__ T fold_up_to_lane(T x, Combine combine) {
  for (unsigned distance = 1; distance < kWarp; distance *= 2) {
    const T before = __shfl_up_sync(kAllLanes, x, distance);
    if (lane() >= distance) x = combine(x, before);
  }
  return x;
}

/// The last lane's x, for every lane.
template <class T>
__device__ T last_lane(T x) {
  return __shfl_sync(kAllLanes, x, static_cast<int>(kWarp) - 1);
}

/// Which lanes say so; one bit each.
__device__ inline unsigned lanes_where(bool yes) { return __ballot_sync(kAllLanes, yes); }

}  // namespace aloft::cuda
