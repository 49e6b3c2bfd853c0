#include "pipeline/analysis/kernel_spectra.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "pipeline/analysis/gram_spectra.hpp"
#include "pipeline/base/device_math.hpp"

namespace aloft::analysis {
namespace {

Matrix product(Context& ctx, Op op_a, ConstMatrixView a, Op op_b, ConstMatrixView b) {
  const std::int64_t m = op_a == Op::none ? a.rows : a.cols, n = op_b == Op::none ? b.cols : b.rows;
  Matrix out(ctx.device(), m, n, std::max(a.batch, b.batch));
  ctx.linear().gemm(1, op_a, a, op_b, b, 0, out.view());
  return out;
}

/// Rows x [batch][r, d] = root · (inverse · x), the latter's rows orthonormal (or zero, where x has fewer
/// directions than rows).
struct Roots {
  Matrix root, inverse;  ///< [batch][r, r]
};

Roots roots_of(Context& ctx, ConstMatrixView x, bool with_inverse) {
  constexpr double kNothing = 1e-14;  // of the largest eigenvalue: rounding
  LinearOps& linear = ctx.linear();
  const std::int64_t r = x.rows;
  Matrix gram = product(ctx, Op::none, x, Op::transpose, x);
  Buffer<double> values = numbers_on(ctx.device(), x.batch * r);
  linear.eigh(gram.cview(), values.data(), gram.view());
  std::vector<double> roots = to_host(values), inverses(roots.size(), 0.0);
  for (std::int64_t b = 0; b < x.batch; ++b) {
    const double largest = roots[static_cast<std::size_t>((b + 1) * r - 1)];
    for (auto i = static_cast<std::size_t>(b * r); i < static_cast<std::size_t>((b + 1) * r); ++i) {
      roots[i] = roots[i] > kNothing * largest ? std::sqrt(roots[i]) : 0;
      if (roots[i] > 0) inverses[i] = 1 / roots[i];
    }
  }
  const auto on_device = to_device<const double>(ctx.device(), roots),
             inverse_on_device = to_device<const double>(ctx.device(), inverses);
  Roots out;
  if (with_inverse) {
    out.inverse = transposed(ctx, gram.cview());
    for (std::int64_t b = 0; b < x.batch; ++b)
      linear.scale(out.inverse.view().item(b), inverse_on_device.data() + b * r, nullptr);
  }
  out.root = std::move(gram);
  for (std::int64_t b = 0; b < x.batch; ++b)
    linear.scale(out.root.view().item(b), nullptr, on_device.data() + b * r);
  ctx.device().synchronize();  // before the scales go
  return out;
}

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

struct Planes {
  std::vector<double> values;  ///< [batch][n/2]
  Matrix rows;                 ///< [batch][k, n]: both rows of the k/2 strongest planes
};
Planes planes_of(Context& ctx, ConstMatrixView skew, std::int64_t k) {
  const std::int64_t planes = skew.rows / 2;
  if (skew.rows > kWidestBySvd) {
    GramPlanes found = gram_planes(ctx, skew, k);
    return {std::move(found.planes), std::move(found.rows)};
  }
  Buffer<double> sigma = numbers_on(ctx.device(), skew.batch * planes);
  Planes out;
  if (k == 0) {
    ctx.linear().skew_spectrum(skew, sigma.data(), {}, {});
  } else {
    Matrix left(ctx.device(), planes, skew.cols, skew.batch),
        right(ctx.device(), planes, skew.cols, skew.batch);
    ctx.linear().skew_spectrum(skew, sigma.data(), left.view(), right.view());
    out.rows = Matrix(ctx.device(), k, skew.cols, skew.batch);
    copy(ctx.device(), left.cview().row_block(0, k / 2), out.rows.view().row_block(0, k / 2));
    copy(ctx.device(), right.cview().row_block(0, k / 2), out.rows.view().row_block(k / 2, k / 2));
  }
  out.values = to_host(sigma);
  return out;
}

struct TwoSides {
  std::vector<double> sigma;  ///< [batch][n]
  Matrix left, right;         ///< [batch][k, n]
};
TwoSides sides_of(Context& ctx, ConstMatrixView m, std::int64_t k) {
  if (k == 0) return {values_of(ctx, m), {}, {}};
  if (m.rows > kWidestBySvd) {
    GramSpectra found = gram_spectra(ctx, m, k);
    return {std::move(found.sigma), std::move(found.left), std::move(found.right)};
  }
  Matrix u(ctx.device(), m.rows, m.rows, m.batch), vt(ctx.device(), m.rows, m.cols, m.batch);
  Buffer<double> sigma = numbers_on(ctx.device(), m.batch * m.rows);
  ctx.linear().svd(m, u.view(), sigma.data(), vt.view());
  return {to_host(sigma), first_rows(ctx, transposed(ctx, u.cview()), k), first_rows(ctx, vt, k)};
}

/// Rows in the coordinates of an orthonormal basis (inverse · x) as rows of length d.
Matrix in_stream(Context& ctx, const Matrix& rows, const Matrix& inverse, ConstMatrixView x) {
  return product(ctx, Op::none, product(ctx, Op::none, rows.cview(), Op::none, inverse.cview()).cview(),
                 Op::none, x);
}

TwoSides low_rank_sides(Context& ctx, const Product& m, std::int64_t k) {
  const Roots a = roots_of(ctx, m.a, k > 0), b = roots_of(ctx, m.b, k > 0);
  const Matrix core = product(ctx, Op::transpose, a.root.cview(), Op::none, b.root.cview());
  TwoSides out = sides_of(ctx, core.cview(), k);
  out.sigma = padded(out.sigma, m.batch(), m.a.rows, m.d());
  if (k == 0) return out;
  out.left = in_stream(ctx, out.left, a.inverse, m.a);
  out.right = in_stream(ctx, out.right, b.inverse, m.b);
  return out;
}

// With c = [a; b]: aᵀb − bᵀa = cᵀJc, which in the span of c is top ᵀbottom less its transpose, top and bottom
// the halves of c's root.
Planes low_rank_planes(Context& ctx, const Product& m, std::int64_t k) {
  const std::int64_t r = m.a.rows;
  Matrix c(ctx.device(), 2 * r, m.d(), m.batch());
  copy(ctx.device(), m.a, c.view().row_block(0, r));
  copy(ctx.device(), m.b, c.view().row_block(r, r));
  const Roots of_c = roots_of(ctx, c.cview(), k > 0);
  const Matrix halves = product(ctx, Op::transpose, of_c.root.cview().row_block(0, r), Op::none,
                                of_c.root.cview().row_block(r, r));
  Planes out = planes_of(ctx, skew_part(ctx, halves.cview()).cview(), k);
  out.values = padded(out.values, m.batch(), r, m.d() / 2);
  if (k > 0) out.rows = in_stream(ctx, out.rows, of_c.inverse, c.cview());
  return out;
}

KernelSpectra together(TwoSides sides, Planes planes) {
  return {std::move(sides.sigma),
          std::move(planes.values),
          {std::move(sides.left), std::move(sides.right), std::move(planes.rows)}};
}

}  // namespace

Matrix whole(Context& ctx, const Product& m) { return product(ctx, Op::transpose, m.a, Op::none, m.b); }

std::vector<double> values_of(Context& ctx, ConstMatrixView m) {
  if (std::min(m.rows, m.cols) > kWidestBySvd) return gram_values(ctx, m);
  Buffer<double> sigma = numbers_on(ctx.device(), m.batch * std::min(m.rows, m.cols));
  ctx.linear().svd(m, {}, sigma.data(), {});
  return to_host(sigma);
}

KernelSpectra kernel_spectra(Context& ctx, ConstMatrixView m, std::int64_t k) {
  return together(sides_of(ctx, m, k), planes_of(ctx, skew_part(ctx, m).cview(), k));
}

KernelSpectra kernel_spectra(Context& ctx, const Product& m, std::int64_t k) {
  const bool low = m.a.rows < m.d(), skew_low = 2 * m.a.rows < m.d();
  if (low && skew_low) return together(low_rank_sides(ctx, m, k), low_rank_planes(ctx, m, k));
  const Matrix all = whole(ctx, m);
  return together(low ? low_rank_sides(ctx, m, k) : sides_of(ctx, all.cview(), k),
                  planes_of(ctx, skew_part(ctx, all.cview()).cview(), k));
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
  if (m.a.rows >= m.d()) return eigen_shares(ctx, whole(ctx, m).cview());
  return eigen_shares(ctx, product(ctx, Op::none, m.b, Op::transpose, m.a).cview());
}

}  // namespace aloft::analysis
