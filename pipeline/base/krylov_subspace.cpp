#include "pipeline/base/krylov_subspace.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "host/error.hpp"
#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"

// Subspaces of which nobody asks how good they are: products, the basis and what is projected onto it are in
// single precision, which is more than the space itself is worth. Double precision is left where it costs
// little: orthonormal columns of one block, the small eigenvalue problem, and the rows that are returned.

namespace aloft {
namespace {

constexpr std::uint64_t kSpaceStream = 0x6b72'796c'6f76ULL;  // "krylov": of the starting block
constexpr std::int64_t kNarrow = 32, kWide = 64;             // columns of a block
constexpr std::int64_t kManyDirections = 512;  // from which on wide blocks still make enough steps
constexpr double kTrace = 1e-6;                // norm beside unit columns: just above rounding

/// Columns of a block for k pairs, and directions of the space: a multiple of that.
std::int64_t columns_at_once(std::int64_t k) { return 3 * k / 2 < kManyDirections ? kNarrow : kWide; }
std::int64_t directions(std::int64_t k) {
  const std::int64_t block = columns_at_once(k);
  return (3 * k / 2 + block - 1) / block * block;
}

/// The pairs that belong to the chosen columns of an orthogonal matrix, row by row.
std::vector<double> chosen_columns(const std::vector<double>& vectors, std::int64_t size,
                                   const std::vector<std::int64_t>& order, std::int64_t k) {
  std::vector<double> out = host_matrix(k, size);
  const HostView to(out, size);
  const HostView<const double> from(vectors, size);
  for (std::int64_t i = 0; i < k; ++i)
    for (std::int64_t j = 0; j < size; ++j) to(i, j) = from(j, at(order, i));
  return out;
}

/// An orthonormal basis of a Krylov space, one direction a row, and the matrix projected onto it.
class Space {
 public:
  Space(Context& ctx, std::int64_t n, const FloatProduct& x, int power, std::int64_t k, std::uint64_t seed)
      : ctx_(ctx),
        n_(n),
        x_(x),
        power_(power),
        seed_(seed),
        at_once_(columns_at_once(k)),
        rows_(ctx.device(), directions(k), n),
        block_(ctx.device(), n, at_once_),
        product_(ctx.device(), n, at_once_),
        wide_(ctx.device(), n, at_once_),
        projected_(host_matrix(directions(k), directions(k))) {
    ctx.linear().fill_normal(wide_.view(), seed, kSpaceStream, 1);
    ctx.linear().round(wide_.cview(), block_.view());
    orthonormalize_block();
    append();
  }

  [[nodiscard]] std::int64_t size() const { return size_; }
  [[nodiscard]] bool full() const { return size_ == rows_.rows; }

  /// Adds the part of x^power × (the last block) that is new.
  void grow() {
    for (int i = 1; i <= power_; ++i) {
      std::swap(product_, block_);
      orthonormalize_block();
      if (i == power_) add_trace();
      // Each time: beside the directions that are known already, powers would drown the lesser ones in
      // rounding.
      subtract_basis();
      orthonormalize_block();
      if (i < power_) x_(block_.cview(), product_.view());
    }
    // Again: columns that were nearly the same without the basis have been made of what rounding left of it.
    subtract_basis();
    orthonormalize_block();
    append();
  }

  /// The k best approximations within the space.
  [[nodiscard]] Subspace best(std::int64_t k) {
    block_ = {};
    product_ = {};
    wide_ = {};
    Subspace out;
    std::vector<double> chosen;
    {
      Matrix small = matrix_from(ctx_.device(), projected_, size_, size_);
      Buffer<double> values = numbers_on(ctx_.device(), size_);
      ctx_.linear().eigh(small.cview(), values.data(), small.view());
      const std::vector<double> lambda = to_host(values);
      const std::vector<std::int64_t> order = by_magnitude(lambda);
      for (std::int64_t i = 0; i < k; ++i) out.values.push_back(at(lambda, at(order, i)));
      chosen = chosen_columns(to_host(small), size_, order, k);
    }
    FloatMatrix coordinates(ctx_.device(), k, size_);
    ctx_.linear().round(matrix_from(ctx_.device(), chosen, k, size_).cview(), coordinates.view());
    FloatMatrix found(ctx_.device(), n_, k);
    ctx_.linear().gemm(1.0F, Op::transpose, basis(), Op::transpose, coordinates.cview(), 0.0F, found.view());
    rows_ = {};
    out.columns = Matrix(ctx_.device(), n_, k);
    ctx_.linear().widen(found.cview(), out.columns.view());
    return out;
  }

 private:
  [[nodiscard]] ConstFloatView basis() const { return rows_.view().row_block(0, size_); }

  /// A trace of fresh random directions: it changes nothing while the block brings news, and replaces it when
  /// the powers of x lead nowhere new (low rank, or eigenvalues of high multiplicity).
  void add_trace() {
    ctx_.linear().fill_normal(wide_.view(), seed_, kSpaceStream + static_cast<std::uint64_t>(size_),
                              kTrace / std::sqrt(static_cast<double>(n_)));
    ctx_.linear().round(wide_.cview(), product_.view());
    ctx_.linear().add_scaled(1.0F, product_.cview(), block_.view());
  }

  void subtract_basis() {
    FloatMatrix inner(ctx_.device(), size_, at_once_);
    ctx_.linear().gemm(1.0F, Op::none, basis(), Op::none, block_.cview(), 0.0F, inner.view());
    ctx_.linear().gemm(-1.0F, Op::transpose, basis(), Op::none, inner.cview(), 1.0F, block_.view());
  }

  /// Columns of block_, also left in wide_.
  void orthonormalize_block() {
    ctx_.linear().widen(block_.cview(), wide_.view());
    ctx_.linear().orthonormalize(wide_.view());
    ctx_.linear().round(wide_.cview(), block_.view());
  }

  /// Makes block_ part of the basis, and its product with x part of the projected matrix.
  void append() {
    const Matrix rows = transposed(ctx_, wide_.cview());
    ctx_.linear().round(rows.cview(), rows_.view().row_block(size_, at_once_));
    size_ += at_once_;
    x_(block_.cview(), product_.view());
    FloatMatrix inner(ctx_.device(), at_once_, size_);  // up to and with the diagonal block
    ctx_.linear().gemm(1.0F, Op::transpose, product_.cview(), Op::transpose, basis(), 0.0F, inner.view());
    const std::vector<float> host = to_host(inner.data);
    const HostView to(projected_, rows_.rows);
    for (std::int64_t i = 0; i < at_once_; ++i)
      std::copy_n(host.begin() + i * size_, size_, to.row(size_ - at_once_ + i));
  }

  Context& ctx_;
  std::int64_t n_;
  const FloatProduct& x_;
  int power_;
  std::uint64_t seed_;
  std::int64_t at_once_;
  FloatMatrix rows_;               // [capacity, n]
  FloatMatrix block_, product_;    // [n, at_once_]; product_ = x block_ between calls
  Matrix wide_;                    // [n, at_once_]: block_ before it was rounded
  std::vector<double> projected_;  // [capacity, capacity], below and on the diagonal
  std::int64_t size_ = 0;
};

}  // namespace

Subspace leading_subspace(Context& ctx, std::int64_t n, const FloatProduct& x, std::int64_t k, int power,
                          std::uint64_t seed, std::string_view stage) {
  const std::int64_t capacity = directions(k);
  expects(k >= 1 && capacity <= n, "k eigenpairs of a square matrix of at least 3/2 k + 64 rows");
  Space space(ctx, n, x, power, k, seed);
  while (!space.full()) {
    ctx.check_interrupt();
    ctx.progress().update(stage, static_cast<double>(space.size()), static_cast<double>(capacity),
                          static_cast<std::uint64_t>(space.size()), "directions");
    space.grow();
  }
  return space.best(k);
}

Subspace subspace_of(Context& ctx, EigenPairs pairs) {
  return {std::move(pairs.values), transposed(ctx, pairs.vectors.cview())};
}

Peak leading_subspace_memory(const LinearOps& ops, std::int64_t n, std::int64_t k,
                             const ProductMemory& product) {
  const auto real = [](std::int64_t rows, std::int64_t cols) { return on_device(matrix_bytes(rows, cols)); };
  const auto floats = [](std::int64_t rows, std::int64_t cols) {
    return on_device(float_matrix_bytes(rows, cols));
  };
  const std::int64_t size = directions(k), block = columns_at_once(k);
  Peak out;
  const Footprint basis = floats(size, n) + on_host(matrix_bytes(size, size)),
                  blocks = floats(n, 2 * block) + real(n, block);
  out.reach(basis + blocks + real(block, n) + floats(block, size) + product(block));
  out.reach(basis + blocks + floats(size, block) + ops.orthonormalize_scratch(n, block, 1));
  out.reach(basis + real(size, size + 1) + on_host(matrix_bytes(size, size)) + ops.eigh_scratch(size, 1));
  out.reach(basis + real(k, size) + floats(k, size) + on_host(matrix_bytes(k, size)));
  out.reach(basis + floats(k, size) + floats(n, k) + on_host(matrix_bytes(k, size)));
  out.reach(floats(n, k) + real(n, k) + on_host(matrix_bytes(size, size)));
  return out;
}

}  // namespace aloft
