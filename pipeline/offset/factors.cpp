#include "pipeline/offset/factors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <utility>

#include "host/error.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/offset/discriminant_basis.hpp"
#include "pipeline/offset/held_out.hpp"
#include "pipeline/offset/tucker_bases.hpp"

namespace aloft {
namespace {

constexpr std::uint64_t kSmallSlice = 64;  // an axis made of 63 of 64 tokens is that of all

void check(const Counts& counts, const FactorParams& p) {
  if (p.lags < 1 || p.lags > counts.max_lag)
    throw UsageError(
        fmt::format("a design of {} lags needs counts of as many, here {}", p.lags, counts.max_lag));
  for (const auto& [what, n] : {std::pair{"source", p.d_s}, std::pair{"target", p.d_o}})
    if (n < 1 || n > counts.vocab)
      throw UsageError(
          fmt::format("{} {} directions out of a vocabulary of {}: the model is too wide for this "
                      "corpus, or too narrow for the recipe",
                      n, what, counts.vocab));
  const auto positive = [](const char* what, const std::optional<double>& x) {
    if (x && !(*x > 0 && std::isfinite(*x)))
      throw UsageError(fmt::format("{} is {}: give a finite number above 0", what, *x));
  };
  positive("alpha", p.alpha);
  positive("kappa", p.kappa);
  positive("ridge", p.ridge);
  if (counts.pairs.front() == 0)
    throw InputError("the counts hold no pair of neighbours: there is nothing to design");
}

/// Of every column of a [rows, columns] matrix: that of its entry of largest magnitude (the first of equals).
std::vector<double> signs_of_columns(const std::vector<double>& matrix, std::int64_t columns) {
  const HostView m(matrix, columns);
  std::vector<double> largest = host_vector(columns);
  for (std::int64_t i = 0; i < m.rows(); ++i)
    for (std::int64_t c = 0; c < columns; ++c)
      if (std::abs(m(i, c)) > std::abs(at(largest, c))) at(largest, c) = m(i, c);
  for (double& x : largest) x = x < 0 ? -1 : 1;
  return largest;
}

/// Directions come out of eigenvectors, whose signs are the library's. Settled here, so that every backend
/// designs the same tensors beside the same random heads: the largest entry of every other column of S and U
/// is positive, of those between negative, or rows would have a mean for a LayerNorm to take away. No product
/// S G_n Uᵀ changes.
void settle_signs(LagFactors& f) {
  std::vector<double> source_signs = signs_of_columns(f.source, f.d_s),
                      target_signs = signs_of_columns(f.target, f.d_o);
  for (auto* signs : {&source_signs, &target_signs})
    for (std::size_t c = 1; c < signs->size(); c += 2) (*signs)[c] *= -1;
  const auto flip = [](std::vector<double>& matrix, const std::vector<double>& signs) {
    for (std::size_t row = 0; row < matrix.size(); row += signs.size())
      for (std::size_t c = 0; c < signs.size(); ++c) matrix[row + c] *= signs[c];
  };
  flip(f.source, source_signs);
  flip(f.target, target_signs);
  for (std::size_t i = 0; i < f.cores.size(); ++i)
    f.cores[i] *=
        source_signs[i / target_signs.size() % source_signs.size()] * target_signs[i % target_signs.size()];
}

/// Of log p alone on the held-out positions, statistics without them.
double unigram_loss(const Counts& counts, const HoldoutPositions& at) {
  const std::vector<double> share = offset::smoothed_unigram(unigram_without_holdout(counts));
  double sum = 0;
  for (const TokenId id : at.next) sum -= std::log(share[id]);
  return sum / static_cast<double>(at.size());
}

bool is_small(const Holdout& slice, const Counts& counts) {
  std::uint64_t own = 0;
  for (const Holdout::Block& b : slice.blocks) own += static_cast<std::uint64_t>(b.own);
  return own * kSmallSlice <= counts.tokens;
}

/// Tokens that come second in some pair, at any lag.
std::vector<TokenId> seconds_of_pairs(const Counts& counts) {
  std::vector<TokenId> out;
  for (const CountCsr& lag : counts.lags) {
    const std::vector<TokenId> columns = to_host(lag.columns);
    out.insert(out.end(), columns.begin(), columns.end());
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::vector<TokenId> all_tokens(std::int64_t vocab) {
  std::vector<TokenId> out(static_cast<std::size_t>(vocab));
  std::iota(out.begin(), out.end(), TokenId{0});
  return out;
}

/// Scalars are chosen without the slice, and everything is fitted on all counts: again from the beginning,
/// but where the slice is too small a part of them to change S and C.
LagFactors discriminant(Context& ctx, const Counts& counts, const HoldoutPositions& at, const FactorParams& p,
                        offset::Scalars& scalars) {
  std::optional<offset::DiscriminantBasis> basis;
  if (at.size() > 0) {
    basis.emplace(ctx, without_holdout(ctx, counts, p.lags), p);
    scalars = offset::choose_discriminant(ctx, &*basis, at, p);
    if (is_small(counts.holdout, counts)) {
      const Counts slice = holdout_counts(ctx, counts, p.lags);
      basis->add(slice);
      const std::vector<TokenId> changed = seconds_of_pairs(slice);
      const std::vector<double> again = basis->evidence(scalars.ridge, changed);
      for (std::size_t k = 0; k < changed.size(); ++k) scalars.evidence[changed[k]] = again[k];
      return offset::fit_discriminant(ctx, std::move(*basis), p, scalars, scalars.evidence);
    }
    basis.reset();
  } else {
    scalars = offset::choose_discriminant(ctx, nullptr, at, p);
  }
  basis.emplace(ctx, counts, p);
  const std::vector<double> evidence = basis->evidence(scalars.ridge, all_tokens(counts.vocab));
  return offset::fit_discriminant(ctx, std::move(*basis), p, scalars, evidence);
}

/// The same; what stays where the slice is small are the bases.
LagFactors tucker(Context& ctx, const Counts& counts, const HoldoutPositions& at, const FactorParams& p,
                  offset::Scalars& scalars) {
  offset::TuckerChoice choice = at.size() > 0
                                    ? offset::choose_tucker(ctx, without_holdout(ctx, counts, p.lags), at, p)
                                    : offset::choose_tucker(ctx, counts, at, p);
  scalars = choice.scalars;
  const bool keep = at.size() > 0 && is_small(counts.holdout, counts);
  if (!keep) choice.bases = {};
  return offset::fit_tucker(ctx, counts, p, scalars, keep ? &choice.bases : nullptr);
}

}  // namespace

std::vector<double> offset::centred_log_p(const Counts& counts) {
  std::vector<double> out = smoothed_unigram(counts.unigram);
  double mean = 0;
  for (const double p : out) mean += p * std::log(p);
  for (double& p : out) p = std::log(p) - mean;
  return out;
}

std::string key_json(const FactorParams& params) {
  const auto& [estimator, lags, d_s, d_o, alpha, kappa, ridge, seed] = params;
  const auto given = [](const std::optional<double>& x) { return x ? nlohmann::json(*x) : nlohmann::json(); };
  return nlohmann::ordered_json{
      {"estimator", estimator}, {"lags", lags},          {"d_s", d_s},  {"d_o", d_o}, {"alpha", given(alpha)},
      {"kappa", given(kappa)},  {"ridge", given(ridge)}, {"seed", seed}}
      .dump();
}

LagFactors fit_lag_factors(Context& ctx, const Counts& counts, const FactorParams& p) {
  check(counts, p);
  const HoldoutPositions at = holdout_positions(counts.holdout, p.lags, offset::kHoldoutPositions);
  offset::Scalars scalars;
  LagFactors out = p.estimator == Estimator::discriminant ? discriminant(ctx, counts, at, p, scalars)
                                                          : tucker(ctx, counts, at, p, scalars);
  out.estimator = p.estimator;
  out.kappa = scalars.kappa;
  out.lag_weights = scalars.lag_weights;
  out.holdout_positions = at.size();
  out.holdout_loss = scalars.loss;
  out.holdout_error = scalars.loss_error;
  if (at.size() > 0) out.holdout_unigram_loss = unigram_loss(counts, at);
  settle_signs(out);
  out.log_p = offset::centred_log_p(counts);
  const std::vector<double> share = offset::smoothed_unigram(counts.unigram);
  double mean = 0;
  for (std::size_t j = 0; j < share.size(); ++j) mean += share[j] * out.bias[j];
  for (double& b : out.bias) b -= mean;
  return out;
}

Peak fit_lag_factors_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p,
                            std::int64_t positions) {
  const bool discriminant = p.estimator == Estimator::discriminant;
  const Footprint without = on_device(counts.bytes());
  Peak out = without_holdout_memory(counts);
  if (discriminant) {
    const Footprint basis = offset::discriminant_basis_held(counts, p);
    out.reach(without, offset::discriminant_basis_memory(ops, counts, p));
    out.reach(basis, offset::choose_discriminant_memory(ops, counts, p, positions));
    out.reach(basis + offset::discriminant_evidence_memory(counts, p));
    out.reach(basis, offset::discriminant_basis_add_memory(ops, counts, p));
    out.reach({}, offset::fit_discriminant_memory(ops, counts, p));
    return out;
  }
  out.reach(without, offset::choose_tucker_memory(ops, counts, p, positions));
  out.reach({}, offset::fit_tucker_memory(ops, counts, p));
  return out;
}

}  // namespace aloft
