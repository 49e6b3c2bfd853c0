#include "pipeline/analysis/kernel_spectra.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "pipeline/base/device_math.hpp"

namespace aloft::analysis {
namespace {

/// Orthonormal columns [batch][d, r] that span the rows of `rows`, [batch][r, d].
Matrix basis_of(Context& ctx, ConstMatrixView rows) {
  Matrix out = transposed(ctx, rows);
  ctx.linear().orthonormalize(out.view());
  return out;
}

Matrix product(Context& ctx, Op op_a, ConstMatrixView a, Op op_b, ConstMatrixView b) {
  const std::int64_t m = op_a == Op::none ? a.rows : a.cols, n = op_b == Op::none ? b.cols : b.rows;
  Matrix out(ctx.device(), m, n, std::max(a.batch, b.batch));
  ctx.linear().gemm(1, op_a, a, op_b, b, 0, out.view());
  return out;
}

/// M in the bases `left`, `right` [d, r'] of its rows' and columns' spans: leftᵀ M right.
Matrix core(Context& ctx, const Product& m, ConstMatrixView left, ConstMatrixView right) {
  const Matrix a = product(ctx, Op::none, m.a, Op::none, left),
               b = product(ctx, Op::none, m.b, Op::none, right);
  return product(ctx, Op::transpose, a.cview(), Op::none, b.cview());
}

/// [batch][d, 2r]: of the rows of a and b together.
Matrix common_basis(Context& ctx, const Product& m) {
  Matrix rows(ctx.device(), 2 * m.a.rows, m.d(), m.batch());
  copy(ctx.device(), m.a, rows.view().row_block(0, m.a.rows));
  copy(ctx.device(), m.b, rows.view().row_block(m.a.rows, m.a.rows));
  return basis_of(ctx, rows.cview());
}

bool low_rank(const Product& m) { return m.a.rows < m.d(); }
bool skew_low_rank(const Product& m) { return 2 * m.a.rows < m.d(); }

/// Every item's `each` numbers, followed by zeros up to `wanted`.
std::vector<double> padded(const std::vector<double>& x, std::int64_t batch, std::int64_t each,
                           std::int64_t wanted) {
  std::vector<double> out(static_cast<std::size_t>(batch * wanted));
  for (std::int64_t i = 0; i < batch; ++i)
    std::copy_n(x.begin() + i * each, std::min(each, wanted), out.begin() + i * wanted);
  return out;
}

/// The first k rows of every item of [batch][n, d].
Matrix first_rows(Context& ctx, const Matrix& x, std::int64_t k) {
  return copy_of(ctx.device(), x.cview().row_block(0, k));
}

/// Rows of coordinates in a basis [d, r'] as rows of length d: x basisᵀ.
Matrix in_stream(Context& ctx, const Matrix& x, ConstMatrixView basis) {
  return product(ctx, Op::none, x.cview(), Op::transpose, basis);
}

/// k/2 left and k/2 right rows of the strongest planes of m's antisymmetric part: [batch][k, n].
Matrix skew_rows(Context& ctx, ConstMatrixView m, std::int64_t k, std::vector<double>* all = nullptr) {
  const std::int64_t planes = m.rows / 2;
  const Matrix skew = skew_part(ctx, m);
  Buffer<double> sigma = numbers_on(ctx.device(), m.batch * planes);
  Matrix left(ctx.device(), planes, m.cols, m.batch), right(ctx.device(), planes, m.cols, m.batch);
  ctx.linear().skew_spectrum(skew.view(), sigma.data(), left.view(), right.view());
  if (all != nullptr) *all = to_host(sigma);
  Matrix out(ctx.device(), k, m.cols, m.batch);
  copy(ctx.device(), left.cview().row_block(0, k / 2), out.view().row_block(0, k / 2));
  copy(ctx.device(), right.cview().row_block(0, k / 2), out.view().row_block(k / 2, k / 2));
  return out;
}

struct TwoSides {
  Matrix left, right;  ///< [batch][k, n]
};
/// all: where every value goes.
TwoSides singular_rows(Context& ctx, ConstMatrixView m, std::int64_t k, std::vector<double>* all = nullptr) {
  Matrix u(ctx.device(), m.rows, m.rows, m.batch), vt(ctx.device(), m.rows, m.cols, m.batch);
  Buffer<double> sigma = numbers_on(ctx.device(), m.batch * m.rows);
  ctx.linear().svd(m, u.view(), sigma.data(), vt.view());
  if (all != nullptr) *all = to_host(sigma);
  return {first_rows(ctx, transposed(ctx, u.cview()), k), first_rows(ctx, vt, k)};
}

}  // namespace

Matrix whole(Context& ctx, const Product& m) { return product(ctx, Op::transpose, m.a, Op::none, m.b); }

std::vector<double> values_of(Context& ctx, ConstMatrixView m) {
  Buffer<double> sigma = numbers_on(ctx.device(), m.batch * std::min(m.rows, m.cols));
  ctx.linear().svd(m, {}, sigma.data(), {});
  return to_host(sigma);
}

std::vector<double> skew_planes(Context& ctx, ConstMatrixView m) {
  const Matrix skew = skew_part(ctx, m);
  Buffer<double> sigma = numbers_on(ctx.device(), m.batch * (m.rows / 2));
  ctx.linear().skew_spectrum(skew.view(), sigma.data(), {}, {});
  return to_host(sigma);
}

std::vector<double> singular_values(Context& ctx, const Product& m) {
  if (!low_rank(m)) return values_of(ctx, whole(ctx, m).cview());
  const Matrix left = basis_of(ctx, m.a), right = basis_of(ctx, m.b);
  return padded(values_of(ctx, core(ctx, m, left.cview(), right.cview()).cview()), m.batch(), m.a.rows,
                m.d());
}

std::vector<double> skew_planes(Context& ctx, const Product& m) {
  if (!skew_low_rank(m)) return skew_planes(ctx, whole(ctx, m).cview());
  const Matrix basis = common_basis(ctx, m);
  return padded(skew_planes(ctx, core(ctx, m, basis.cview(), basis.cview()).cview()), m.batch(), m.a.rows,
                m.d() / 2);
}

EigenShares eigen_shares(Context& ctx, ConstMatrixView m) {
  Buffer<double> values = numbers_on(ctx.device(), 2 * m.batch * m.rows);
  ctx.linear().eigenvalues(m, values.data());
  const auto host = to_host(values);
  EigenShares out;
  for (std::int64_t item = 0; item < m.batch; ++item) {
    double real = 0, positive = 0, all = 0;
    for (std::int64_t k = item * m.rows; k < (item + 1) * m.rows; ++k) {
      const double re = host[static_cast<std::size_t>(2 * k)], im = host[static_cast<std::size_t>(2 * k + 1)];
      real += std::abs(re);
      positive += re;
      all += std::hypot(re, im);
    }
    out.real.push_back(all > 0 ? real / all : 0);
    out.positive.push_back(all > 0 ? positive / all : 0);
  }
  return out;
}

// Those of aᵀb other than zero are those of b aᵀ.
EigenShares eigen_shares(Context& ctx, const Product& m) {
  if (!low_rank(m)) return eigen_shares(ctx, whole(ctx, m).cview());
  return eigen_shares(ctx, product(ctx, Op::none, m.b, Op::transpose, m.a).cview());
}

TopSubspaces top_subspaces(Context& ctx, const Product& m, std::int64_t k) {
  TopSubspaces out;
  if (low_rank(m)) {
    const Matrix left = basis_of(ctx, m.a), right = basis_of(ctx, m.b);
    const TwoSides inside = singular_rows(ctx, core(ctx, m, left.cview(), right.cview()).cview(), k);
    out.left = in_stream(ctx, inside.left, left.cview());
    out.right = in_stream(ctx, inside.right, right.cview());
  } else {
    TwoSides sides = singular_rows(ctx, whole(ctx, m).cview(), k);
    out.left = std::move(sides.left);
    out.right = std::move(sides.right);
  }
  if (skew_low_rank(m)) {
    const Matrix basis = common_basis(ctx, m);
    out.skew =
        in_stream(ctx, skew_rows(ctx, core(ctx, m, basis.cview(), basis.cview()).cview(), k), basis.cview());
  } else {
    out.skew = skew_rows(ctx, whole(ctx, m).cview(), k);
  }
  return out;
}

WholeSpectra whole_spectra(Context& ctx, ConstMatrixView m, std::int64_t k) {
  WholeSpectra out;
  TwoSides sides = singular_rows(ctx, m, k, &out.sigma);
  out.top = {std::move(sides.left), std::move(sides.right), skew_rows(ctx, m, k, &out.planes)};
  return out;
}

}  // namespace aloft::analysis
