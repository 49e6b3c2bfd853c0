#include "pipeline/krylov_eigen.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "pipeline/device_math.hpp"

namespace aloft {
namespace {

constexpr std::uint64_t kStream = 0x6b72'796c'6f76ULL;  // "krylov": of the starting block
constexpr double kResidual = 1e-6;                      // relative to |λ₁|
// Products with x are cheap beside orthogonalising against the basis and solving in it, so the basis grows by
// x^9 a step: the sample's 256 pairs need 640 directions, with plain x 1500. Odd, to keep signs apart.
constexpr int kSparsePower = 9;
// Flat spectra need more: then this much room at least, and with the room gone a residual that still leaves
// values good to about its square and turns only directions of nearly equal value.
constexpr std::int64_t kRoom = 1536;
constexpr double kGoodEnough = 1e-3;
constexpr std::int64_t kBlock = 32;
constexpr double kFresh = 1e-13;  // norm beside unit columns: just above rounding

/// Positions of `values` by falling magnitude, positive first among equals.
std::vector<std::size_t> by_magnitude(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const double x = std::abs(values[a]), y = std::abs(values[b]);
    return x != y ? x > y : values[a] > values[b];
  });
  return order;
}

EigenPairs solve_dense(Context& ctx, std::int64_t n, const SymmetricProduct& x, std::int64_t k) {
  Matrix dense(ctx.device(), n, n);
  const Matrix one = identity(ctx.device(), n);
  x(one.view(), dense.view());
  Buffer<double> values(ctx.device(), static_cast<std::size_t>(n));
  ctx.linear().eigh(dense.view(), values.data(), dense.view());
  const Matrix rows = transposed(ctx, dense.view());
  const auto lambda = to_host(values);
  EigenPairs out{{}, Matrix(ctx.device(), k, n)};
  const auto order = by_magnitude(lambda);
  for (std::int64_t i = 0; i < k; ++i) {
    const std::size_t from = order[static_cast<std::size_t>(i)];
    out.values.push_back(lambda[from]);
    ctx.device().copy(out.vectors.data.data() + i * n, rows.data.data() + from * static_cast<std::size_t>(n),
                      static_cast<std::size_t>(n) * sizeof(double));
  }
  ctx.device().synchronize();
  return out;
}

/// An orthonormal basis of a Krylov space, one direction a row, and x projected onto it.
class KrylovBasis {
 public:
  KrylovBasis(Context& ctx, std::int64_t n, const SymmetricProduct& x, int power, std::int64_t capacity,
              std::uint64_t seed)
      : ctx_(ctx),
        n_(n),
        x_(x),
        power_(power),
        rows_(ctx.device(), capacity, n),
        block_(ctx.device(), n, kBlock),
        product_(ctx.device(), n, kBlock),
        capacity_(capacity),
        seed_(seed) {
    ctx.linear().fill_normal(block_.view(), seed, kStream, 1);
    ctx.linear().orthonormalize(block_.view());
    append();
  }

  [[nodiscard]] std::int64_t size() const { return size_; }

  /// Adds the part of x^power × (the last block) that is new.
  void grow() {
    LinearOps& linear = ctx_.linear();
    for (int i = 1; i < power_; ++i) {
      x_(product_.view(), block_.view());
      std::swap(product_, block_);
    }
    std::swap(product_, block_);
    linear.orthonormalize(block_.view());
    // A trace of fresh random directions: it changes nothing while the block brings news, and replaces it
    // when the powers of x lead nowhere new (low rank, or eigenvalues of high multiplicity).
    linear.fill_normal(product_.view(), seed_, kStream + static_cast<std::uint64_t>(size_),
                       kFresh / std::sqrt(static_cast<double>(n_)));
    linear.add_scaled(1, product_.view(), block_.view());
    for (int pass = 0; pass < 2;
         ++pass) {  // once leaves rounding amplified by the cancellation, twice is enough
      Matrix inner(ctx_.device(), size_, kBlock);
      linear.gemm(1, Op::none, basis(), Op::none, block_.view(), 0, inner.view());
      linear.gemm(-1, Op::transpose, basis(), Op::none, inner.view(), 1, block_.view());
      linear.orthonormalize(block_.view());
      ctx_.device().synchronize();
    }
    append();
  }

  /// The k best approximations within the space.
  [[nodiscard]] EigenPairs ritz_pairs(std::int64_t k) {
    std::vector<double> small(static_cast<std::size_t>(size_ * size_));
    for (std::size_t i = 0; i < projected_.size(); ++i)
      std::copy(projected_[i].begin(), projected_[i].end(),
                small.begin() + static_cast<std::ptrdiff_t>(i) * size_);
    const Matrix projected = matrix_from(ctx_.device(), small, size_, size_);
    Matrix vectors(ctx_.device(), size_, size_);
    Buffer<double> values(ctx_.device(), static_cast<std::size_t>(size_));
    ctx_.linear().eigh(projected.view(), values.data(), vectors.view());
    const auto lambda = to_host(values), v = to_host(vectors);
    const auto order = by_magnitude(lambda);

    EigenPairs out{{}, Matrix(ctx_.device(), k, n_)};
    std::vector<double> chosen(static_cast<std::size_t>(k * size_));  // row i: coordinates of pair i
    for (std::int64_t i = 0; i < k; ++i) {
      const std::size_t from = order[static_cast<std::size_t>(i)];
      out.values.push_back(lambda[from]);
      for (std::int64_t j = 0; j < size_; ++j)
        chosen[static_cast<std::size_t>(i * size_ + j)] = v[static_cast<std::size_t>(j * size_) + from];
    }
    const Matrix coordinates = matrix_from(ctx_.device(), chosen, k, size_);
    ctx_.linear().gemm(1, Op::none, coordinates.view(), Op::none, basis(), 0, out.vectors.view());
    ctx_.device().synchronize();
    return out;
  }

 private:
  [[nodiscard]] ConstMatrixView basis() const { return {rows_.data.data(), size_, n_}; }

  /// Makes block_ part of the basis, and its product with x part of the projected matrix.
  void append() {
    LinearOps& linear = ctx_.linear();
    expects(size_ + kBlock <= capacity_, "room for another block");
    const Matrix rows = transposed(ctx_, block_.view());
    ctx_.device().copy(rows_.data.data() + size_ * n_, rows.data.data(), rows.data.size() * sizeof(double));
    size_ += kBlock;
    x_(block_.view(), product_.view());
    Matrix inner(ctx_.device(), kBlock,
                 size_);  // rows of the symmetric projection: up to and with its diagonal block
    linear.gemm(1, Op::transpose, product_.view(), Op::transpose, basis(), 0, inner.view());
    const auto host = to_host(inner);
    for (std::int64_t i = 0; i < kBlock; ++i)
      projected_.emplace_back(host.begin() + i * size_, host.begin() + (i + 1) * size_);
  }

  Context& ctx_;
  std::int64_t n_;
  const SymmetricProduct& x_;
  int power_;
  Matrix rows_;                                 // [capacity, n]
  Matrix block_, product_;                      // [n, kBlock]; product_ = x block_ between calls
  std::vector<std::vector<double>> projected_;  // [size_] rows, up to and with their diagonal block
  std::int64_t capacity_, size_ = 0;
  std::uint64_t seed_;
};

/// max_i ‖x v_i − λ_i v_i‖.
double largest_residual(Context& ctx, std::int64_t n, const SymmetricProduct& x, const EigenPairs& pairs) {
  const auto k = static_cast<std::int64_t>(pairs.values.size());
  Matrix columns = transposed(ctx, pairs.vectors.view());
  Matrix residual(ctx.device(), n, k);
  x(columns.view(), residual.view());
  const auto lambda = to_device(ctx.device(), std::span(pairs.values));
  ctx.linear().scale(columns.view(), nullptr, lambda.data());
  ctx.linear().add_scaled(-1, columns.view(), residual.view());
  const Matrix rows = transposed(ctx, residual.view());
  const ConstMatrixView each(rows.data.data(), 1, n, k);
  const auto squares = inner_products(ctx, each, each);
  return std::sqrt(*std::max_element(squares.begin(), squares.end()));
}

}  // namespace

EigenPairs largest_eigenpairs(Context& ctx, std::int64_t n, const SymmetricProduct& x, std::int64_t k,
                              int power, std::uint64_t seed, std::string_view stage) {
  expects(k >= 1 && k <= n, "k eigenpairs of a square matrix, 1 <= k <= n");
  // Below this the dense solver is as fast as the smallest Krylov space that would do.
  if (n <= std::max<std::int64_t>(1024, 4 * k)) return solve_dense(ctx, n, x, k);

  const auto whole = [](std::int64_t directions) { return directions / kBlock * kBlock; };
  const std::int64_t first =
      whole(5 * k / 2 + kBlock - 1);  // where the sample corpus has converged for k = 256
  const std::int64_t capacity = std::min(whole(n), std::max(4 * first, kRoom));
  std::int64_t next_check = std::min(capacity, first);
  KrylovBasis basis(ctx, n, x, power, capacity, seed);
  while (true) {
    ctx.check_interrupt();
    ctx.progress().update(stage, static_cast<double>(basis.size()), static_cast<double>(next_check),
                          static_cast<std::uint64_t>(basis.size()), "directions");
    if (basis.size() < next_check) {
      basis.grow();
      continue;
    }
    EigenPairs pairs = basis.ritz_pairs(k);
    const double residual = largest_residual(ctx, n, x, pairs);
    const bool full = basis.size() + kBlock > capacity;
    if (residual <= (full ? kGoodEnough : kResidual) * std::abs(pairs.values[0])) return pairs;
    if (full)
      throw NumericError(
          fmt::format("the {} largest eigenpairs of a {} x {} matrix have not converged after {} directions "
                      "(residual {:.2e}); "
                      "use a smaller dimension",
                      k, n, n, basis.size(), residual / std::abs(pairs.values[0])));
    next_check = std::min(capacity, basis.size() + std::max(kBlock, whole(basis.size() / 8)));
  }
}

EigenPairs largest_eigenpairs(Context& ctx, RealCsrView x, std::int64_t k, std::uint64_t seed,
                              std::string_view stage) {
  expects(x.rows == x.cols, "eigenpairs of a square matrix");
  const auto product = [&](ConstMatrixView in, MatrixView out) { ctx.linear().spmm(x, in, out); };
  return largest_eigenpairs(ctx, x.rows, product, k, kSparsePower, seed, stage);
}

}  // namespace aloft
