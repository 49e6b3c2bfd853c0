#include "pipeline/analysis/correlations.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "pipeline/base/device_math.hpp"

namespace aloft::analysis {
namespace {

/// Square matrices with names: [names][d, d].
struct Named {
  std::vector<std::string> names;
  Matrix matrices;
};

/// Q, K, V where they are square, QK, OV; and a matrix of ones behind them, for sums of elements.
Named subjects_of(Context& ctx, const ModelShape& s, const LayerGroup& w, std::int64_t layer) {
  const std::int64_t d = s.d_model;
  const bool square = s.heads * s.head_dim == d;
  Named out{
      square ? std::vector<std::string>{"Q", "K", "V", "QK", "OV"} : std::vector<std::string>{"QK", "OV"},
      {}};
  out.matrices = Matrix(ctx.device(), d, d, std::ssize(out.names) + 1);
  std::int64_t next = 0;
  const auto place = [&] { return out.matrices.view().item(next++); };
  const Matrix key = expanded(ctx, s, w.key), value = expanded(ctx, s, w.value);
  const auto of = [layer](const Matrix& m) { return m.cview().item(layer); };
  if (square)
    for (const Matrix* m : {&w.query, &key, &value}) copy(ctx.device(), of(*m), place());
  ctx.linear().gemm(1, Op::transpose, of(w.query), Op::none, of(key), 0, place());
  ctx.linear().gemm(1, Op::transpose, of(w.output), Op::none, of(value), 0, place());
  const Matrix ones =
      matrix_from(ctx.device(), std::vector<double>(static_cast<std::size_t>(d * d), 1.0), d, d);
  copy(ctx.device(), ones.cview(), place());
  ctx.device().synchronize();
  return out;
}

/// Bᵀ x B of every item; the last `as_they_are` items stay.
Matrix in_basis(Context& ctx, const Matrix& x, const Matrix& basis, std::int64_t as_they_are) {
  Matrix half(ctx.device(), x.rows, x.cols, x.batch), out(ctx.device(), x.rows, x.cols, x.batch);
  ctx.linear().gemm(1, Op::transpose, basis.cview(), Op::none, x.cview(), 0, half.view());
  ctx.linear().gemm(1, Op::none, half.cview(), Op::none, basis.cview(), 0, out.view());
  for (std::int64_t i = x.batch - as_they_are; i < x.batch; ++i)
    copy(ctx.device(), x.cview().item(i), out.view().item(i));
  return out;
}

Matrix with_attention(Context& ctx, const PairViews& views, const Matrix& attended) {
  const std::int64_t d = attended.rows, known = views.views.batch;
  Matrix out(ctx.device(), d, d, known + 2);
  copy(ctx.device(), views.views.cview(), MatrixView(out.data.data(), d, d, known));
  copy(ctx.device(), attended.cview(), out.view().item(known));
  ctx.linear().transpose(attended.cview(), out.view().item(known + 1));
  return out;
}

std::string view_name(std::int64_t i) {
  return i < 6 ? PairViews::kNames[i] : i == 6 ? "attention_K2" : "attention_K2T";
}

/// Rows of one layer in one basis. subjects: the last is all ones.
void correlate(Context& ctx, const Named& subjects, const Matrix& matrices, const Matrix& views,
               const char* basis, std::int64_t layer, const Permutations& permutations,
               MeasurementTable& out) {
  const auto elements = static_cast<double>(matrices.rows * matrices.cols);
  const PermutedValues inner =
      permuted_inner(ctx, matrices.cview(), views.cview(), permutations, Sides::apart);
  const std::int64_t ones = matrices.batch - 1;
  const std::vector<double> own = inner_products(ctx, matrices.cview(), matrices.cview()),
                            of_views = inner_products(ctx, views.cview(), views.cview());
  for (std::int64_t s = 0; s < ones; ++s) {
    const double sum = inner_products(ctx, matrices.cview().item(s), matrices.cview().item(ones))[0];
    for (std::int64_t v = 0; v < views.batch; ++v) {
      const auto products = inner.of(s, v), sums = inner.of(ones, v);
      std::vector<double> r;
      for (std::size_t i = 0; i < products.size(); ++i) {
        const double together = products[i] - sum * sums[i] / elements,
                     a = own[static_cast<std::size_t>(s)] - sum * sum / elements,
                     b = of_views[static_cast<std::size_t>(v)] - sums[i] * sums[i] / elements;
        r.push_back(a > 0 && b > 1e-12 * of_views[static_cast<std::size_t>(v)] ? together / std::sqrt(a * b)
                                                                               : 0);
      }
      const std::string& name = subjects.names[static_cast<std::size_t>(s)];
      const bool papers = name.size() == 1;  // Q, K, V; else a circuit
      out.add(papers ? "weights" : "circuits", Side::both,
              {Cell(layer), Cell(name), Cell(view_name(v)), Cell(std::string(basis))}, r);
    }
  }
}

void band_shares(Context& ctx, const ModelShape& s, const CorrelationSetup& setup, const MeasuredGroup& group,
                 const Permutations& permutations, MeasurementTable& out) {
  const LayerGroup& w = group.weights;
  const std::int64_t d = s.d_model, layers = w.layers();
  const char* const names[] = {"Q", "K", "V"};
  const Matrix* const sides[] = {&w.query, &w.key, &w.value};
  for (std::int64_t which = 0; which < 3; ++which) {
    Matrix grams(ctx.device(), d, d, layers);
    ctx.linear().gemm(1, Op::transpose, sides[which]->cview(), Op::none, sides[which]->cview(), 0,
                      grams.view());
    const PermutedValues inner =
        permuted_inner(ctx, grams.cview(), setup.bands.cview(), permutations, Sides::both);
    const std::vector<double> all = inner_products(ctx, sides[which]->cview(), sides[which]->cview());
    for (std::int64_t l = 0; l < layers; ++l)
      for (std::int64_t b = 0; b < setup.bands.batch; ++b) {
        std::vector<double> shares = inner.of(l, b);
        for (double& x : shares) x /= std::max(all[static_cast<std::size_t>(l)], 1e-300);
        const auto [from, to] = setup.limits[static_cast<std::size_t>(b)];
        out.add("bands", Side::both,
                {Cell(group.first_layer + l), Cell(std::string(names[which])), Cell(from), Cell(to),
                 Cell(static_cast<double>(to - from) / static_cast<double>(d))},
                shares);
      }
  }
}

}  // namespace

CorrelationSetup correlation_setup(Context& ctx, const PairViews& views, const AttendedPairs& attended) {
  const std::int64_t d = views.eigenbasis.rows;
  CorrelationSetup out{views, attended, {}, {}};
  for (const auto& [from, to] :
       {std::pair{std::int64_t{0}, d / 8}, {d / 8, d / 4}, {d / 4, d / 2}, {d / 2, d}})
    if (to > from) out.limits.emplace_back(from, to);
  out.bands = Matrix(ctx.device(), d, d, std::ssize(out.limits));
  for (std::size_t b = 0; b < out.limits.size(); ++b) {
    const auto [from, to] = out.limits[b];
    const ConstMatrixView columns = views.eigenbasis.cview().block(0, from, d, to - from);
    ctx.linear().gemm(1, Op::none, columns, Op::transpose, columns, 0,
                      out.bands.view().item(static_cast<std::int64_t>(b)));
  }
  return out;
}

void correlate_group(Context& ctx, const ModelShape& shape, const CorrelationSetup& setup,
                     const MeasuredGroup& group, const Permutations& permutations,
                     MeasurementTable& correlations, MeasurementTable& bands) {
  for (std::int64_t l = 0; l < group.weights.layers(); ++l) {
    ctx.check_interrupt();
    const Named subjects = subjects_of(ctx, shape, group.weights, l);
    const Matrix views =
        with_attention(ctx, setup.views, setup.attended.weighted(ctx, shape, group.weights, l));
    correlate(ctx, subjects, subjects.matrices, views, "embedding", group.first_layer + l, permutations,
              correlations);
    correlate(ctx, subjects, in_basis(ctx, subjects.matrices, setup.views.eigenbasis, 1),
              in_basis(ctx, views, setup.views.eigenbasis, 0), "cooccurrence", group.first_layer + l,
              permutations, correlations);
  }
  band_shares(ctx, shape, setup, group, permutations, bands);
}

MeasurementTable correlation_table() {
  return MeasurementTable({"correlations",
                           "Pearson's r of weights with views of the corpus' pairs, element by element",
                           with_measurement({{"layer", "from 0"},
                                             {"subject", "Q, K, V: weights; QK, OV: circuits"},
                                             {"against", "which view of the pairs"},
                                             {"basis", "embedding or cooccurrence"}}),
                           {}});
}

MeasurementTable band_table() {
  return MeasurementTable({"bands",
                           "share of a weight's energy in bands of the co-occurrence eigenbasis",
                           with_measurement({{"layer", "from 0"},
                                             {"subject", "Q, K or V"},
                                             {"from", "first eigenvector of the band"},
                                             {"to", "the one behind its last"},
                                             {"uniform", "the band's share of all dimensions"}}),
                           {}});
}

}  // namespace aloft::analysis
