#include "kernels/cuda/softmax.hpp"

#include <cmath>

#include "host/error.hpp"
#include "kernels/cuda/each_element.cuh"
#include "kernels/cuda/linear_ops.hpp"
#include "kernels/cuda/warp.cuh"

// The softmax of all classes at some positions without a matrix of both, as kernels/cpu/softmax.cpp does it:
// products of a tile of positions and classes, which a block for each position and model folds into running
// sums below a running maximum (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018).
// Features and logits are made anew from the products whenever they are needed: that costs a few operations,
// the products hundreds each.

namespace aloft::cuda {
namespace {

constexpr unsigned kMoments = 16;  // sums of a thread at a time: as many as stay in registers
constexpr unsigned kWarps = kElementThreads / kWarp;

/// A tile's products with what they are folded into.
struct Products {
  const float* data = nullptr;  ///< [terms][positions][classes]
  std::int64_t terms = 0, positions = 0, classes = 0;
  std::int64_t first = 0;               ///< the tile's first class
  std::int64_t all_classes = 0;         ///< of the text
  const std::uint32_t* next = nullptr;  ///< [positions]
};

/// One position's row of a tile as one model sees it.
struct Row {
  const float* products;              ///< of term 0
  std::int64_t stride;                ///< to the same of the next term
  const float *base, *scale, *shift;  ///< of the tile's classes; scale and shift may be null
  const float* weights;               ///< [terms]
  std::int64_t terms;

  __device__ Row(const Products& tile, const SoftmaxModels& models, std::int64_t k, std::int64_t model,
                 const float* of_terms)
      : products(tile.data + k * tile.classes),
        stride(tile.positions * tile.classes),
        base(models.base + tile.first),
        scale(models.scale == nullptr ? nullptr : models.scale + model * tile.all_classes + tile.first),
        shift(models.shift == nullptr ? nullptr : models.shift + model * tile.all_classes + tile.first),
        weights(of_terms),
        terms(tile.terms) {}

  __device__ float feature(std::int64_t t, std::int64_t j) const {
    const float x = products[t * stride + j];
    return (scale == nullptr ? x : scale[j] * x) - (shift == nullptr ? 0.0F : shift[j]);
  }
  /// Term −1 stands for 1.
  __device__ float factor(std::int32_t t, std::int64_t j) const { return t < 0 ? 1.0F : feature(t, j); }
  __device__ float logit(std::int64_t j) const {
    float out = base[j];
    for (std::int64_t t = 0; t < terms; ++t) out += weights[t] * feature(t, j);
    return out;
  }
};

/// Sum number m is of e^(logit − top) times these two terms' features.
struct Factors {
  std::int32_t left, right;
};
__device__ Factors factors_of(std::int64_t m, std::int64_t terms) {
  if (m == 0) return {-1, -1};
  if (m <= terms) return {static_cast<std::int32_t>(m - 1), -1};
  std::int64_t rest = m - 1 - terms, t = 0;
  for (; rest > t; ++t) rest -= t + 1;
  return {static_cast<std::int32_t>(t), static_cast<std::int32_t>(rest)};
}

/// The largest x of the block, for every thread. scratch [kWarps], shared. Every thread must call it.
__device__ float largest_of_block(float x, float* scratch) {
  x = largest_to_lane_0(x);
  if (lane() == 0) scratch[threadIdx.x / kWarp] = x;
  __syncthreads();
  x = scratch[0];
  for (unsigned w = 1; w < kWarps; ++w) x = larger(x, scratch[w]);
  return x;
}

/// sums[i] = (keep ? shrink · sums[i] : 0) + what the tile adds to it, for n sums with those factors. Threads
/// sum their share of the classes in single precision, at most 32 of them; all else is in double. parts:
/// [kMoments][kElementThreads], shared. Every thread must call it, and meet the others before the next time.
__device__ void fold_sums(const Row& row, std::int64_t classes, float top, const Factors* factors, unsigned n,
                          bool keep, double shrink, float* parts, double* sums) {
  float sum[kMoments] = {};
  for (std::int64_t j = threadIdx.x; j < classes; j += kElementThreads) {
    const float e = expf(row.logit(j) - top);
#pragma unroll
    for (unsigned i = 0; i < kMoments; ++i)
      if (i < n) sum[i] += e * row.factor(factors[i].left, j) * row.factor(factors[i].right, j);
  }
#pragma unroll
  for (unsigned i = 0; i < kMoments; ++i)
    if (i < n) parts[i * kElementThreads + threadIdx.x] = sum[i];
  __syncthreads();
  for (unsigned i = threadIdx.x / kWarp; i < n; i += kWarps) {
    double total = 0;
    for (unsigned k = lane(); k < kElementThreads; k += kWarp)
      total += static_cast<double>(parts[i * kElementThreads + k]);
    total = sum_to_lane_0(total);
    if (lane() == 0) sums[i] = (keep ? shrink * sums[i] : 0) + total;
  }
}

/// One block per position and model, then the next. state: [positions][models.count][softmax_state()]:
/// largest logit, logit of what came next, its features, sums. weights [terms], dynamic shared memory.
__global__ __launch_bounds__(kElementThreads) void fold_softmax_tile(Products tile, std::int64_t classes,
                                                                     SoftmaxModels models,
                                                                     std::int64_t moments, double* state) {
  __shared__ float parts[kMoments * kElementThreads], tops[kWarps];
  __shared__ Factors factors[kMoments];
  DYN_SHARED(float, weights);
  const std::int64_t terms = tile.terms;
  const bool keep = tile.first != 0;  // there were classes before
  for (std::int64_t pair = blockIdx.x; pair < tile.positions * models.count; pair += gridDim.x) {
    const std::int64_t k = pair / models.count, model = pair - k * models.count;
    double* const mine = state + pair * softmax_state(terms, moments);
    double* const sums = mine + 2 + terms;
    for (std::int64_t t = threadIdx.x; t < terms; t += kElementThreads)
      weights[t] = static_cast<float>(models.weights[model * terms + t]);
    __syncthreads();
    const Row row(tile, models, k, model, weights);
    const double before = keep ? mine[0] : 0;
    float top = keep ? static_cast<float>(before) : -HUGE_VALF;
    for (std::int64_t j = threadIdx.x; j < classes; j += kElementThreads) top = larger(top, row.logit(j));
    top = largest_of_block(top, tops);
    const double shrink = keep ? exp(before - static_cast<double>(top)) : 0;
    if (threadIdx.x == 0) {
      mine[0] = static_cast<double>(top);
      const std::int64_t hit = std::int64_t{tile.next[k]} - tile.first;
      if (hit >= 0 && hit < classes) {
        mine[1] = static_cast<double>(row.logit(hit));
        for (std::int64_t t = 0; t < terms; ++t) mine[2 + t] = static_cast<double>(row.feature(t, hit));
      }
    }
    for (std::int64_t m = 0; m < moments; m += kMoments) {
      const auto n = static_cast<unsigned>(moments - m < kMoments ? moments - m : kMoments);
      if (threadIdx.x < n) factors[threadIdx.x] = factors_of(m + threadIdx.x, terms);
      __syncthreads();
      fold_sums(row, classes, top, factors, n, keep, shrink, parts, sums + m);
    }
  }
}

/// Of position e / models.count and model e % models.count of a block of positions: the moments as the
/// contract has them. out: its first position's; a model's [positions] of all lie together.
__device__ void finish_softmax(std::int64_t e, const double* state, std::int64_t terms, std::int64_t moments,
                               std::int64_t models, std::int64_t positions, double* out) {
  const double* const mine = state + e * softmax_state(terms, moments);
  const double *const hits = mine + 2, *const sums = hits + terms, *const means = sums + 1;
  double* const to = out + (e % models * positions + e / models) * moments;
  const double sum = sums[0];
  to[0] = mine[0] + log(sum) - mine[1];
  for (std::int64_t t = 0; t < terms; ++t) to[1 + t] = hits[t] - means[t] / sum;
  std::int64_t second = 1 + terms;
  for (std::int64_t t = 0; t < terms; ++t)
    for (std::int64_t u = 0; u <= t; ++u, ++second)
      to[second] = sums[second] / sum - means[t] / sum * (means[u] / sum);
}

}  // namespace

void CudaLinearOps::softmax_moments(const SoftmaxEvidence& evidence, const SoftmaxModels& models,
                                    double* out) {
  const ConstFloatView &x = evidence.contexts, &y = evidence.classes;
  const std::int64_t terms = x.batch, positions = x.rows, moments = softmax_moment_count(terms);
  expects(x.cols == y.cols && x.cols > 0 && y.batch == 1 && y.rows > 0 && terms > 0,
          "softmax_moments: contexts [positions, d] for each term, classes [V, d]");
  if (positions == 0 || models.count == 0) return;
  const SoftmaxTile most = softmax_tile(positions, y.rows, terms);
  Buffer<float> products(device_, static_cast<std::size_t>(terms * most.positions * most.classes));
  Buffer<double> state(
      device_, static_cast<std::size_t>(most.positions * models.count * softmax_state(terms, moments)));
  for (std::int64_t begin = 0; begin < positions; begin += most.positions) {
    const std::int64_t count = std::min(most.positions, positions - begin), pairs = count * models.count;
    for (std::int64_t first = 0; first < y.rows; first += most.classes) {
      const std::int64_t classes = std::min(most.classes, y.rows - first);
      vendor_.gemm(count, classes, x.cols, 1.0F, {x.data + begin * x.ld, x.ld, x.stride, false},
                   {y.data + first * y.ld, y.ld, 0, true}, 0.0F, products.data(), most.classes,
                   count * most.classes, terms);
      const Products tile{products.data(), terms, count, most.classes, first, y.rows, evidence.next + begin};
      check(launch(fold_softmax_tile, static_cast<unsigned>(std::min(pairs, kMaxBlocks)), kElementThreads,
                   static_cast<std::size_t>(terms) * sizeof(float), device_.stream(), tile, classes, models,
                   moments, state.data()));
    }
    for_each_element<finish_softmax>(device_.stream(), pairs, state.data(), terms, moments, models.count,
                                     positions, out + begin * moments);
  }
}

}  // namespace aloft::cuda
