#include "pipeline/run_offset.hpp"

#include <array>
#include <nlohmann/json.hpp>

#include "host/error.hpp"
#include "pipeline/recipes/offset.hpp"

namespace aloft {
namespace {

using recipes::OffsetPart;

constexpr std::array<std::pair<const char*, OffsetPart>, 5> kFamily{{{"offset", OffsetPart::all},
                                                                     {"bigram-head", OffsetPart::lag_one},
                                                                     {"induction", OffsetPart::induction},
                                                                     {"embedding", OffsetPart::embedding},
                                                                     {"unigram", OffsetPart::unigram}}};

OffsetPart part_of(const std::string& recipe) {
  for (const auto& [name, part] : kFamily)
    if (recipe == name) return part;
  throw Error("internal error: no member of the offset family is called " + recipe);
}

const char* control_name(Control c) {
  return c == Control::shuffled ? "shuffled" : c == Control::reversed ? "reversed" : "none";
}

}  // namespace

bool is_offset_recipe(const std::string& recipe) {
  for (const auto& [name, part] : kFamily)
    if (recipe == name) return true;
  return false;
}

OffsetLayout layout_of(const OffsetConfig& config, const std::string& recipe, const Architecture& arch,
                       const ModelShape& shape, std::int32_t counted_lags, std::int64_t corpus_vocab) {
  OffsetParams p = config.placement;
  const OffsetPart part = part_of(recipe);
  p.induction |= part == OffsetPart::induction;
  if (p.induction && part != OffsetPart::induction && part != OffsetPart::all)
    throw UsageError("--induction: recipe " + recipe + " takes no further heads: use offset or induction");
  if (part == OffsetPart::lag_one || part == OffsetPart::induction) {
    p.lags = 1;
    if (!p.lag_layers.empty()) p.lag_layers = {p.lag_layers.front()};
  }
  return plan_offset(arch, shape, p, counted_lags, corpus_vocab);
}

Counts controlled_counts(Context& ctx, const Counts& counts, Control control, std::uint64_t seed) {
  if (control == Control::shuffled) return count_shuffled_null(ctx, counts, counts.tokens, seed);
  expects(control == Control::reversed, "a control");
  Counts out;
  out.vocab = counts.vocab;
  out.max_lag = counts.max_lag;
  out.tokens = counts.tokens;
  out.corpus_hash = counts.corpus_hash;
  out.unigram = counts.unigram;
  out.pairs = counts.pairs;
  for (const CountCsr& lag : counts.lags) out.lags.push_back(ctx.linear().transpose(lag.view()));
  // The slice read backwards belongs to these counts as the slice belongs to those.
  out.holdout.ids = {counts.holdout.ids.rbegin(), counts.holdout.ids.rend()};
  const auto have = static_cast<std::int64_t>(out.holdout.ids.size());
  for (auto b = counts.holdout.blocks.rbegin(); b != counts.holdout.blocks.rend(); ++b)
    out.holdout.blocks.push_back(
        {have - b->first - b->before - b->own - b->after, b->after, b->own, b->before});
  return out;
}

LagFactors offset_factors(Context& ctx, const Counts& counts, const OffsetConfig& config,
                          const OffsetLayout& layout, std::uint64_t seed) {
  FactorParams p = config.factors;
  p.lags = layout.lags;
  p.d_s = layout.d_s;
  p.d_o = layout.d_o;
  p.seed = seed;
  return fit_lag_factors(ctx, counts, p);
}

LagFactors unigram_factors(const Counts& counts, const OffsetLayout& layout) {
  LagFactors out;
  out.vocab = counts.vocab;
  out.d_s = layout.d_s;
  out.d_o = layout.d_o;
  const auto size = [](std::int64_t rows, std::int64_t cols) {
    return static_cast<std::size_t>(rows * cols);
  };
  out.source.resize(size(out.vocab, out.d_s));
  out.target.resize(size(out.vocab, out.d_o));
  out.log_p = offset::centred_log_p(counts);
  return out;
}

Composition compose_offset(Context& ctx, const ComposeParams& compose, const OffsetConfig& config,
                           const Architecture& arch, const ModelShape& shape, const OffsetLayout& layout,
                           const LagFactors& factors) {
  const OffsetPart part = part_of(compose.recipe);
  const Matching matching = part == OffsetPart::induction
                                ? fit_matching(ctx, factors, layout.match_dims, shape.head_dim)
                                : Matching{};
  return recipes::design_offset(ctx, compose, config.placement, part, arch, shape, layout, factors, matching);
}

std::string offset_report_json(const OffsetConfig& config, const std::string& recipe,
                               const OffsetLayout& layout, const LagFactors& f,
                               const Composition& composition) {
  using nlohmann::ordered_json;
  ordered_json out{
      {"recipe", recipe},
      {"control", control_name(config.control)},
      {"estimator", f.estimator == Estimator::tucker ? "tucker" : "discriminant"},
      {"scalars",
       {{"alpha", f.alpha}, {"kappa", f.kappa}, {"ridge", f.ridge}, {"lag_weights", f.lag_weights}}},
      {"chosen_on",
       {{"positions", f.holdout_positions},
        {"loss", f.holdout_loss},
        {"unigram_loss", f.holdout_unigram_loss},
        {"what", "tokens of the training stream that the statistics of this choice exclude; nats"}}},
      {"participation_ratio_of_realised_maps", f.participation},
      {"source_dims", layout.d_s},
      {"output_dims", layout.d_o},
      {"coordinates",
       {{"constant", layout.constant},
        {"padding", layout.padding},
        {"position", layout.position},
        {"log_p", layout.log_p},
        {"output", layout.output}}},
      {"frequencies", layout.frequencies}};
  out["lags"] = ordered_json::array();
  const OffsetPart part = part_of(recipe);
  const std::int32_t designed =
      part == OffsetPart::all
          ? layout.lags
          : static_cast<std::int32_t>(part == OffsetPart::lag_one || part == OffsetPart::induction);
  for (std::int32_t n = 0; n < designed; ++n)
    out["lags"].push_back({{"lag", n + 1},
                           {"layer", layout.lag_layers[static_cast<std::size_t>(n)]},
                           {"first_kv_head", layout.lag_heads[static_cast<std::size_t>(n)]},
                           {"kv_heads", layout.carrying}});
  if (layout.match >= 0)
    out["induction"] = {{"code_dims", layout.match_dims},
                        {"copies", {{"layer", layout.copy_layer}, {"kv_head", layout.copy_head}}},
                        {"finds", {{"layer", layout.match_layer}, {"kv_head", layout.match_head}}}};
  for (std::size_t l = 0; l < composition.layers.size(); ++l)
    for (const auto& [name, value] : composition.layers[l].measures) out["layers"][l][name] = value;
  return out.dump(1) + "\n";
}

}  // namespace aloft
