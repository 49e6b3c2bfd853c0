#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <set>
#include <span>

#include "host/error.hpp"
#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/offset/held_out.hpp"
#include "pipeline/offset/ladder.hpp"
#include "pipeline/offset/tucker_bases.hpp"
#include "pipeline/offset/weight_fit.hpp"

// κ and the lag weights of the Tucker model, on held-out positions. Bases take long to find and depend little
// on κ, cores depend on it and are soon made: the search walks with the bases of where it begins, and looks
// again where it ends.

namespace aloft::offset {
namespace {

constexpr double kTuckerKappa = 200;
constexpr Ladder kTuckerKappas{-3, 8, hundred_doubled};
constexpr int kFirst = 4;               // 1600: where texts of 3 and of 30 million tokens end
constexpr std::array kStart{0.8, 0.4};  // lag weights to start from, and where nothing is held out; then 0.2

std::vector<double> default_weights(std::int32_t lags) {
  std::vector<double> out = host_vector(lags, 0.2);
  for (std::int32_t l = 0; l < std::min(lags, static_cast<std::int32_t>(kStart.size())); ++l)
    at(out, l) = at(kStart, l);
  return out;
}

/// The model of one κ with given bases: what lags write, and the classes that read it.
class TuckerModel {
 public:
  TuckerModel(Context& ctx, const std::vector<double>& p, const TuckerBases& bases, const Matrix& cores)
      : ctx_(ctx),
        bases_(bases),
        cores_(cores),
        classes_(ctx.device(), bases.target.rows, bases.target.cols),
        log_p_(floats_of_logarithms(p)) {
    ctx.linear().round(bases.target.cview(), classes_.view());
  }

  [[nodiscard]] WeightFit fit(const HoldoutPositions& at, const std::vector<double>& start,
                              double tolerance) const {
    const std::int64_t n = at.size(), d_s = bases_.source.cols, d_o = classes_.cols;
    FloatMatrix contexts(ctx_.device(), n, d_o, at.lags);
    for (std::int32_t l = 0; l < at.lags; ++l) {
      const Matrix rows = rows_of_tokens(ctx_, bases_.source.cview(), at, l);
      Matrix written(ctx_.device(), n, d_o);
      ctx_.linear().gemm(1, Op::none, rows.cview(), Op::none, cores_.view().row_block(l * d_s, d_s), 0,
                         written.view());
      ctx_.linear().round(written.cview(), contexts.view().item(l));
    }
    const Buffer<std::uint32_t> next = to_device(ctx_.device(), std::span(at.next));
    return fit_weights(ctx_, {contexts.cview(), classes_.cview(), next.data()}, {log_p_, {}, {}}, {start},
                       tolerance)[0];
  }

 private:
  Context& ctx_;
  const TuckerBases& bases_;
  const Matrix& cores_;  ///< [lags·d_s, d_o]
  FloatMatrix classes_;  ///< U [V, d_o]
  std::vector<float> log_p_;
};

/// The search for κ, on some positions.
class TuckerSearch {
 public:
  TuckerSearch(Context& ctx, const Counts& counts, const FactorParams& p, const HoldoutPositions& at,
               double tolerance)
      : ctx_(ctx), counts_(counts), p_(p), at_(at), tolerance_(tolerance) {}

  /// A κ with bases of its own.
  struct Point {
    double kappa = 0;
    TuckerBases bases;
    Matrix cores;
    WeightFit fit;
  };
  [[nodiscard]] Point own(double kappa, const std::vector<double>& start) const {
    const LogRatios ratios(ctx_, counts_, p_, kappa);
    Point out{kappa, bases_of(ctx_, ratios, p_), {}, {}};
    out.cores = cores_of(ctx_, ratios, out.bases);
    out.fit = TuckerModel(ctx_, ratios.p(), out.bases, out.cores).fit(at_, start, tolerance_);
    return out;
  }

  /// Where the walk with the bases of `from` ends, as long as what it finds is better with its own bases,
  /// too; if it is not, a step in that direction may be.
  [[nodiscard]] Point walk(int from, const std::vector<double>& start) const {
    Point best = own(kTuckerKappas.value(from), start);
    std::set<int> seen{from};
    while (true) {
      const int to = with_bases_of(best, from);
      std::optional<int> moved;
      for (const int next : {to, from + (to > from ? 1 : -1)}) {
        if (to == from || !seen.insert(next).second) continue;
        Point there = own(kTuckerKappas.value(next), best.fit.weights);
        if (there.fit.loss >= best.fit.loss) continue;
        best = std::move(there);
        moved = next;
        break;
      }
      if (!moved) return best;
      from = *moved;
    }
  }

 private:
  [[nodiscard]] int with_bases_of(const Point& point, int from) const {
    std::vector<double> weights = point.fit.weights;
    return walk_down(kTuckerKappas, from, [&](int step) {
      ctx_.check_interrupt();
      if (step == from) return point.fit.loss;
      const LogRatios ratios(ctx_, counts_, p_, kTuckerKappas.value(step));
      const Matrix cores = cores_of(ctx_, ratios, point.bases);
      const WeightFit fit = TuckerModel(ctx_, ratios.p(), point.bases, cores).fit(at_, weights, tolerance_);
      weights = fit.weights;
      return fit.loss;
    });
  }

  Context& ctx_;
  const Counts& counts_;
  const FactorParams& p_;
  const HoldoutPositions& at_;
  double tolerance_;
};

}  // namespace

TuckerChoice choose_tucker(Context& ctx, const Counts& without, const HoldoutPositions& slice,
                           const FactorParams& p) {
  TuckerChoice best{{1, p.kappa.value_or(kTuckerKappa), 0, default_weights(p.lags), 0, 0}, {}};
  if (slice.size() == 0) return best;
  const HoldoutPositions few = some_of(slice, screening_positions(without.vocab, p.lags * p.d_o));
  const TuckerSearch search(ctx, without, p, few, screening_tolerance(p.lags, few, slice));
  TuckerSearch::Point point = p.kappa ? search.own(*p.kappa, best.scalars.lag_weights)
                                      : search.walk(kFirst, best.scalars.lag_weights);
  best.scalars.kappa = point.kappa;
  const WeightFit fit = TuckerModel(ctx, smoothed_unigram(without.unigram), point.bases, point.cores)
                            .fit(slice, point.fit.weights, final_tolerance(p.lags, few, slice));
  best.scalars.lag_weights = fit.weights;
  best.scalars.loss = fit.loss;
  best.scalars.loss_error = standard_error(fit.losses, slice.block);
  best.bases = std::move(point.bases);
  return best;
}

Peak choose_tucker_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p,
                          std::int64_t positions) {
  const std::int64_t v = counts.vocab;
  const auto real = [](std::int64_t rows, std::int64_t cols) { return on_device(matrix_bytes(rows, cols)); };
  const Footprint ratios = log_ratios_held(counts, p), bases = real(v, p.d_s + p.d_o);
  Peak out;
  out.reach(ratios + real(v, 1));
  const auto model = [&](Footprint held, std::int64_t count) {
    out.reach(held, cores_memory(ops, counts, p));
    held = held + real(p.lags * p.d_s, p.d_o) + on_device(float_matrix_bytes(v, p.d_o)) +
           on_host(float_matrix_bytes(v, 1)) + on_device(float_matrix_bytes(count, p.d_o, p.lags));
    out.reach(held + real(count, p.d_s + p.d_o));
    out.reach(held + weight_fit_memory(ops, count, p.d_o, v, p.lags, 1));
  };
  const Footprint best = p.kappa ? Footprint{} : bases + real(p.lags * p.d_s, p.d_o);  // κ so far
  out.reach(ratios + best, bases_memory(ops, counts, p));
  model(ratios + bases + best, std::min(positions, screening_positions(v, p.lags * p.d_o)));
  model(bases + best, positions);
  return out;
}

}  // namespace aloft::offset
