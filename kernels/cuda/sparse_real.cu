#include "host/error.hpp"
#include "kernels/cuda/block_sum.cuh"
#include "kernels/cuda/each_element.cuh"
#include "kernels/cuda/linear_ops.hpp"
#include "kernels/cuda/search.cuh"
#include "kernels/cuda/sparse.hpp"

// Real arithmetic on sparse matrices: pointwise mutual information, the inner product with the transpose,
// rounding.

namespace aloft::cuda {
namespace {

__extension__ typedef unsigned __int128 Product;  // of two counts, exact

__device__ double to_double(Product x) {
  return static_cast<double>(static_cast<std::uint64_t>(x >> 64)) * 0x1p64 +
         static_cast<double>(static_cast<std::uint64_t>(x));
}

/// What the definition of mutual information compares: a_ij·a.. with a_i.·a_j. of an entry in row i.
struct JointAndNull {
  Product joint, null;
};
struct Sums {
  const std::uint64_t* rows;     // [rows]
  const std::uint64_t* columns;  // [cols]
  const std::uint64_t* total;    // one
};
__device__ JointAndNull joint_and_null(const CountCsrView& a, const Sums& sums, std::int64_t e) {
  const std::int64_t i = row_of(a.row_offsets, a.rows, static_cast<std::uint64_t>(e));
  return {Product{a.values[e]} * *sums.total, Product{sums.rows[i]} * sums.columns[a.columns[e]]};
}

/// keep[e] = 1 where the two products, compared exactly, say more than independence; keep[nnz] = 0.
__device__ void mark_positive(std::int64_t e, CountCsrView a, Sums sums, std::uint64_t* keep) {
  std::uint64_t kept = 0;
  if (e < a.nnz) {
    const JointAndNull p = joint_and_null(a, sums, e);
    kept = p.joint > p.null ? 1 : 0;
  }
  keep[e] = kept;
}

/// place [nnz + 1]: how many entries before e are kept.
__device__ void offset_of_kept(std::int64_t i, CountCsrView a, const std::uint64_t* place,
                               std::uint64_t* offsets) {
  offsets[i] = place[a.row_offsets[i]];
}

/// The logarithm is taken of 1 + (joint − null)/null, which keeps its digits where the two nearly agree.
__device__ void write_positive(std::int64_t e, CountCsrView a, Sums sums, const std::uint64_t* place,
                               std::uint32_t* columns, double* values) {
  const std::uint64_t to = place[e];
  if (place[e + 1] == to) return;
  const JointAndNull p = joint_and_null(a, sums, e);
  columns[to] = a.columns[e];
  values[to] = log1p(to_double(p.joint - p.null) / to_double(p.null));
}

/// values[e] = log(1 + a_e · scale of its column).
__device__ void write_log1p(std::int64_t e, CountCsrView a, const double* column_scale, double* values) {
  values[e] = log1p(static_cast<double>(a.values[e]) * column_scale[a.columns[e]]);
}

/// rounded[e] = values[e], to nearest.
__device__ void round_value(std::int64_t e, const double* values, float* rounded) {
  rounded[e] = static_cast<float>(values[e]);
}

// ---- the inner product with the transpose. Sums have one order: blocks of kEntries entries, a tree within
// each, then the blocks' partial sums by one last block.

constexpr std::int64_t kEntries = 8 * kElementThreads;

/// a_ji, or 0 where it is not stored.
__device__ double element_of(const RealCsrView& a, std::int64_t j, std::uint32_t i) {
  const std::uint64_t e = find_column(a, j, i);
  return is_column(a, j, e, i) ? a.values[e] : 0.0;
}

/// partial[b] = the sums over entries [b·kEntries, (b+1)·kEntries).
__global__ __launch_bounds__(kElementThreads) void inner_by_block(RealCsrView a, TransposeInner* partial) {
  __shared__ double scratch[kElementThreads];
  const std::int64_t first = std::int64_t{blockIdx.x} * kEntries;
  const std::int64_t last = first + kEntries < a.nnz ? first + kEntries : a.nnz;
  double norm2 = 0, inner = 0;
  for (std::int64_t e = first + threadIdx.x; e < last; e += kElementThreads) {
    const std::int64_t i = row_of(a.row_offsets, a.rows, static_cast<std::uint64_t>(e));
    const double v = a.values[e];
    norm2 += v * v;
    inner += v * element_of(a, a.columns[e], static_cast<std::uint32_t>(i));
  }
  norm2 = sum_over_block(norm2, scratch);
  inner = sum_over_block(inner, scratch);
  if (threadIdx.x == 0) partial[blockIdx.x] = {norm2, inner};
}

/// One block: *out = Σ partial[0, n).
__global__ __launch_bounds__(kElementThreads) void sum_partials(const TransposeInner* partial, std::int64_t n,
                                                                TransposeInner* out) {
  __shared__ double scratch[kElementThreads];
  double norm2 = 0, inner = 0;
  for (std::int64_t b = threadIdx.x; b < n; b += kElementThreads) {
    norm2 += partial[b].norm2;
    inner += partial[b].inner;
  }
  norm2 = sum_over_block(norm2, scratch);
  inner = sum_over_block(inner, scratch);
  if (threadIdx.x == 0) *out = {norm2, inner};
}

}  // namespace

RealCsr CudaLinearOps::positive_pmi(CountCsrView a) {
  const auto stream = device_.stream();
  // One element more than rows, and zero: the last of the exclusive sums is then the total.
  Buffer<std::uint64_t> row_sums = zeros<std::uint64_t>(device_, static_cast<std::size_t>(a.rows) + 1);
  Buffer<std::uint64_t> column_sums(device_, static_cast<std::size_t>(a.cols));
  Buffer<std::uint64_t> before(device_, row_sums.size());
  marginals(a, row_sums.data(), column_sums.data());
  vendor_.exclusive_sum(row_sums.data(), before.data(), a.rows + 1);
  const Sums sums{row_sums.data(), column_sums.data(), before.data() + a.rows};

  Buffer<std::uint64_t> place(device_, static_cast<std::size_t>(a.nnz) + 1);
  for_each_element<mark_positive>(stream, a.nnz + 1, a, sums, place.data());
  vendor_.exclusive_sum(place.data(), place.data(), a.nnz + 1);
  const auto kept = static_cast<std::int64_t>(read_one(device_, place.data() + a.nnz));

  RealCsr out = make_csr<double>(device_, a.rows, a.cols, kept);
  for_each_element<offset_of_kept>(stream, a.rows + 1, a, place.data(), out.row_offsets.data());
  if (kept != 0)
    for_each_element<write_positive>(stream, a.nnz, a, sums, place.data(), out.columns.data(),
                                     out.values.data());
  return out;
}

RealCsr CudaLinearOps::log1p_scaled(CountCsrView a, const double* column_scale) {
  RealCsr out = make_csr<double>(device_, a.rows, a.cols, a.nnz);
  device_.copy(out.row_offsets.data(), a.row_offsets, out.row_offsets.size() * sizeof(std::uint64_t));
  device_.copy(out.columns.data(), a.columns, out.columns.size() * sizeof(std::uint32_t));
  for_each_element<write_log1p>(device_.stream(), a.nnz, a, column_scale, out.values.data());
  return out;
}

FloatCsr CudaLinearOps::round(RealCsrView a) {
  FloatCsr out = make_csr<float>(device_, a.rows, a.cols, a.nnz);
  device_.copy(out.row_offsets.data(), a.row_offsets, out.row_offsets.size() * sizeof(std::uint64_t));
  device_.copy(out.columns.data(), a.columns, out.columns.size() * sizeof(std::uint32_t));
  for_each_element<round_value>(device_.stream(), a.nnz, a.values, out.values.data());
  return out;
}

TransposeInner CudaLinearOps::transpose_inner(RealCsrView a) {
  expects(a.rows == a.cols, "transpose_inner: a is square");
  if (a.nnz == 0) return {};
  const std::int64_t blocks = (a.nnz + kEntries - 1) / kEntries;
  Buffer<TransposeInner> partial(device_, static_cast<std::size_t>(blocks)), sum(device_, 1);
  check(launch(inner_by_block, static_cast<unsigned>(blocks), kElementThreads, 0, device_.stream(), a,
               partial.data()));
  check(launch(sum_partials, 1, kElementThreads, 0, device_.stream(), partial.data(), blocks, sum.data()));
  return read_one(device_, sum.data());
}

}  // namespace aloft::cuda
