#include "pipeline/analysis/permutations.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "kernels/random.hpp"
#include "pipeline/base/device_math.hpp"

namespace aloft::analysis {
namespace {

constexpr std::uint64_t kPermutationStream = 0x7369'676e'7065'726dULL;  // "signperm"
constexpr std::uint64_t kBufferBytes = std::uint64_t{64} << 20;         // of permuted matrices at a time

std::vector<std::int32_t> signed_permutation(std::int64_t d, std::uint64_t seed, std::uint64_t number) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(d));
  std::iota(order.begin(), order.end(), 0);
  std::vector<std::int32_t> out(order.size());
  for (std::int64_t i = d - 1; i >= 0; --i) {  // Fisher and Yates
    const PhiloxBlock bits = random_block(
        seed, kPermutationStream, number * static_cast<std::uint64_t>(d) + static_cast<std::uint64_t>(i));
    const auto j =
        static_cast<std::int64_t>(unit_interval(bits.x[0], bits.x[1]) * static_cast<double>(i + 1));
    std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(std::min(i, j))]);
    out[static_cast<std::size_t>(i)] = signed_index(order[static_cast<std::size_t>(i)], bits.x[2] % 2 == 1);
  }
  return out;
}

std::int64_t per_pass(std::int64_t bytes_each, std::int64_t count) {
  const auto fit = static_cast<std::int64_t>(kBufferBytes) / std::max<std::int64_t>(bytes_each, 1);
  return std::clamp<std::int64_t>(fit, 1, std::max<std::int64_t>(count, 1));
}

/// visit(matrices [count·m][rows, cols]) of the data as they are (number 0) and each permutation, some
/// at a time.
template <class Visit>
void for_permuted(Context& ctx, ConstMatrixView x, const Permutations& permutations, bool permute_rows,
                  Sides sides, const Visit& visit) {
  const std::int64_t all = 1 + permutations.count();
  if (all == 1) return visit(x);
  const std::int64_t pass = per_pass(static_cast<std::int64_t>(x.size() * sizeof(double)), all);
  Matrix buffer(ctx.device(), x.rows, x.cols, pass * x.batch);
  std::vector<Buffer<std::int32_t>> indices;  // until the kernels that read them have run
  for (std::int64_t first = 0; first < all; first += pass) {
    ctx.check_interrupt();
    const std::int64_t count = std::min(pass, all - first);
    indices.clear();
    for (std::int64_t k = 0; k < count; ++k) {
      const MatrixView to(buffer.data.data() + k * x.size(), x.rows, x.cols, x.batch);
      if (first + k == 0) {
        copy(ctx.device(), x, to);
        continue;
      }
      const std::int64_t i = first + k - 1;
      const auto on_device = [&](const std::vector<std::int32_t>& signed_indices) {
        indices.push_back(to_device<const std::int32_t>(ctx.device(), signed_indices));
        return indices.back().data();
      };
      const std::int32_t* const of_rows = permute_rows ? on_device(permutations.rows(i)) : nullptr;
      const std::int32_t* const of_columns =
          sides == Sides::apart || of_rows == nullptr
              ? on_device(sides == Sides::apart ? permutations.columns(i) : permutations.rows(i))
              : of_rows;
      ctx.linear().permute(x, of_rows, of_columns, to);
    }
    visit(ConstMatrixView(buffer.data.data(), x.rows, x.cols, count * x.batch));
    ctx.device().synchronize();
  }
}

/// x yᵀ of few long rows [n, elements] and [m, elements]: the long sum in pieces, so that all workers have
/// some of it.
std::vector<double> inner_in_pieces(Context& ctx, ConstMatrixView x, ConstMatrixView y) {
  constexpr std::int64_t kPieces = 16;
  const std::int64_t pieces = x.cols % kPieces == 0 ? kPieces : 1, each = x.cols / pieces;
  const auto cut = [&](ConstMatrixView rows) {
    return ConstMatrixView(rows.data, rows.rows, each, pieces, rows.ld, each);
  };
  Matrix products(ctx.device(), x.rows, y.rows, pieces);
  ctx.linear().gemm(1, Op::none, cut(x), Op::transpose, cut(y), 0, products.view());
  const auto host = to_host(products);
  std::vector<double> out(static_cast<std::size_t>(x.rows * y.rows));
  for (std::size_t i = 0; i < host.size(); ++i) out[i % out.size()] += host[i];
  return out;
}

}  // namespace

Permutations::Permutations(std::int64_t d, std::int64_t count, std::uint64_t seed, std::int64_t widest)
    : d_(d), by_formula_(d > widest), count_(by_formula_ ? 0 : count) {
  for (std::int64_t i = 0; i < count_; ++i) {
    rows_.push_back(signed_permutation(d, seed, 2 * static_cast<std::uint64_t>(i)));
    columns_.push_back(signed_permutation(d, seed, 2 * static_cast<std::uint64_t>(i) + 1));
  }
}

const std::vector<std::int32_t>& Permutations::rows(std::int64_t i) const {
  return rows_.at(static_cast<std::size_t>(i));
}
const std::vector<std::int32_t>& Permutations::columns(std::int64_t i) const {
  return columns_.at(static_cast<std::size_t>(i));
}

std::vector<double> PermutedValues::of(std::int64_t i, std::int64_t j) const {
  std::vector<double> out;
  for (std::size_t at = static_cast<std::size_t>(i * m + j); at < values.size();
       at += static_cast<std::size_t>(n * m))
    out.push_back(values[at]);
  return out;
}

PermutedValues permuted_inner(Context& ctx, ConstMatrixView subjects, ConstMatrixView matrices,
                              const Permutations& permutations, Sides sides) {
  expects(subjects.rows == matrices.rows && subjects.cols == matrices.cols && subjects.contiguous() &&
              matrices.contiguous(),
          "permuted_inner: one shape, contiguous");
  PermutedValues out{subjects.batch, matrices.batch, {}};
  const std::int64_t elements = subjects.rows * subjects.cols;
  const ConstMatrixView rows(subjects.data, subjects.batch, elements);
  if (permutations.count() == 0) {
    out.values = inner_in_pieces(ctx, rows, ConstMatrixView(matrices.data, matrices.batch, elements));
    return out;
  }
  for_permuted(ctx, matrices, permutations, true, sides, [&](ConstMatrixView permuted) {
    const std::int64_t count = permuted.batch / matrices.batch;
    Matrix products(ctx.device(), out.n, out.m, count);
    ctx.linear().gemm(1, Op::none, rows, Op::transpose,
                      ConstMatrixView(permuted.data, matrices.batch, elements, count), 0, products.view());
    const auto host = to_host(products);
    out.values.insert(out.values.end(), host.begin(), host.end());
  });
  return out;
}

PermutedValues permuted_overlap(Context& ctx, ConstMatrixView subjects, ConstMatrixView spaces,
                                const Permutations& permutations) {
  expects(subjects.rows == spaces.rows && subjects.cols == spaces.cols && subjects.contiguous() &&
              spaces.contiguous(),
          "permuted_overlap: subspaces of one dimension, contiguous");
  PermutedValues out{subjects.batch, spaces.batch, {}};
  const std::int64_t k = subjects.rows, d = subjects.cols, n = out.n * k, m = out.m * k;
  const ConstMatrixView rows(subjects.data, n, d);
  for_permuted(ctx, spaces, permutations, false, Sides::both, [&](ConstMatrixView permuted) {
    const std::int64_t count = permuted.batch / spaces.batch;
    Matrix products(ctx.device(), n, m, count);
    ctx.linear().gemm(1, Op::none, rows, Op::transpose, ConstMatrixView(permuted.data, m, d, count), 0,
                      products.view());
    const auto host = to_host(products);
    for (std::int64_t item = 0; item < count; ++item)
      for (std::int64_t i = 0; i < out.n; ++i)
        for (std::int64_t j = 0; j < out.m; ++j) {
          double sum = 0;
          for (std::int64_t a = 0; a < k; ++a)
            for (std::int64_t b = 0; b < k; ++b) {
              const double c = host[static_cast<std::size_t>((item * n + i * k + a) * m + j * k + b)];
              sum += c * c;
            }
          out.values.push_back(sum / static_cast<double>(k));
        }
  });
  return out;
}

std::uint64_t permuted_bytes(std::int64_t n, std::int64_t m, std::int64_t elements) {
  const std::uint64_t one = matrix_bytes(m, elements);
  return std::max(kBufferBytes, one) +
         matrix_bytes(n, m) * (1 + kBufferBytes / std::max<std::uint64_t>(one, 1));
}

}  // namespace aloft::analysis
