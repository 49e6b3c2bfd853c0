#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "pipeline/base/context.hpp"

// Small combinations of LinearOps that several stages need.

namespace aloft {

[[nodiscard]] inline std::vector<double> to_host(const Matrix& m) { return to_host(m.data); }
/// All of a contiguous view. Synchronises.
[[nodiscard]] std::vector<double> to_host(Device& device, ConstMatrixView x);

/// x as it is kept in files, rounded to single precision where it lies: half as much crosses to the host.
/// Synchronises.
[[nodiscard]] std::vector<float> floats_to_host(Context& ctx, ConstMatrixView x);

/// Rows that are worked on at a time where a copy of all would be too much memory; multiples of the tiles of
/// gemm(), whose results are then those of all rows at once.
inline constexpr std::int64_t kStripeRows = 4096;
/// Rows of the longest stripe of so many.
[[nodiscard]] constexpr std::int64_t longest_stripe(std::int64_t rows) {
  return rows < 2 * kStripeRows ? rows : kStripeRows + rows % kStripeRows;
}
/// visit(first, count) for every stripe; the last takes the remainder.
template <class Visit>
void for_each_stripe(std::int64_t rows, const Visit& visit) {
  for (std::int64_t first = 0; first < rows;) {
    const std::int64_t left = rows - first, count = left < 2 * kStripeRows ? left : kStripeRows;
    visit(first, count);
    first += count;
  }
}
/// x ← x·a, stripe by stripe; x [rows, n], a [n, n].
template <class T>
void multiply_in_place(Context& ctx, MatrixViewOf<T> x, MatrixViewOf<const T> a) {
  MatrixOf<T> product(ctx.device(), longest_stripe(x.rows), x.cols);
  for_each_stripe(x.rows, [&](std::int64_t first, std::int64_t count) {
    const MatrixViewOf<T> stripe = x.row_block(first, count), result = product.view().row_block(0, count);
    ctx.linear().gemm(T{1}, Op::none, stripe, Op::none, a, T{0}, result);
    copy(ctx.device(), result, stripe);
  });
}

/// out = xᵀx; x [m, n], out [n, n]. Products are made for blocks on and below the diagonal only.
void column_gram(Context& ctx, ConstMatrixView x, MatrixView out);

[[nodiscard]] Matrix identity(Device& device, std::int64_t n);
/// xᵀ for every batch item, exactly.
[[nodiscard]] Matrix transposed(Context& ctx, ConstMatrixView x);
/// a's batch items and then b's, of the same shape.
[[nodiscard]] Matrix joined(Context& ctx, ConstMatrixView a, ConstMatrixView b);
/// (x − xᵀ)/2 for every batch item [n, n]; antisymmetric to the last bit.
[[nodiscard]] Matrix skew_part(Context& ctx, ConstMatrixView x);
/// ⟨x_b, y_b⟩ of every batch item; the same shape. Synchronises.
[[nodiscard]] std::vector<double> inner_products(Context& ctx, ConstMatrixView x, ConstMatrixView y);

}  // namespace aloft
