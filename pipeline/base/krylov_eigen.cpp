#include "pipeline/base/krylov_eigen.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"

namespace aloft {
namespace {

constexpr std::uint64_t kStream = 0x6b72'796c'6f76ULL;  // "krylov": of the starting block
constexpr double kResidual = 1e-6;                      // relative to |λ₁|
// Products with x are cheap beside orthogonalising against the basis and solving in it, so the basis grows by
// x^9 a step: the sample's 256 pairs need 640 directions, with plain x 1500. Odd, to keep signs apart.
constexpr int kSparsePower = 9;
// Flat spectra need more: the basis then starts again from the pairs found so far, until this many directions
// have been tried, and a residual is accepted that still leaves values good to about its square and turns
// only directions of nearly equal value.
constexpr std::int64_t kMostDirections = 3072;
constexpr double kGoodEnough = 1e-3;
constexpr std::int64_t kBlock = 32;
constexpr std::int64_t kFewestBlocks = 10;  // that a basis gains before it starts again
constexpr double kFresh = 1e-13;            // norm beside unit columns: just above rounding

constexpr std::int64_t whole(std::int64_t directions) { return directions / kBlock * kBlock; }

/// How large the basis gets for k pairs of an [n, n] matrix: what is allocated, and what krylov_memory()
/// says.
struct Sizes {
  bool dense = false;         ///< the dense solver instead: as fast as the smallest basis that would do
  std::int64_t first = 0;     ///< directions before the first look: the sample corpus has converged, k = 256
  std::int64_t capacity = 0;  ///< directions held at once
  std::int64_t most = 0;      ///< directions tried in all

  Sizes(std::int64_t n, std::int64_t k)
      : dense(soon_dense(n, k)),
        first(std::min(whole(n), whole(5 * k / 2 + kBlock - 1))),
        capacity(std::min(whole(n), whole(std::max(3 * k, k + kFewestBlocks * kBlock) + kBlock - 1))),
        most(std::max(8 * first, kMostDirections)) {}
};

EigenPairs solve_dense(Context& ctx, std::int64_t n, const SymmetricProduct& x, std::int64_t k) {
  Matrix dense(ctx.device(), n, n);
  {
    const Matrix one = identity(ctx.device(), n);
    x(one.view(), dense.view());
  }
  Buffer<double> values = numbers_on(ctx.device(), n);
  ctx.linear().eigh(dense.view(), values.data(), dense.view());
  const Matrix rows = transposed(ctx, dense.view());
  const auto lambda = to_host(values);
  EigenPairs out{{}, Matrix(ctx.device(), k, n)};
  const auto order = by_magnitude(lambda);
  for (std::int64_t i = 0; i < k; ++i) {
    const std::int64_t from = at(order, i);
    out.values.push_back(at(lambda, from));
    copy(ctx.device(), rows.view().row_block(from, 1), out.vectors.view().row_block(i, 1));
  }
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
  [[nodiscard]] bool full() const { return size_ + kBlock > capacity_; }
  /// Directions that were ever part of it.
  [[nodiscard]] std::int64_t tried() const { return tried_; }

  /// Adds the part of x^power × (the last block) that is new.
  void grow() {
    find_next_block();
    append();
  }

  /// Keeps of all directions those of `found`, pairs of this very basis, and the block that would have come
  /// next, which holds what their residuals are made of (thick restart: Wu and Simon, 2000).
  void restart(const EigenPairs& found) {
    find_next_block();
    const Matrix& kept = found.vectors;
    copy(ctx_.device(), kept.view(), rows_.view().row_block(0, kept.rows));
    size_ = kept.rows;
    projected_.clear();
    for (std::int64_t i = 0; i < size_; ++i) {
      projected_.push_back(host_vector(i));
      projected_.back().push_back(at(found.values, i));
    }
    append();
  }

  /// The k best approximations within the space.
  [[nodiscard]] EigenPairs ritz_pairs(std::int64_t k) {
    std::vector<double> lambda, v;
    {  // gone when the pairs are formed
      Matrix small = matrix_from(ctx_.device(), lower_triangle(), size_, size_);
      Buffer<double> values = numbers_on(ctx_.device(), size_);
      ctx_.linear().eigh(small.cview(), values.data(), small.view());
      lambda = to_host(values);
      v = to_host(small);
    }
    const auto order = by_magnitude(lambda);

    EigenPairs out{{}, Matrix(ctx_.device(), k, n_)};
    std::vector<double> chosen = host_matrix(k, size_);  // row i: coordinates of pair i
    const HostView to(chosen, size_);
    const HostView columns(v, size_);
    for (std::int64_t i = 0; i < k; ++i) {
      const std::int64_t from = at(order, i);
      out.values.push_back(at(lambda, from));
      for (std::int64_t j = 0; j < size_; ++j) to(i, j) = columns(j, from);
    }
    const Matrix coordinates = matrix_from(ctx_.device(), chosen, k, size_);
    ctx_.linear().gemm(1, Op::none, coordinates.view(), Op::none, basis(), 0, out.vectors.view());
    return out;
  }

 private:
  [[nodiscard]] std::vector<double> lower_triangle() const {
    std::vector<double> out = host_matrix(size_, size_);
    const HostView rows(out, size_);
    for (std::int64_t i = 0; i < size_; ++i)
      std::copy(at(projected_, i).begin(), at(projected_, i).end(), rows.row(i));
    return out;
  }
  [[nodiscard]] ConstMatrixView basis() const { return rows_.view().row_block(0, size_); }

  /// block_ becomes the part of x^power × block_ that the basis lacks.
  void find_next_block() {
    LinearOps& linear = ctx_.linear();
    for (int i = 1; i < power_; ++i) {
      x_(product_.view(), block_.view());
      std::swap(product_, block_);
    }
    std::swap(product_, block_);
    linear.orthonormalize(block_.view());
    // A trace of fresh random directions: it changes nothing while the block brings news, and replaces it
    // when the powers of x lead nowhere new (low rank, or eigenvalues of high multiplicity).
    linear.fill_normal(product_.view(), seed_, kStream + static_cast<std::uint64_t>(tried_),
                       kFresh / std::sqrt(static_cast<double>(n_)));
    linear.add_scaled(1, product_.view(), block_.view());
    for (int pass = 0; pass < 2;
         ++pass) {  // once leaves rounding amplified by the cancellation, twice is enough
      Matrix inner(ctx_.device(), size_, kBlock);
      linear.gemm(1, Op::none, basis(), Op::none, block_.view(), 0, inner.view());
      linear.gemm(-1, Op::transpose, basis(), Op::none, inner.view(), 1, block_.view());
      linear.orthonormalize(block_.view());
    }
  }

  /// Makes block_ part of the basis, and its product with x part of the projected matrix.
  void append() {
    LinearOps& linear = ctx_.linear();
    expects(!full(), "room for another block");
    linear.transpose(block_.view(), rows_.view().row_block(size_, kBlock));
    size_ += kBlock;
    tried_ += kBlock;
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
  std::int64_t capacity_, size_ = 0, tried_ = 0;
  std::uint64_t seed_;
};

/// The dense solver.
Peak dense_memory(const LinearOps& ops, std::int64_t n, std::int64_t k, const ProductMemory& product) {
  const Footprint square = on_device(matrix_bytes(n, n + 1));
  Peak out;
  out.reach(square + square + on_host(square.device));  // the identity, as it is sent
  out.reach(square + square + product(n));
  out.reach(square + ops.eigh_scratch(n, 1));
  out.reach(square + square + on_device(matrix_bytes(k, n + 1)));
  return out;
}

/// A KrylovBasis.
Footprint basis_held(std::int64_t n, std::int64_t capacity) {
  const Footprint block = on_device(matrix_bytes(n, kBlock));
  return on_device(matrix_bytes(capacity, n)) + block + block + on_host(matrix_bytes(capacity, capacity));
}

/// Growing one, and its pairs.
Peak basis_memory(const LinearOps& ops, std::int64_t n, std::int64_t k, std::int64_t capacity,
                  const ProductMemory& product) {
  const Footprint projected = on_host(matrix_bytes(capacity, capacity)),
                  small = on_device(matrix_bytes(capacity, capacity + 1)),
                  chosen = on_device(matrix_bytes(k, capacity)), found = on_device(matrix_bytes(k, n + 1)),
                  basis = basis_held(n, capacity);
  Peak out;
  out.reach(basis + product(kBlock));
  out.reach(basis + chosen + ops.orthonormalize_scratch(n, kBlock, 1));
  out.reach(basis + projected + small);
  out.reach(basis + small + ops.eigh_scratch(capacity, 1));
  out.reach(basis + projected + chosen + on_host(chosen.device) + found);
  return out;
}

/// max_i ‖x v_i − λ_i v_i‖.
double largest_residual(Context& ctx, std::int64_t n, const SymmetricProduct& x, const EigenPairs& pairs) {
  const auto k = static_cast<std::int64_t>(pairs.values.size());
  double largest = 0;
  for (std::int64_t first = 0; first < k; first += kBlock) {  // a block at a time: memory
    const std::int64_t count = std::min(kBlock, k - first);
    Matrix columns = transposed(ctx, pairs.vectors.view().row_block(first, count));
    Matrix residual(ctx.device(), n, count);
    x(columns.view(), residual.view());
    const auto lambda = to_device(ctx.device(), std::span(pairs.values).subspan(first, count));
    ctx.linear().scale(columns.view(), nullptr, lambda.data());
    ctx.linear().add_scaled(-1, columns.view(), residual.view());
    ctx.linear().transpose(residual.view(), {columns.data.data(), count, n});
    const ConstMatrixView each(columns.data.data(), 1, n, count);
    for (const double square : inner_products(ctx, each, each)) largest = std::max(largest, square);
  }
  return std::sqrt(largest);
}

}  // namespace

std::vector<std::int64_t> by_magnitude(const std::vector<double>& values) {
  std::vector<std::int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    const double x = std::abs(at(values, a)), y = std::abs(at(values, b));
    return x != y ? x > y : at(values, a) > at(values, b);
  });
  return order;
}

Peak krylov_memory(const LinearOps& ops, std::int64_t n, std::int64_t k, const ProductMemory& product) {
  const Sizes sizes(n, k);
  if (sizes.dense) return dense_memory(ops, n, k, product);
  Peak out = basis_memory(ops, n, k, sizes.capacity, product);
  const Footprint block = on_device(matrix_bytes(n, kBlock)), found = on_device(matrix_bytes(k, n + 1)),
                  chosen = on_device(matrix_bytes(k, sizes.capacity)), basis = basis_held(n, sizes.capacity);
  out.reach(basis + found + block + block + product(kBlock));                    // the residual
  out.reach(basis + found + chosen + ops.orthonormalize_scratch(n, kBlock, 1));  // starting again
  return out;
}

EigenPairs largest_eigenpairs(Context& ctx, std::int64_t n, const SymmetricProduct& x, std::int64_t k,
                              int power, std::uint64_t seed, std::string_view stage) {
  expects(k >= 1 && k <= n, "k eigenpairs of a square matrix, 1 <= k <= n");
  const Sizes sizes(n, k);
  if (sizes.dense) return solve_dense(ctx, n, x, k);

  std::int64_t next_check = sizes.first;
  KrylovBasis basis(ctx, n, x, power, sizes.capacity, seed);
  while (true) {
    ctx.check_interrupt();
    ctx.progress().update(stage, static_cast<double>(basis.size()), static_cast<double>(next_check),
                          static_cast<std::uint64_t>(basis.tried()), "directions");
    if (basis.size() < next_check && !basis.full()) {
      basis.grow();
      continue;
    }
    EigenPairs pairs = basis.ritz_pairs(k);
    const double residual = largest_residual(ctx, n, x, pairs);
    const bool last = basis.tried() >= sizes.most;
    if (residual <= (last ? kGoodEnough : kResidual) * std::abs(pairs.values[0])) return pairs;
    if (last)
      throw NumericError(
          fmt::format("the {} largest eigenpairs of a {} x {} matrix have not converged after {} directions "
                      "(residual {:.2e}); "
                      "use a smaller dimension",
                      k, n, n, basis.tried(), residual / std::abs(pairs.values[0])));
    if (basis.full()) {
      basis.restart(pairs);
      next_check = sizes.capacity;
    } else {
      next_check = std::min(sizes.capacity, basis.size() + std::max(kBlock, whole(basis.size() / 8)));
    }
  }
}

EigenPairs largest_eigenpairs(Context& ctx, RealCsrView x, std::int64_t k, std::uint64_t seed,
                              std::string_view stage) {
  expects(x.rows == x.cols, "eigenpairs of a square matrix");
  const auto product = [&](ConstMatrixView in, MatrixView out) { ctx.linear().spmm(x, in, out); };
  return largest_eigenpairs(ctx, x.rows, product, k, kSparsePower, seed, stage);
}

Peak krylov_memory(const LinearOps& ops, std::int64_t n, std::int64_t nnz, std::int64_t k) {
  return krylov_memory(ops, n, k, [&](std::int64_t columns) { return ops.spmm_scratch(n, n, nnz, columns); });
}

}  // namespace aloft
