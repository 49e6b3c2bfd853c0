#include <cmath>

#include "host/error.hpp"
#include "kernels/cuda/each_element.cuh"
#include "kernels/cuda/linear_ops.hpp"
#include "kernels/cuda/sparse.hpp"
#include "kernels/cuda/warp.cuh"

// Counts weighted by the attention that their tokens would pay each other: a warp a row, its lanes dealt the
// row's entries, so that each lane reads again only scores that it wrote itself.

namespace aloft::cuda {
namespace {

__device__ double of_all_lanes(double of_lane_0) { return __shfl_sync(kAllLanes, of_lane_0, 0); }

/// scores: [nnz], scratch. values: [nnz], out. queries, keys: rows of `heads` parts of `width`.
__global__ __launch_bounds__(kElementThreads) void attend_by_warp(RealCsrView a, ConstMatrixView queries,
                                                                  ConstMatrixView keys, std::int64_t heads,
                                                                  double scale, double* scores,
                                                                  double* values) {
  const std::int64_t width = queries.cols / heads;
  for (std::int64_t i = first_warp(); i < a.rows; i += warp_stride()) {
    const std::uint64_t begin = a.row_offsets[i] + lane(), end = a.row_offsets[i + 1];
    for (std::uint64_t e = begin; e < end; e += kWarp) values[e] = 0;
    for (std::int64_t h = 0; h < heads; ++h) {
      const double* const query = queries.data + i * queries.ld + h * width;
      double largest = -HUGE_VAL, sum = 0;
      for (std::uint64_t e = begin; e < end; e += kWarp) {
        const double* const key = keys.data + a.columns[e] * keys.ld + h * width;
        double dot = 0;
        for (std::int64_t k = 0; k < width; ++k) dot += query[k] * key[k];
        scores[e] = scale * dot;
        largest = larger(largest, scores[e]);
      }
      largest = of_all_lanes(largest_to_lane_0(largest));
      for (std::uint64_t e = begin; e < end; e += kWarp) sum += scores[e] = exp(scores[e] - largest);
      sum = of_all_lanes(sum_to_lane_0(sum));
      for (std::uint64_t e = begin; e < end; e += kWarp) values[e] += scores[e] / sum;
    }
    for (std::uint64_t e = begin; e < end; e += kWarp) values[e] *= a.values[e] / static_cast<double>(heads);
  }
}

}  // namespace

RealCsr CudaLinearOps::attention_weighted(RealCsrView a, ConstMatrixView queries, ConstMatrixView keys,
                                          std::int64_t heads, double scale) {
  expects(queries.rows == a.rows && keys.rows == a.cols && queries.cols == keys.cols && heads > 0 &&
              queries.cols % heads == 0,
          "attention_weighted: queries [rows, k], keys [cols, k], heads a divisor of k");
  RealCsr out = make_csr<double>(device_, a.rows, a.cols, a.nnz);
  device_.copy(out.row_offsets.data(), a.row_offsets, out.row_offsets.size() * sizeof(std::uint64_t));
  device_.copy(out.columns.data(), a.columns, out.columns.size() * sizeof(std::uint32_t));
  if (a.nnz == 0) return out;
  Buffer<double> scores(device_, static_cast<std::size_t>(a.nnz));
  check(launch(attend_by_warp, element_grid(a.rows * kWarp), kElementThreads, 0, device_.stream(), a, queries,
               keys, heads, scale, scores.data(), out.values.data()));
  return out;
}

}  // namespace aloft::cuda
