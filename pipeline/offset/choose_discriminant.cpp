#include <algorithm>
#include <cmath>
#include <map>
#include <span>

#include "host/error.hpp"
#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/offset/discriminant_basis.hpp"
#include "pipeline/offset/held_out.hpp"
#include "pipeline/offset/ladder.hpp"
#include "pipeline/offset/weight_fit.hpp"

// α, κ and λ of the discriminant, on held-out positions. All products are made between class sums and
// contexts in the axes of C, where λ scales contexts and κ classes: one matrix product serves every κ and α,
// and nothing is recounted. In single precision: it only chooses.

namespace aloft::offset {
namespace {

constexpr double kAlpha = 0.5, kKappa = 30, kRidge = 1;  // trained best on the sample corpus
constexpr Ladder kKappas{-2, 10, half_decades}, kRidges{-4, 8, half_decades};
constexpr int kFirstKappa = 3, kFirstRidge = 1;  // where the walk begins: 30 and 3
constexpr double kFirstAlpha = 0.2;              // from below: far above its best value the softmax saturates
constexpr double kAlphaOfRidge = 0.5;            // by which power of λ α grows, before that is known
constexpr int kAround = 2;                       // steps of κ on either side that are tried together

/// Contexts in the axes of C, and what came next.
struct Contexts {
  FloatMatrix x;  ///< [positions, D]
  Buffer<std::uint32_t> next;
};

class DiscriminantChoice {
 public:
  DiscriminantChoice(Context& ctx, const DiscriminantBasis& basis)
      : ctx_(ctx),
        basis_(basis),
        sums_(ctx.device(), basis.vocab(), basis.width()),
        axes_(ctx.device(), basis.width(), basis.width()),
        log_p_(floats_of_logarithms(basis.p())) {
    ctx.linear().round(basis.sums().cview(), sums_.view());
    ctx.linear().round(basis.axes().cview(), axes_.view());
    multiply_in_place<float>(ctx, sums_.view(), axes_.cview());
  }

  [[nodiscard]] Contexts contexts_of(const HoldoutPositions& at) const {
    const std::int64_t n = at.size(), d_s = basis_.source().cols;
    Contexts out{FloatMatrix(ctx_.device(), n, basis_.width()), to_device(ctx_.device(), std::span(at.next))};
    for (std::int32_t a = 0; a < at.lags; ++a)
      ctx_.linear().round(rows_of_tokens(ctx_, basis_.source().cview(), at, a).cview(),
                          out.x.view().block(0, a * d_s, n, d_s));
    multiply_in_place<float>(ctx_, out.x.view(), axes_.cview());
    return out;
  }

  /// x_jᵀ (C + λ..)^-1 x_j of every class sum x_j, [V].
  [[nodiscard]] std::vector<double> evidence(double ridge) const {
    const Buffer<double> inverse = device_vector(ctx_, basis_.inverse(ridge));
    Buffer<double> norms = numbers_on(ctx_.device(), sums_.rows);
    ctx_.linear().row_norms(sums_.cview(), inverse.data(), norms.data());
    return to_host(norms);
  }

  /// The best α for every κ of one λ, or what a given one is worth.
  [[nodiscard]] std::vector<WeightFit> fit(const Contexts& contexts, double ridge,
                                           const std::vector<double>& kappas,
                                           const std::vector<double>& alphas, bool fixed,
                                           double tolerance) const {
    const Buffer<double> inverse = device_vector(ctx_, basis_.inverse(ridge));
    FloatMatrix scaled = copy_of(contexts.x);
    ctx_.linear().scale(scaled.view(), nullptr, inverse.data());
    const std::vector<double> own = evidence(ridge);  // of sums: the means' is that × the squared factor of κ
    ModelTerms terms{log_p_, {}, {}};
    std::vector<std::vector<double>> start;
    for (std::size_t m = 0; m < kappas.size(); ++m) {
      const std::vector<double> shrunk = basis_.shrinkage(kappas[m]);
      for (std::size_t j = 0; j < own.size(); ++j) {
        terms.scale.push_back(static_cast<float>(shrunk[j]));
        terms.shift.push_back(static_cast<float>(shrunk[j] * shrunk[j] * own[j] / 2));
      }
      start.push_back({alphas[m]});
    }
    const SoftmaxEvidence evidence{scaled.cview(), sums_.cview(), contexts.next.data()};
    return fixed ? losses_at(ctx_, evidence, terms, start)
                 : fit_weights(ctx_, evidence, terms, start, tolerance);
  }

 private:
  Context& ctx_;
  const DiscriminantBasis& basis_;
  FloatMatrix sums_;  ///< class sums in the axes of C, [V, D]
  FloatMatrix axes_;  ///< Q
  std::vector<float> log_p_;
};

/// The search over what is not given: a walk over λ, at each of which κ walks too.
class Walk {
 public:
  Walk(const DiscriminantChoice& choice, const FactorParams& p) : choice_(choice), p_(p) {}

  /// The best κ and α of one λ.
  struct Point {
    double kappa = 0, ridge = 0;
    WeightFit fit;
  };
  [[nodiscard]] Point at_ridge(const Contexts& contexts, double ridge, int around, double tolerance) {
    while (true) {
      const std::vector<int> steps = p_.kappa ? std::vector{kappa_} : window(around);
      std::vector<double> kappas, alphas;
      for (const int step : steps) {
        kappas.push_back(p_.kappa.value_or(kKappas.value(step)));
        alphas.push_back(p_.alpha.value_or(alpha_near(ridge, step)));
      }
      std::vector<WeightFit> fits =
          choice_.fit(contexts, ridge, kappas, alphas, p_.alpha.has_value(), tolerance);
      std::size_t best = 0;
      for (std::size_t m = 0; m < fits.size(); ++m) {
        alphas_[{ridge, steps[m]}] = fits[m].weights[0];
        if (fits[m].loss < fits[best].loss) best = m;
      }
      kappa_ = steps[best];
      const bool inside = steps.size() == 1 || (kappa_ != steps.front() && kappa_ != steps.back()) ||
                          kappa_ == kKappas.lowest || kappa_ == kKappas.highest;
      if (inside) return {kappas[best], ridge, std::move(fits[best])};
    }
  }

  [[nodiscard]] Point over_ridges(const Contexts& contexts, double tolerance) {
    if (p_.ridge) return at_ridge(contexts, *p_.ridge, kAround, tolerance);
    std::map<int, std::pair<Point, int>> seen;  // with the step of κ
    const int step = walk_down(kRidges, kFirstRidge, [&](int r) {
      Point point = at_ridge(contexts, kRidges.value(r), kAround, tolerance);
      const double loss = point.fit.loss;
      seen.emplace(r, std::pair{std::move(point), kappa_});
      return loss;
    });
    kappa_ = seen.at(step).second;
    return std::move(seen.at(step).first);
  }

 private:
  [[nodiscard]] std::vector<int> window(int around) const {
    std::vector<int> out;
    for (int step = std::max(kKappas.lowest, kappa_ - around);
         step <= std::min(kKappas.highest, kappa_ + around); ++step)
      out.push_back(step);
    return out;
  }
  /// Where α is sought from: the nearest point's, and by what power of λ it has changed so far.
  [[nodiscard]] double alpha_near(double ridge, int step) const {
    if (alphas_.empty()) return kFirstAlpha;
    const auto nearest = [&](double other_than) {
      auto best = alphas_.end();
      double least = 1e300;
      for (auto point = alphas_.begin(); point != alphas_.end(); ++point) {
        const double distance =
            std::abs(std::log(ridge / point->first.first)) + 0.1 * std::abs(point->first.second - step);
        if (point->first.first == other_than || distance >= least) continue;
        least = distance;
        best = point;
      }
      return best;
    };
    const auto from = nearest(0), before = nearest(from->first.first);
    const double near = from->first.first;
    double power = kAlphaOfRidge;
    if (before != alphas_.end())
      power = std::clamp(std::log(from->second / before->second) / std::log(near / before->first.first), 0.0,
                         1.0);
    return from->second * std::pow(ridge / near, power);
  }

  const DiscriminantChoice& choice_;
  const FactorParams& p_;
  int kappa_ = kFirstKappa;
  std::map<std::pair<double, int>, double> alphas_;  ///< of λ and step of κ
};

}  // namespace

Scalars choose_discriminant(Context& ctx, const DiscriminantBasis* basis, const HoldoutPositions& slice,
                            const FactorParams& p) {
  Scalars best{p.alpha.value_or(kAlpha),
               p.kappa.value_or(kKappa),
               p.ridge.value_or(kRidge),
               host_vector(p.lags, 1),
               0,
               0};
  if (basis == nullptr) return best;
  const DiscriminantChoice choice(ctx, *basis);
  const HoldoutPositions few = some_of(slice, screening_positions(basis->vocab(), basis->width()));
  Walk walk(choice, p);
  Walk::Point point = walk.over_ridges(choice.contexts_of(few), screening_tolerance(1, few, slice));
  if (few.size() < slice.size())
    point = walk.at_ridge(choice.contexts_of(slice), point.ridge, 1, final_tolerance(1, few, slice));
  best.alpha = point.fit.weights[0];
  best.kappa = point.kappa;
  best.ridge = point.ridge;
  best.evidence = choice.evidence(point.ridge);
  best.loss = point.fit.loss;
  best.loss_error = standard_error(point.fit.losses, slice.block);
  return best;
}

Peak choose_discriminant_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p,
                                std::int64_t positions) {
  const std::int64_t v = counts.vocab, d = p.d_s, n = p.lags * d,
                     few = std::min(positions, screening_positions(v, n)), models = 2 * kAround + 1;
  const auto floats = [](std::int64_t rows, std::int64_t cols) {
    return on_device(float_matrix_bytes(rows, cols));
  };
  const Footprint held = floats(n, n) + floats(v, n) + on_host(float_matrix_bytes(v, 1));
  Peak out;
  out.reach(held + floats(longest_stripe(v), n));
  for (const auto& [count, kappas] : {std::pair{few, models}, {positions, std::int64_t{3}}}) {
    const Footprint contexts = floats(count, n);
    out.reach(held + contexts + on_device(matrix_bytes(count, d)));
    out.reach(held + contexts + floats(longest_stripe(count), n));
    out.reach(held + contexts + contexts + on_device(matrix_bytes(v, 1)) + on_host(matrix_bytes(v, 2)) +
              weight_fit_memory(ops, count, n, v, 1, kappas));
  }
  return out;
}

}  // namespace aloft::offset
