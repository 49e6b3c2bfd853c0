#include "pipeline/analysis/correlations.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "pipeline/base/device_math.hpp"

namespace aloft::analysis {
namespace {

/// Q, K, V where they are square, QK, OV of every layer, and behind all of them a matrix whose inner product
/// with another is the sum of that one's elements: ones. [layers·names + 1][d, d]
struct Subjects {
  std::vector<std::string> names;
  std::int64_t layers = 0;
  Matrix matrices;
  [[nodiscard]] std::int64_t ones() const { return matrices.batch - 1; }
};

Subjects subjects_of(Context& ctx, const ModelShape& s, const LayerGroup& w) {
  const std::int64_t d = s.d_model;
  const bool square = s.heads * s.head_dim == d;
  Subjects out{
      square ? std::vector<std::string>{"Q", "K", "V", "QK", "OV"} : std::vector<std::string>{"QK", "OV"},
      w.layers(),
      {}};
  out.matrices = Matrix(ctx.device(), d, d, out.layers * std::ssize(out.names) + 1);
  std::int64_t next = 0;
  const auto place = [&] { return out.matrices.view().item(next++); };
  const Matrix key = expanded(ctx, s, w.key), value = expanded(ctx, s, w.value),
               queries = summed_by_group(ctx, s, w.query), outputs = summed_by_group(ctx, s, w.output);
  for (std::int64_t l = 0; l < out.layers; ++l) {
    const auto of = [l](const Matrix& m) { return m.cview().item(l); };
    if (square)
      for (const Matrix* m : {&w.query, &key, &value}) copy(ctx.device(), of(*m), place());
    ctx.linear().gemm(1, Op::transpose, of(queries), Op::none, of(w.key), 0, place());
    ctx.linear().gemm(1, Op::transpose, of(outputs), Op::none, of(w.value), 0, place());
  }
  const Matrix ones =
      matrix_from(ctx.device(), std::vector<double>(static_cast<std::size_t>(d * d), 1.0), d, d);
  copy(ctx.device(), ones.cview(), place());
  ctx.device().synchronize();
  return out;
}

/// Bᵀ x B of every item.
Matrix in_basis(Context& ctx, const Matrix& x, const Matrix& basis) {
  Matrix half(ctx.device(), x.rows, x.cols, x.batch), out(ctx.device(), x.rows, x.cols, x.batch);
  ctx.linear().gemm(1, Op::transpose, basis.cview(), Op::none, x.cview(), 0, half.view());
  ctx.linear().gemm(1, Op::none, half.cview(), Op::none, basis.cview(), 0, out.view());
  return out;
}

/// Pearson's r of a group's subjects with views of the pairs, in one basis.
class Correlator {
 public:
  Correlator(Context& ctx, const Subjects& subjects, Matrix matrices, const char* basis,
             std::int64_t first_layer, const Permutations& permutations, MeasurementTable& out)
      : ctx_(ctx),
        subjects_(subjects),
        matrices_(std::move(matrices)),
        basis_(basis),
        first_layer_(first_layer),
        permutations_(permutations),
        out_(out),
        own_(inner_products(ctx, matrices_.cview(), matrices_.cview())) {
    for (std::int64_t s = 0; s < subjects.ones(); ++s)
      sums_.push_back(
          inner_products(ctx, matrices_.cview().item(s), matrices_.cview().item(subjects.ones()))[0]);
  }

  /// Every layer's with the same views.
  void with_all(const Matrix& views, const std::vector<std::string>& names) {
    const PermutedValues inner =
        permuted_inner(ctx_, matrices_.cview(), views.cview(), permutations_, Sides::apart);
    for (std::int64_t l = 0; l < subjects_.layers; ++l)
      add(inner, l * names_each(), l, subjects_.ones(), views, names);
  }
  /// One layer's with its own views.
  void with_one(std::int64_t layer, const Matrix& views, const std::vector<std::string>& names) {
    const std::int64_t each = names_each();
    Matrix some(ctx_.device(), matrices_.rows, matrices_.cols, each + 1);
    for (std::int64_t s = 0; s <= each; ++s)
      copy(ctx_.device(), matrices_.cview().item(s < each ? layer * each + s : subjects_.ones()),
           some.view().item(s));
    add(permuted_inner(ctx_, some.cview(), views.cview(), permutations_, Sides::apart), 0, layer, each, views,
        names);
  }

 private:
  [[nodiscard]] std::int64_t names_each() const { return std::ssize(subjects_.names); }

  /// `first`: where inner has the layer's subjects; `ones`: where it has the matrix of ones.
  void add(const PermutedValues& inner, std::int64_t first, std::int64_t layer, std::int64_t ones,
           const Matrix& views, const std::vector<std::string>& names) {
    const auto elements = static_cast<double>(matrices_.rows * matrices_.cols);
    const std::vector<double> of_views = inner_products(ctx_, views.cview(), views.cview());
    for (std::int64_t s = 0; s < names_each(); ++s) {
      const auto subject = static_cast<std::size_t>(layer * names_each() + s);
      const std::string& name = subjects_.names[static_cast<std::size_t>(s)];
      for (std::size_t v = 0; v < names.size(); ++v) {
        const auto view = static_cast<std::int64_t>(v);
        const auto products = inner.of(first + s, view), sums = inner.of(ones, view);
        std::vector<double> r;
        for (std::size_t i = 0; i < products.size(); ++i) {
          const double together = products[i] - sums_[subject] * sums[i] / elements,
                       a = own_[subject] - sums_[subject] * sums_[subject] / elements,
                       b = of_views[v] - sums[i] * sums[i] / elements;
          r.push_back(a > 0 && b > 1e-12 * of_views[v] ? together / std::sqrt(a * b) : 0);
        }
        const std::string family = name.size() == 1 ? "weights" : "circuits";  // Q, K, V; QK, OV
        std::vector<Cell> cells{Cell(first_layer_ + layer), Cell(name), Cell(names[v]),
                                Cell(std::string(basis_))};
        if (permutations_.by_formula())  // rows and columns apart: E r = 0, E r² = 1/d²
          out_.add_normal(family, Side::both, std::move(cells), r[0], {0, 1 / std::sqrt(elements)});
        else
          out_.add(family, Side::both, std::move(cells), r);
      }
    }
  }

  Context& ctx_;
  const Subjects& subjects_;
  Matrix matrices_;
  const char* basis_;
  std::int64_t first_layer_;
  const Permutations& permutations_;
  MeasurementTable& out_;
  std::vector<double> own_, sums_;  ///< of every subject: ⟨x, x⟩, and the sum of its elements
};

std::vector<ConjugationStats> symmetric_stats(Context& ctx, const Matrix& m) {
  const std::vector<double> norm2 = inner_products(ctx, m.cview(), m.cview());
  return conjugation_stats(ctx, m.cview(), norm2, norm2);
}

void band_shares(Context& ctx, const ModelShape& s, const CorrelationSetup& setup, const MeasuredGroup& group,
                 const Permutations& permutations, MeasurementTable& out) {
  const LayerGroup& w = group.weights;
  const std::int64_t d = s.d_model, layers = w.layers();
  const char* const names[] = {"Q", "K", "V"};
  const Matrix* const sides[] = {&w.query, &w.key, &w.value};
  Matrix grams(ctx.device(), d, d, 3 * layers);
  std::vector<double> all;
  for (std::int64_t which = 0; which < 3; ++which) {
    const ConstMatrixView x = sides[which]->cview();
    ctx.linear().gemm(1, Op::transpose, x, Op::none, x, 0,
                      MatrixView(grams.data.data() + which * layers * d * d, d, d, layers));
    const auto squares = inner_products(ctx, x, x);
    all.insert(all.end(), squares.begin(), squares.end());
  }
  const PermutedValues inner =
      permuted_inner(ctx, grams.cview(), setup.bands.cview(), permutations, Sides::both);
  const bool by_formula = permutations.by_formula();
  const auto of_grams = by_formula ? symmetric_stats(ctx, grams) : std::vector<ConjugationStats>();
  for (std::int64_t item = 0; item < 3 * layers; ++item)
    for (std::int64_t b = 0; b < setup.bands.batch; ++b) {
      std::vector<double> shares = inner.of(item, b);
      for (double& x : shares) x /= std::max(all[static_cast<std::size_t>(item)], 1e-300);
      const auto [from, to] = setup.limits[static_cast<std::size_t>(b)];
      std::vector<Cell> cells{Cell(group.first_layer + item % layers),
                              Cell(std::string(names[item / layers])), Cell(from), Cell(to),
                              Cell(static_cast<double>(to - from) / static_cast<double>(d))};
      if (by_formula) {
        const NullMoments null = conjugation_moments(of_grams[static_cast<std::size_t>(item)],
                                                     setup.band_stats[static_cast<std::size_t>(b)], d);
        const double size = std::max(all[static_cast<std::size_t>(item)], 1e-300);
        out.add_normal("bands", Side::both, std::move(cells), shares[0], {null.mean / size, null.sd / size});
      } else {
        out.add("bands", Side::both, std::move(cells), shares);
      }
    }
}

}  // namespace

CorrelationSetup correlation_setup(Context& ctx, const PairViews& views, const AttendedPairs& attended) {
  const std::int64_t d = views.eigenbasis.rows;
  CorrelationSetup out{views, attended, {}, {}, Matrix(ctx.device(), d, d), {}};
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
  out.band_stats = symmetric_stats(ctx, out.bands);
  const Matrix ones = matrix_from(ctx.device(), std::vector<double>(static_cast<std::size_t>(d), 1.0), d, 1);
  Matrix sums(ctx.device(), d, 1);  // z = B·1: 1ᵀ(BᵀXB)1 = zᵀXz
  ctx.linear().gemm(1, Op::none, views.eigenbasis.cview(), Op::none, ones.cview(), 0, sums.view());
  ctx.linear().gemm(1, Op::none, sums.cview(), Op::transpose, sums.cview(), 0, out.turned_ones.view());
  return out;
}

void correlate_group(Context& ctx, const ModelShape& shape, const CorrelationSetup& setup,
                     const MeasuredGroup& group, const Permutations& permutations,
                     MeasurementTable& correlations, MeasurementTable& bands) {
  const Matrix& basis = setup.views.eigenbasis;
  const Subjects subjects = subjects_of(ctx, shape, group.weights);
  // A change of basis leaves inner products as they are: only sums of elements change with it, unless there
  // are permutations, which mean something else in every basis.
  const bool same = permutations.by_formula();
  const auto in = [&](const Matrix& x) {
    return same ? copy_of(ctx.device(), x.cview()) : in_basis(ctx, x, basis);
  };
  Matrix turned_subjects = in(subjects.matrices);
  copy(ctx.device(), same ? setup.turned_ones.cview() : subjects.matrices.cview().item(subjects.ones()),
       turned_subjects.view().item(subjects.ones()));
  Correlator plain(ctx, subjects, copy_of(subjects.matrices), "embedding", group.first_layer, permutations,
                   correlations),
      turned(ctx, subjects, std::move(turned_subjects), "cooccurrence", group.first_layer, permutations,
             correlations);
  const std::vector<std::string> names(std::begin(PairViews::kNames), std::end(PairViews::kNames)),
      attended_names{"attention_K2", "attention_K2T"};
  plain.with_all(setup.views.views, names);
  ctx.check_interrupt();
  turned.with_all(in(setup.views.views), names);
  for (std::int64_t l = 0; l < group.weights.layers(); ++l) {
    ctx.check_interrupt();
    const Matrix attended = setup.attended.weighted(ctx, shape, group.weights, l);
    Matrix both(ctx.device(), attended.rows, attended.cols, 2);
    copy(ctx.device(), attended.cview(), both.view().item(0));
    ctx.linear().transpose(attended.cview(), both.view().item(1));
    plain.with_one(l, both, attended_names);
    turned.with_one(l, in(both), attended_names);
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
