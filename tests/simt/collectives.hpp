#pragma once
#include "tests/simt/engine.hpp"

// Barriers and warp collectives as CUDA spells them.

namespace simt {

template <class T>
SIMT_RAW std::uint64_t to_bits(T v) {
  static_assert(sizeof(T) <= 8 && std::is_arithmetic_v<T>);
  std::uint64_t bits = 0;
  __builtin_memcpy(&bits, &v, sizeof v);
  return bits;
}
template <class T>
SIMT_RAW T from_bits(std::uint64_t bits) {
  T v;
  __builtin_memcpy(&v, &bits, sizeof v);
  return v;
}
template <class T>
T shuffle(unsigned mask, T v, int source, const char* file, int line) {
  return from_bits<T>(warp_op(WarpOp::shuffle, mask, to_bits(v), source, file, line));
}

}  // namespace simt

inline void __syncthreads(SIMT_AT) { simt::block_op(simt::BlockOp::count, 0, file, line); }
inline int __syncthreads_count(int p, SIMT_AT) {
  return static_cast<int>(simt::block_op(simt::BlockOp::count, p, file, line));
}
inline int __syncthreads_and(int p, SIMT_AT) {
  return static_cast<int>(simt::block_op(simt::BlockOp::all, p, file, line));
}
inline int __syncthreads_or(int p, SIMT_AT) {
  return static_cast<int>(simt::block_op(simt::BlockOp::any, p, file, line));
}
inline void __syncwarp(unsigned mask = ~0u, SIMT_AT) {
  simt::warp_op(simt::WarpOp::sync, mask, 0, 0, file, line);
}
inline void __threadfence() { simt::fence(); }
inline void __threadfence_block() { simt::fence(); }
inline void __threadfence_system() { simt::fence(); }
inline void __nanosleep(unsigned) { simt::yield(); }
[[noreturn]] inline void __trap(SIMT_AT) { simt::fail("__trap() at %s:%d", file, line); }
unsigned __activemask() __attribute__((error("not deterministic: pass an explicit mask")));

// Shuffles; a `width` below 32 divides the warp into segments that do not see each other.
template <class T>
T __shfl_sync(unsigned mask, T v, int source, int width = 32, SIMT_AT) {
  const int segment = simt::lane() & ~(width - 1);
  return simt::shuffle(mask, v, segment | (source & (width - 1)), file, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, SIMT_AT) {
  const int lane = simt::lane();
  const bool outside = static_cast<unsigned>(lane & (width - 1)) + delta >= static_cast<unsigned>(width);
  return simt::shuffle(mask, v, outside ? lane : lane + static_cast<int>(delta), file, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, SIMT_AT) {
  const int lane = simt::lane();
  const bool outside = static_cast<unsigned>(lane & (width - 1)) < delta;
  return simt::shuffle(mask, v, outside ? lane : lane - static_cast<int>(delta), file, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int lane_mask, int width = 32, SIMT_AT) {
  const int lane = simt::lane(), other = lane ^ lane_mask;
  const bool outside = other >= (lane & ~(width - 1)) + width;
  return simt::shuffle(mask, v, outside ? lane : other, file, line);
}

inline unsigned __ballot_sync(unsigned mask, int p, SIMT_AT) {
  return static_cast<unsigned>(simt::warp_op(simt::WarpOp::ballot, mask, p != 0, 0, file, line));
}
inline int __any_sync(unsigned mask, int p, SIMT_AT) { return __ballot_sync(mask, p, file, line) != 0; }
inline int __all_sync(unsigned mask, int p, SIMT_AT) { return __ballot_sync(mask, !p, file, line) == 0; }
template <class T>
unsigned __match_any_sync(unsigned mask, T v, SIMT_AT) {
  return static_cast<unsigned>(simt::warp_op(simt::WarpOp::match, mask, simt::to_bits(v), 0, file, line));
}

// Signed minima and maxima run through the unsigned ones with the sign bit flipped, which keeps the order.
#define SIMT_REDUCE(name, op)                                                                                \
  inline unsigned name(unsigned mask, unsigned v, SIMT_AT) {                                                 \
    return static_cast<unsigned>(simt::warp_op(simt::WarpOp::op, mask, v, 0, file, line));                   \
  }                                                                                                          \
  inline int name(unsigned mask, int v, SIMT_AT) {                                                           \
    constexpr bool ordered = simt::WarpOp::op == simt::WarpOp::min || simt::WarpOp::op == simt::WarpOp::max; \
    constexpr unsigned flip = ordered ? 1u << 31 : 0;                                                        \
    return static_cast<int>(name(mask, static_cast<unsigned>(v) ^ flip, file, line) ^ flip);                 \
  }
SIMT_REDUCE(__reduce_add_sync, add)
SIMT_REDUCE(__reduce_min_sync, min)
SIMT_REDUCE(__reduce_max_sync, max)
SIMT_REDUCE(__reduce_and_sync, bit_and)
SIMT_REDUCE(__reduce_or_sync, bit_or)
SIMT_REDUCE(__reduce_xor_sync, bit_xor)
#undef SIMT_REDUCE

namespace cooperative_groups {  // the real header is empty without __CUDACC__
struct grid_group {
  void sync(SIMT_AT) const { simt::grid_sync(file, line); }
};
struct thread_block {
  void sync(SIMT_AT) const { simt::block_op(simt::BlockOp::count, 0, file, line); }
};
inline grid_group this_grid() { return {}; }
inline thread_block this_thread_block() { return {}; }
}  // namespace cooperative_groups
