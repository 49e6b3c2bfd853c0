#include "pipeline/analysis/match.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "kernels/spectral_measures.hpp"
#include "pipeline/analysis/gram_spectra.hpp"
#include "pipeline/base/device_math.hpp"

namespace aloft::analysis {
namespace {

double norm_of(std::span<const double> sigma) {
  double sum = 0;
  for (const double x : sigma) sum += x * x;
  return std::sqrt(sum);
}

/// Every plane is two singular values.
double skew_norm_of(std::span<const double> planes) { return std::sqrt(2.0) * norm_of(planes); }

const char* const kPrefix[] = {"", "centred_"};

/// One circuit of a group: kernels of heads, then of layers.
struct Circuit {
  const char* name;
  Product heads, layers;
  const Spectra &of_heads, &of_layers;
  bool ov;

  [[nodiscard]] std::int64_t items() const { return of_heads.items + of_layers.items; }
  [[nodiscard]] bool is_head(std::int64_t item) const { return item < of_heads.items; }
  [[nodiscard]] const Spectra& spectra(std::int64_t item) const {
    return is_head(item) ? of_heads : of_layers;
  }
  [[nodiscard]] std::int64_t index(std::int64_t item) const {
    return is_head(item) ? item : item - of_heads.items;
  }
  [[nodiscard]] std::span<const double> sigma(std::int64_t item) const {
    const Spectra& s = spectra(item);
    return item_of(ov ? s.ov : s.qk, index(item), s.d);
  }
  [[nodiscard]] std::span<const double> planes(std::int64_t item) const {
    const Spectra& s = spectra(item);
    return item_of(ov ? s.ov_skew : s.qk_skew, index(item), s.d / 2);
  }
  /// This circuit's of all heads, or of all layers: [items][k, d].
  [[nodiscard]] ConstMatrixView top(bool of_head, Matrix TopSubspaces::*side, std::int64_t k) const {
    const Spectra& s = of_head ? of_heads : of_layers;
    return {(s.top.*side).data.data() + (ov ? s.items * k * s.d : 0), k, s.d, s.items};
  }
};

/// Of plus · a symmetric matrix and an antisymmetric one, of either sign.
ConjugationStats sum_of(const ConjugationStats& symmetric, const ConjugationStats& antisymmetric,
                        double plus) {
  return {plus * symmetric.trace, plus * symmetric.diagonal2, plus * symmetric.norm2 + antisymmetric.norm2,
          plus * symmetric.norm2 - antisymmetric.norm2};
}

/// Kernels [items][d, d] under each other.
Matrix stacked(Context& ctx, const Circuit& c) {
  const std::int64_t d = c.heads.d();
  Matrix out(ctx.device(), d, d, c.items());
  const auto part = [&](std::int64_t first, std::int64_t count) {
    return MatrixView(out.data.data() + first * d * d, d, d, count);
  };
  ctx.linear().gemm(1, Op::transpose, c.heads.a, Op::none, c.heads.b, 0, part(0, c.of_heads.items));
  ctx.linear().gemm(1, Op::transpose, c.layers.a, Op::none, c.layers.b, 0,
                    part(c.of_heads.items, c.of_layers.items));
  return out;
}

/// Overlaps of one side's subspaces with one of the corpus', and what the null by formula needs of both.
struct Pairing {
  const PermutedValues* values;
  const std::vector<ConjugationStats>*subjects, *spaces;
};

/// Adds one circuit's rows: kernels against every lag.
class CircuitMatch {
 public:
  CircuitMatch(Context& ctx, const ModelShape& shape, const LagSide& side, const LagSide& shuffled,
               const Circuit& circuit, const MeasuredGroup& group, const std::vector<GroupMeasures>& draws,
               std::int64_t layers, const Permutations& permutations, MeasurementTable& out)
      : ctx_(ctx),
        shape_(shape),
        side_(side),
        shuffled_(shuffled),
        circuit_(circuit),
        group_(group),
        draws_(draws),
        layers_(layers),
        permutations_(permutations),
        out_(out) {}

  void add(bool with_antisymmetric) {
    with_antisymmetric_ = with_antisymmetric;
    add_matrix_cosines();
    ctx_.check_interrupt();
    if (side_.top.skew.rows > 0) add_overlaps();
    add_spectral_cosines();
  }

 private:
  [[nodiscard]] std::vector<Cell> leading(std::int64_t item, std::int64_t lag, const std::string& part,
                                          const char* measure) const {
    const std::int64_t index = circuit_.index(item), heads = shape_.heads;
    const bool head = circuit_.is_head(item);
    return {Cell(std::string(circuit_.name)),
            Cell(group_.first_layer + (head ? index / heads : index)),
            head ? Cell(index % heads) : Cell(),
            Cell(lag + 1),
            Cell(part),
            Cell(std::string(measure))};
  }
  /// All parts of a measure are one family: whoever looks at one sees the others, too.
  [[nodiscard]] std::string family(std::int64_t item, const char* measure) const {
    return std::string(circuit_.name) + (circuit_.is_head(item) ? "/heads/" : "/layers/") + measure;
  }

  void add_matrix_cosines() {
    const Matrix kernels = stacked(ctx_, circuit_);
    const PermutedValues inner =
        permuted_inner(ctx_, kernels.cview(), side_.parts.cview(), permutations_, Sides::both);
    const PermutedValues random = permuted_inner(ctx_, kernels.cview(), shuffled_.parts.cview(),
                                                 Permutations(permutations_.d(), 0, 0), Sides::both);
    const bool by_formula = permutations_.by_formula();
    const std::vector<ConjugationStats> of_kernels =
        by_formula ? kernel_stats(kernels) : std::vector<ConjugationStats>();
    for (std::int64_t item = 0; item < circuit_.items(); ++item) {
      const double norm = norm_of(circuit_.sigma(item)), skew = skew_norm_of(circuit_.planes(item));
      for (std::int64_t x = 0; x < 2 * side_.lags; ++x) {
        const auto symmetric = inner.of(item, 2 * x), antisymmetric = inner.of(item, 2 * x + 1);
        const std::int64_t x0 = x % (2 * shuffled_.lags);
        const double s0 = random.of(item, 2 * x0)[0], a0 = random.of(item, 2 * x0 + 1)[0];
        const auto row = [&](const char* part, double plus, double minus, double size, double shuffled_size) {
          std::vector<double> cosines;
          for (std::size_t i = 0; i < symmetric.size(); ++i)
            cosines.push_back(size > 0 ? (plus * symmetric[i] + minus * antisymmetric[i]) / size : 0);
          const std::string name = kPrefix[x % 2] + std::string(part), of = family(item, "matrix_cosine");
          std::vector<Cell> cells = leading(item, x / 2, name, "matrix_cosine"),
                            shuffled{
                                number(shuffled_size > 0 ? (plus * s0 + minus * a0) / shuffled_size : 0)};
          if (!by_formula) return out_.add(of, Side::both, std::move(cells), cosines, std::move(shuffled));
          NullMoments null =
              conjugation_moments(of_kernels[static_cast<std::size_t>(item)],
                                  sum_of(side_.stats[static_cast<std::size_t>(2 * x)],
                                         side_.stats[static_cast<std::size_t>(2 * x + 1)], plus),
                                  side_.d);
          if (size > 0) null = {null.mean / size, null.sd / size};
          out_.add_normal(of, Side::both, std::move(cells), cosines[0], null, std::move(shuffled));
        };
        const double whole = norm_of(item_of(side_.sigma, x, side_.d)),
                     whole0 = norm_of(item_of(shuffled_.sigma, x0, side_.d)),
                     turned = skew_norm_of(item_of(side_.planes, x, side_.d / 2)),
                     turned0 = skew_norm_of(item_of(shuffled_.planes, x0, side_.d / 2));
        if (with_antisymmetric_) row("antisymmetric", 0, 1, skew * turned, skew * turned0);
        row("forward", 1, -1, norm * whole, norm * whole0);
        row("reversed", 1, 1, norm * whole, norm * whole0);
      }
    }
  }

  /// ⟨M, Mᵀ⟩ is the symmetric part's squared norm less the other's.
  [[nodiscard]] std::vector<ConjugationStats> kernel_stats(const Matrix& kernels) const {
    std::vector<double> norm2, transpose_inner;
    for (std::int64_t item = 0; item < circuit_.items(); ++item) {
      const double whole = norm_of(circuit_.sigma(item)), skew = skew_norm_of(circuit_.planes(item));
      norm2.push_back(whole * whole);
      transpose_inner.push_back(whole * whole - 2 * skew * skew);
    }
    return conjugation_stats(ctx_, kernels.cview(), norm2, transpose_inner);
  }

  void add_overlaps() {
    const std::int64_t k = side_.top.skew.rows;
    const auto strongest = [&](Matrix TopSubspaces::*side) {
      return joined(ctx_, circuit_.top(true, side, k), circuit_.top(false, side, k));
    };
    const Matrix left = strongest(&TopSubspaces::left), right = strongest(&TopSubspaces::right),
                 skew = strongest(&TopSubspaces::skew);
    const auto overlap = [&](const Matrix& subjects, const Matrix& spaces) {
      return permuted_overlap(ctx_, subjects.cview(), spaces.cview(), permutations_);
    };
    const PermutedValues skew_skew = overlap(skew, side_.top.skew), left_left = overlap(left, side_.top.left),
                         left_right = overlap(left, side_.top.right),
                         right_left = overlap(right, side_.top.left),
                         right_right = overlap(right, side_.top.right);
    const bool by_formula = permutations_.by_formula();
    const auto stats = [&](const Matrix& rows) {
      return by_formula ? projection_stats(ctx_, rows.cview()) : std::vector<ConjugationStats>();
    };
    const auto of_left = stats(left), of_right = stats(right), of_skew = stats(skew),
               x_left = stats(side_.top.left), x_right = stats(side_.top.right),
               x_skew = stats(side_.top.skew);
    const Pairing ss{&skew_skew, &of_skew, &x_skew}, lr{&left_right, &of_left, &x_right},
        rl{&right_left, &of_right, &x_left}, ll{&left_left, &of_left, &x_left},
        rr{&right_right, &of_right, &x_right};
    for (std::int64_t item = 0; item < circuit_.items(); ++item)
      for (std::int64_t x = 0; x < 2 * side_.lags; ++x) {
        const auto row = [&](const char* part, const Pairing& a, const Pairing& b) {
          std::vector<double> values = a.values->of(item, x);
          const std::vector<double> more = b.values->of(item, x);
          const bool nothing = norm_of(circuit_.sigma(item)) == 0;  // no directions, but arbitrary ones
          for (std::size_t i = 0; i < values.size(); ++i) values[i] = nothing ? 0 : (values[i] + more[i]) / 2;
          const std::string name = kPrefix[x % 2] + std::string(part);
          if (by_formula)
            return out_.add_normal(family(item, "subspace_overlap"), Side::upper,
                                   leading(item, x / 2, name, "subspace_overlap"), values[0],
                                   nothing ? NullMoments{} : mean_null(a, b, item, x), {Cell()});
          out_.add(family(item, "subspace_overlap"), Side::upper,
                   leading(item, x / 2, name, "subspace_overlap"), values, {Cell()});
        };
        if (with_antisymmetric_) row("antisymmetric", ss, ss);
        row("forward", lr, rl);  // of P_nᵀ, whose left vectors are the right ones of P_n
        row("reversed", ll, rr);
      }
  }

  /// By formula. The mean of two overlaps varies no more than they do on average.
  [[nodiscard]] NullMoments mean_null(const Pairing& a, const Pairing& b, std::int64_t item,
                                      std::int64_t x) const {
    NullMoments out;
    for (const Pairing* pair : {&a, &b}) {
      const NullMoments one = conjugation_moments((*pair->subjects)[static_cast<std::size_t>(item)],
                                                  (*pair->spaces)[static_cast<std::size_t>(x)], side_.d);
      out.mean += one.mean / static_cast<double>(2 * side_.top.skew.rows);
      out.sd += one.sd / static_cast<double>(2 * side_.top.skew.rows);
    }
    return out;
  }

  void add_spectral_cosines() {
    for (std::int64_t x = 0; x < 2 * side_.lags; ++x) {
      if (with_antisymmetric_) add_spectral(x, "antisymmetric", side_.planes, shuffled_.planes, true);
      add_spectral(x, "forward", side_.sigma, shuffled_.sigma, false);
    }
  }

  /// Spectral cosines of all Gaussian layers, or their heads, with one spectrum.
  [[nodiscard]] std::vector<double> drawn(std::span<const double> corpus, bool heads, bool planes) const {
    std::vector<double> out;
    for (const GroupMeasures& draw : draws_) {
      const Spectra& s = heads ? draw.of_heads : draw.of_layers;
      const auto& list = circuit_.ov ? (planes ? s.ov_skew : s.ov) : (planes ? s.qk_skew : s.qk);
      for (std::int64_t i = 0; i < s.items; ++i)
        out.push_back(spectral_cosine(item_of(list, i, std::ssize(corpus)), corpus));
    }
    return out;
  }

  void add_spectral(std::int64_t x, const char* part, const std::vector<double>& corpus,
                    const std::vector<double>& shuffled, bool planes) {
    const std::int64_t each = planes ? side_.d / 2 : side_.d;
    const auto of_corpus = item_of(corpus, x, each);
    const std::vector<double> of_heads = drawn(of_corpus, true, planes),
                              of_layers = drawn(of_corpus, false, planes);
    const std::string name = kPrefix[x % 2] + std::string(part);
    for (std::int64_t item = 0; item < circuit_.items(); ++item) {
      const bool head = circuit_.is_head(item);
      const auto own = planes ? circuit_.planes(item) : circuit_.sigma(item);
      const std::int64_t tests = layers_ * side_.lags * (head ? shape_.heads : 1);
      out_.add(family(item, "spectral_cosine") + "/" + name, leading(item, x / 2, name, "spectral_cosine"),
               against_draws(norm_of(own) > 0 ? spectral_cosine(own, of_corpus)
                                              : std::numeric_limits<double>::quiet_NaN(),
                             head ? of_heads : of_layers, false, tests),
               {number(spectral_cosine(own, item_of(shuffled, x % (2 * shuffled_.lags), each)))});
    }
  }

  Context& ctx_;
  const ModelShape& shape_;
  const LagSide &side_, &shuffled_;
  const Circuit& circuit_;
  const MeasuredGroup& group_;
  const std::vector<GroupMeasures>& draws_;
  std::int64_t layers_;
  const Permutations& permutations_;
  MeasurementTable& out_;
  bool with_antisymmetric_ = true;
};

}  // namespace

std::int64_t overlap_rows(const ModelShape& s) {
  constexpr std::int64_t kTop = 8;
  return std::min({kTop, s.head_dim, s.d_model / 2}) / 2 * 2;
}

LagSide lag_side(Context& ctx, const Transitions& t, std::int64_t k) {
  const std::int64_t d = t.plain.rows, lags = t.plain.batch;
  LagSide out;
  out.lags = lags;
  out.d = d;
  Matrix all(ctx.device(), d, d, 2 * lags);
  out.parts = Matrix(ctx.device(), d, d, 4 * lags);
  for (std::int64_t n = 0; n < lags; ++n) {
    copy(ctx.device(), t.plain.cview().item(n), all.view().item(2 * n));
    copy(ctx.device(), t.centred.cview().item(n), all.view().item(2 * n + 1));
  }
  for (std::int64_t i = 0; i < 2 * lags; ++i) {
    const MatrixView symmetric = out.parts.view().item(2 * i),
                     antisymmetric = out.parts.view().item(2 * i + 1);
    ctx.linear().skew_part(all.cview().item(i), antisymmetric);
    copy(ctx.device(), all.cview().item(i), symmetric);
    ctx.linear().add_scaled(-1, antisymmetric, symmetric);
  }
  const std::vector<double> norm2 = inner_products(ctx, out.parts.cview(), out.parts.cview());
  std::vector<double> transpose_inner = norm2;
  for (std::size_t i = 1; i < transpose_inner.size(); i += 2) transpose_inner[i] *= -1;
  out.stats = conjugation_stats(ctx, out.parts.cview(), norm2, transpose_inner);
  if (k > 0)
    for (Matrix* side : {&out.top.left, &out.top.right, &out.top.skew})
      *side = Matrix(ctx.device(), k, d, 2 * lags);
  const std::int64_t step = d > kWidestBySvd ? 1 : lags;  // large matrices fill the workers by themselves
  for (std::int64_t n = 0; n < lags; n += step) {
    ctx.check_interrupt();
    const ConstMatrixView some(all.data.data() + 2 * n * d * d, d, d, 2 * step);
    const KernelSpectra found = kernel_spectra(ctx, some, k);
    out.sigma.insert(out.sigma.end(), found.sigma.begin(), found.sigma.end());
    out.planes.insert(out.planes.end(), found.planes.begin(), found.planes.end());
    if (k > 0)
      for (const auto side : {&TopSubspaces::left, &TopSubspaces::right, &TopSubspaces::skew})
        copy(ctx.device(), (found.top.*side).cview(),
             MatrixView((out.top.*side).data.data() + 2 * n * k * d, k, d, 2 * step));
    ctx.progress().update("spectra", static_cast<double>(n + step), static_cast<double>(lags),
                          static_cast<std::uint64_t>(n + step), "lags");
  }
  return out;
}

void match_group(Context& ctx, const ModelShape& shape, const MatchSides& sides, const MeasuredGroup& group,
                 const std::vector<GroupMeasures>& draws, std::int64_t layers,
                 const Permutations& permutations, MeasurementTable& out) {
  const LayerGroup& w = group.weights;
  const GroupMeasures& m = group.measures;
  {
    const Matrix key = expanded(ctx, shape, w.key), queries = summed_by_group(ctx, shape, w.query);
    const Circuit qk{"QK",
                     {heads_of(w.query, shape), heads_of(key, shape)},
                     {queries.cview(), w.key.cview()},
                     m.of_heads,
                     m.of_layers,
                     false};
    CircuitMatch(ctx, shape, sides.qk, sides.shuffled_qk, qk, group, draws, layers, permutations, out)
        .add(true);
  }
  const Matrix value = expanded(ctx, shape, w.value), outputs = summed_by_group(ctx, shape, w.output);
  const Circuit ov{"OV",
                   {heads_of(w.output, shape), heads_of(value, shape)},
                   {outputs.cview(), w.value.cview()},
                   m.of_heads,
                   m.of_layers,
                   true};
  CircuitMatch(ctx, shape, sides.of_ov(), sides.of_shuffled_ov(), ov, group, draws, layers, permutations, out)
      .add(sides.tied);
}

MeasurementTable match_table() {
  Table table{"match",
              "attention kernels against the corpus' transitions, lag by lag",
              with_measurement({{"circuit", "QK or OV"},
                                {"layer", "from 0"},
                                {"head", "from 0; null: the sum over the layer's heads"},
                                {"lag", "tokens between the two"},
                                {"part", "what of kernel and transitions is compared"},
                                {"measure", "matrix_cosine, subspace_overlap or spectral_cosine"}}),
              {}};
  table.columns.push_back({"shuffled", "the value with transitions of shuffled text"});
  return MeasurementTable(std::move(table));
}

}  // namespace aloft::analysis
