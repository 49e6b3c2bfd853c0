#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

// Kernels that exist to test the shim: sound ones (sound_kernels.cu) that must give the right answer under
// every schedule, and wrong ones (wrong_kernels.cu), each with one planted defect.

namespace simt::samples {

inline constexpr int kLags = 8, kBins = 1024;

/// out[id] += occurrences; ids beyond kBins are ignored. Privatised in static shared memory.
cudaError_t histogram(const std::uint16_t* ids, std::size_t n, unsigned* out, int blocks,
                      cudaStream_t stream = nullptr);
/// counts[lag − 1][i][j] of pairs, lag 1 .. kLags; one atomic per distinct pair of a warp.
cudaError_t pair_counts(const std::uint16_t* ids, std::size_t n, unsigned vocab, unsigned* counts,
                        int blocks);
/// block_sums[blocks]: shuffles within a warp, shared memory across warps.
cudaError_t block_sums(const unsigned* x, std::size_t n, unsigned long long* block_sums, int blocks);
/// p [m, d] = a [m, k] · e [k, d], 16 × 16 tiles in dynamic shared memory.
cudaError_t tiled_product(const float* a, const float* e, float* p, int m, int k, int d);
/// x[i] /= Σ x, through a grid-wide barrier. partial: one per block of 256.
cudaError_t normalise(float* x, int n, float* partial);
/// out[0] += 1 per thread, under a spin lock: correct, but only with independent thread scheduling.
cudaError_t spin_lock(int* lock, unsigned* out, int blocks);
/// *sum += x[i] in whatever order: legal, and different bits under different schedules.
cudaError_t float_atomics(const float* x, int n, float* sum);
/// out[32 · t + ..]: every warp collective once, for 32 threads. out: [32 * kCollectives]
inline constexpr int kCollectives = 14;
cudaError_t collectives(const unsigned* x, unsigned* out);

enum class Defect {
  none,
  missing_barrier,
  missing_barrier_in_loop,
  plain_increment_in_shared,
  plain_increment_in_global,
  missing_trailing_barrier,
  missing_syncwarp,
  divergent_barrier,
  skipped_barrier,
  early_return_before_barrier,
  partial_warp_in_full_mask,
  lane_outside_its_mask,
  shuffle_from_absent_lane,
  unwritten_shared,
  static_shared_overflow,
  global_overflow,
  dynamic_shared_overflow,
};
/// g: [threads]. n: where early_return_before_barrier returns.
cudaError_t wrong(Defect defect, unsigned* g, int n, int blocks, int threads, std::size_t shared_bytes);

}  // namespace simt::samples
