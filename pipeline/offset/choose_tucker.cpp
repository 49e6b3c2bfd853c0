#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <span>

#include "host/error.hpp"
#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/offset/held_out.hpp"
#include "pipeline/offset/ladder.hpp"
#include "pipeline/offset/tucker_bases.hpp"
#include "pipeline/offset/weight_fit.hpp"

// κ and the lag weights of the Tucker model, on held-out positions. The bases hardly depend on κ, the cores
// do: while κ is sought, the bases are those of its first value.

namespace aloft::offset {
namespace {

constexpr double kTuckerKappa = 200;
constexpr Ladder kTuckerKappas{-3, 8, hundred_doubled};
constexpr int kFirst = 1;               // that κ
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
  TuckerModel(Context& ctx, const LogRatios& ratios, const TuckerBases& bases)
      : ctx_(ctx),
        bases_(bases),
        cores_(cores_of(ctx, ratios, bases)),
        classes_(ctx.device(), bases.target.rows, bases.target.cols),
        log_p_(floats_of_logarithms(ratios.p())) {
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
  Matrix cores_;         ///< [lags·d_s, d_o]
  FloatMatrix classes_;  ///< U [V, d_o]
  std::vector<float> log_p_;
};

}  // namespace

Scalars choose_tucker(Context& ctx, const Counts& without, const HoldoutPositions& slice,
                      const FactorParams& p) {
  Scalars best{1, p.kappa.value_or(kTuckerKappa), 0, default_weights(p.lags), 0, 0};
  if (slice.size() == 0) return best;
  const HoldoutPositions few = some_of(slice, screening_positions(without.vocab, p.lags * p.d_o));
  const double tolerance = screening_tolerance(few, slice);
  TuckerBases bases = bases_of(ctx, LogRatios(ctx, without, p, best.kappa), p);
  std::set<int> seen{kFirst};  // whose bases were used
  for (int from = kFirst; !p.kappa;) {
    std::map<int, std::vector<double>> weights;
    const int step = walk_down(kTuckerKappas, from, [&](int at) {
      ctx.check_interrupt();
      const LogRatios ratios(ctx, without, p, kTuckerKappas.value(at));
      const WeightFit fit = TuckerModel(ctx, ratios, bases).fit(few, best.lag_weights, tolerance);
      weights[at] = best.lag_weights = fit.weights;
      return fit.loss;
    });
    best.lag_weights = weights.at(step);
    best.kappa = kTuckerKappas.value(step);
    if (step == from) break;  // the bases are its own
    bases = {};
    bases = bases_of(ctx, LogRatios(ctx, without, p, best.kappa), p);
    if (!seen.insert(step).second) break;  // round in a circle
    from = step;
  }
  const WeightFit fit = TuckerModel(ctx, LogRatios(ctx, without, p, best.kappa), bases)
                            .fit(slice, best.lag_weights, final_tolerance(p.lags, few, slice));
  best.lag_weights = fit.weights;
  best.loss = fit.loss;
  best.loss_error = standard_error(fit.losses, slice.block);
  return best;
}

Peak choose_tucker_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p,
                          std::int64_t positions) {
  const std::int64_t v = counts.vocab;
  const auto real = [](std::int64_t rows, std::int64_t cols) { return on_device(matrix_bytes(rows, cols)); };
  const Footprint ratios = log_ratios_held(counts, p), bases = real(v, p.d_s + p.d_o);
  Peak out;
  out.reach(ratios + real(v, 1));
  out.reach(ratios, bases_memory(ops, counts, p));
  out.reach(ratios + bases, cores_memory(ops, counts, p));
  const Footprint model = ratios + bases + real(p.lags * p.d_s, p.d_o) +
                          on_device(float_matrix_bytes(v, p.d_o)) + on_host(float_matrix_bytes(v, 1)),
                  contexts = on_device(float_matrix_bytes(positions, p.d_o, p.lags));
  out.reach(model + contexts + real(positions, p.d_s + p.d_o));
  out.reach(model + contexts + weight_fit_memory(ops, positions, p.d_o, v, p.lags, 1));
  return out;
}

}  // namespace aloft::offset
