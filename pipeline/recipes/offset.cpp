#include "pipeline/recipes/offset.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "host/error.hpp"
#include "host/json_build.hpp"
#include "host/json_text.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/base/machine_memory.hpp"
#include "pipeline/counts/holdout.hpp"
#include "pipeline/counts/plan.hpp"
#include "pipeline/offset/held_out.hpp"
#include "pipeline/offset/residual.hpp"
#include "pipeline/recipes/mlp_outputs.hpp"
#include "pipeline/recipes/plan_weights.hpp"
#include "pipeline/recipes/stream_scale.hpp"

// `offset`, and its parts to compare it with: one way from counts to tensors, and less of it for each part.

namespace aloft::recipes {
namespace {

constexpr Stage kOffsetReport{.name = "report", .more_files = {"offset.json"}};

struct Member {
  std::string_view name, summary;
  OffsetPart part;
};
constexpr Member kOffset{"offset",
                         "designed heads look 0, 1, 2, ... tokens back and carry a regression of the next "
                         "token; embedding and head belong to it",
                         OffsetPart::all};
constexpr Member kBigramHead{"bigram-head", "the part of offset for lag 1 alone, in layer 0",
                             OffsetPart::lag_one};
constexpr Member kEmbedding{"embedding", "the embedding and head of offset; attention carries no lag",
                            OffsetPart::embedding};
constexpr Member kUnigram{"unigram", "a head that knows how frequent each token is, nothing else",
                          OffsetPart::unigram};
constexpr Member kInduction{"induction",
                            "bigram-head and a pair of heads that continue repetitions (experimental)",
                            OffsetPart::induction};

OffsetPart part_of(const DesignRequest& request) {
  for (const Member& m : {kOffset, kBigramHead, kEmbedding, kUnigram, kInduction})
    if (request.recipe.name == m.name) return m.part;
  throw Error("internal error: no member of the offset family is called " + std::string(request.recipe.name));
}

const char* control_name(Control c) {
  return c == Control::shuffled ? "shuffled" : c == Control::reversed ? "reversed" : "none";
}

const char* estimator_name(Estimator e) { return e == Estimator::tucker ? "tucker" : "discriminant"; }

/// Many ids want `tucker`, fewer `discriminant`, which ends lower though it starts higher; so does who sets a
/// scalar of it.
Estimator estimator_of(const DesignRequest& request) {
  const OffsetConfig& offset = request.params.offset;
  const bool many = many_ids(request.corpus_vocab, request.shape);
  const bool scalars = offset.factors.alpha || offset.factors.ridge;
  if (scalars && offset.estimator == Estimator::tucker)
    throw UsageError(
        "--estimator tucker: --alpha and --ridge are scalars of discriminant; leave them out, or name that");
  return offset.estimator.value_or(many && !scalars ? Estimator::tucker : Estimator::discriminant);
}

/// Estimator and scalars for a layout.
FactorParams factor_params(const DesignRequest& request, const OffsetLayout& layout) {
  FactorParams p = request.params.offset.factors;
  p.estimator = estimator_of(request);
  p.lags = layout.lags;
  p.d_s = layout.d_s;
  p.d_o = layout.d_o;
  p.seed = request.params.compose.seed;
  return p;
}

/// What kFactors is made from beside the counts.
struct ControlledFactors {
  FactorParams factors;
  Control control = Control::none;
};
std::string key_json(const ControlledFactors& params) {
  const auto& [factors, control] = params;
  return nlohmann::ordered_json{{"factors", parse_json(key_json(factors), "the key of factors")},
                                {"control", control}}
      .dump();
}

/// What recipe unigram needs of the factors: log p alone.
LagFactors unigram_factors(const Counts& counts, const OffsetLayout& layout) {
  LagFactors out;
  out.vocab = counts.vocab;
  out.d_s = layout.d_s;
  out.d_o = layout.d_o;
  out.source.resize(static_cast<std::size_t>(out.vocab * out.d_s));
  out.target.resize(static_cast<std::size_t>(out.vocab * out.d_o));
  out.log_p = offset::centred_log_p(counts);
  return out;
}

/// What heads that nothing is designed for start as, and what that takes.
struct Layers {
  LayerFunction design;
  LayerMemory memory;
};
Layers layers_of(Background background) {
  switch (background) {
    case Background::random:
      return {design_random, random_memory};
    case Background::zero:
      return {design_zero_proj, random_memory};
    case Background::orthogonal:
      return {design_orthogonal, orthogonal_memory};
    case Background::mimetic:
      return {design_mimetic, mimetic_memory};
    case Background::invariants:
      return {design_invariants, invariants_memory};
  }
  throw Error("internal error: unknown background");
}

/// The scale of the family's stream: it stands the first steps and, where the embedding is the head as well,
/// has coordinates of about 1. There the final gain makes up for a smaller stream, and multiplies what a step
/// on a row does to the logits.
double stream_of_family(const DesignRequest& request) {
  const double norm2 =
      offset::stream_norm2(request.params.offset.placement, request.arch, layout_of(request));
  const double root_d = std::sqrt(static_cast<double>(request.shape.d_model));
  return std::max(standing_scale(request, std::sqrt(norm2) / root_d), request.arch.tied_head ? root_d : 1);
}

/// What MLPs may add to the stream, in squared norm.
double allowed_of_mlps(const DesignRequest& request) {
  const double c = stream_scale(request);
  return kRandomPart2 * c * c;
}

/// What is not designed adds to a stream of scale 1, as OffsetRequest has it: with MLPs as they are bounded.
double undesigned2(const DesignRequest& request) {
  if (request.params.offset.placement.zero_outputs) return 0;
  const double c = stream_scale(request);
  const ModelShape& s = request.shape;
  const double usual2 = mlp_added2(request.params.compose, s, hidden_of(request.arch),
                                   s.mlp_width > 0 ? s.mlp_width : 4 * s.d_model);
  return std::min(kRandomPart2, std::max(kRandomPart2, usual2) / (c * c));
}

// ---- plan

/// Positions that scalars can be chosen on: a slice is an eighth of its text at most.
std::int64_t held_out_positions(const PlanRequest& r) {
  const auto tokens = static_cast<std::int64_t>(r.counting.expected_tokens);
  return tokens > 0 ? std::min(offset::kHoldoutPositions, tokens / 8) : offset::kHoldoutPositions;
}

/// Fitting factors to a shuffled or reversed corpus; the shuffled one has to be counted first.
Peak controlled_memory(const PlanRequest& r, const FactorParams& p) {
  const LinearOps& ops = *r.backend.linear;
  const Footprint held = on_device(r.counts.bytes());
  Peak out;
  if (r.design.params.offset.control == Control::reversed) {
    out.reach(held + ops.sparse_scratch(r.counts.vocab, r.counts.most_entries()));
    out.reach(held, fit_lag_factors_memory(ops, r.counts, p, held_out_positions(r)));
    return out;
  }
  CountParams& shuffled = r.null = params_of_shuffled(r.counting, r.counting.expected_tokens);
  const bool apart = r.counting.device_bytes > 0;
  shuffled.memory_bytes = left_of(r.counting.memory_bytes, apart ? 0 : held.device);
  shuffled.device_bytes = left_of(r.counting.device_bytes, held.device);
  const CountPlan control = plan_count(shuffled, *r.backend.count);
  out.reach(on_device(control.total_bytes()) + on_host(control.staging_bytes));
  out.reach(
      on_device(control.result_bytes),
      fit_lag_factors_memory(ops, shape_of_bytes(shuffled.vocab, shuffled.max_lag, control.result_bytes), p,
                             held_out_positions(r)));
  return out;
}

void plan_family(const PlanRequest& r) {
  const OffsetPart part = part_of(r.design);
  const OffsetLayout layout = layout_of(r.design);
  const FactorParams p = factor_params(r.design, layout);
  const std::int64_t vocab = r.design.corpus_vocab;
  const std::uint64_t bytes = matrix_bytes(vocab, p.d_s + p.d_o + 2);
  const Footprint held = on_host(bytes);
  if (part != OffsetPart::unigram) {
    Peak work = r.design.params.offset.control == Control::none
                    ? fit_lag_factors_memory(*r.backend.linear, r.counts, p, held_out_positions(r))
                    : controlled_memory(r, p);
    const std::uint64_t cores = matrix_bytes(p.d_s, p.d_o, p.lags);
    work.reach(on_host(2 * (bytes + cores)));  // saved
    r.rows.row(kFactors, on_device(r.counts.bytes()), work, bytes + cores, estimator_name(p.estimator));
  }
  Peak composing;
  if (layout.match >= 0) composing = matching_memory(*r.backend.linear, vocab, p.d_s, p.d_o);
  plan_weights(r,
               {.embedding = true,
                .head = true,
                .positions = true,
                .mlp_outputs = r.design.params.offset.placement.zero_outputs
                                   ? silent_mlp_outputs(r.design)
                                   : bounded_mlp_outputs(r.design, allowed_of_mlps(r.design)),
                .drawn_first = part == OffsetPart::unigram},
               layers_of(r.design.params.offset.placement.background).memory, held, composing);
  r.rows.row(kOffsetReport, held, {}, 0);
}

// ---- design

Keyed<LagFactors> obtain_factors(DesignRun& run, const DesignRequest& request, const OffsetLayout& layout,
                                 const Keyed<Counts>& counts) {
  if (part_of(request) == OffsetPart::unigram) return {unigram_factors(counts.value, layout), ""};
  const ControlledFactors how{factor_params(request, layout), request.params.offset.control};
  return run.stages.stage<LagFactors>(kFactors, {counts.key}, how, [&] {
    if (how.control == Control::none) return fit_lag_factors(run.ctx, counts.value, how.factors);
    return fit_lag_factors(run.ctx,
                           controlled_counts(run.ctx, counts.value, how.control, how.factors.seed, run.null),
                           how.factors);
  });
}

Composition compose_family(DesignRun& run, const DesignRequest& request, const OffsetLayout& layout,
                           const LagFactors& factors) {
  const OffsetParams& params = request.params.offset.placement;
  const OffsetPart part = part_of(request);
  const Matching matching = layout.match >= 0
                                ? fit_matching(run.ctx, factors, layout.match_dims, request.shape.head_dim)
                                : Matching{};
  const RecipeInput input{request.params.compose, request.shape};
  const LayerFunction background = layers_of(params.background).design;
  return design_offset(
      run.ctx, {part, params, request.params.compose, request.arch, request.shape, layout, factors, matching,
                stream_scale(request), undesigned2(request),
                [&](std::int64_t layer) { return background(run.ctx, input, layer).heads; }});
}

Design design_family(DesignRun& run, const DesignRequest& request, Keyed<Counts>* counts) {
  const OffsetLayout layout = layout_of(request);
  const Keyed<LagFactors> factors = obtain_factors(run, request, layout, *counts);
  counts->value.lags.clear();  // nothing reads them any more
  if (factors.value.holdout_positions == 0 && part_of(request) != OffsetPart::unigram)
    run.note(
        "note: these counts hold no slice of their text (it was too short, or another program counted): "
        "the recipe's scalars are defaults");
  Design out;
  out.composition =
      run.stages.run(kCompose, [&] { return compose_family(run, request, layout, factors.value); });
  if (request.params.offset.placement.zero_outputs)
    write_silent_mlp_outputs(run, request, out.composition.weights);
  else
    write_bounded_mlp_outputs(run, request, allowed_of_mlps(request), out.composition.weights);
  out.report = [text = offset_report_json(request, layout, factors.value, out.composition.layers)] {
    return text;
  };
  return out;
}

Recipe member(const Member& m, std::vector<std::string_view> more_flags) {
  Recipe out{.name = m.name,
             .summary = m.summary,
             .purpose = m.part == OffsetPart::all ? Purpose::design : Purpose::part,
             .flags = {"control", "offset-layers", "source-dims", "position-frequencies", "sharpness",
                       "write-norm", "prior-sharpness", "recency", "background", "zero-outputs"},
             .stages = {kCount, kFactors, kCompose, kEmit, kOffsetReport},
             .plan = plan_family,
             .design = design_family,
             .reads_holdout = true,
             .stream_scale = stream_of_family};
  if (m.part == OffsetPart::unigram)
    out.stages.erase(out.stages.begin() + 1);
  else
    out.flags.insert(out.flags.end(), {"estimator", "alpha", "kappa", "ridge"});
  out.flags.insert(out.flags.end(), more_flags.begin(), more_flags.end());
  return out;
}

}  // namespace

OffsetLayout layout_of(const DesignRequest& request) {
  OffsetParams p = request.params.offset.placement;
  const OffsetPart part = part_of(request);
  if (p.induction && part != OffsetPart::induction && part != OffsetPart::all)
    throw UsageError("induction: recipe " + std::string(request.recipe.name) + " takes no further heads");
  p.induction |= part == OffsetPart::induction;
  if (part == OffsetPart::lag_one || part == OffsetPart::induction) {
    p.lags = 1;
    if (!p.lag_layers.empty()) p.lag_layers = {p.lag_layers.front()};
  }
  return plan_offset(request.arch, request.shape, p, request.lags, request.corpus_vocab);
}

Counts controlled_counts(Context& ctx, const Counts& counts, Control control, std::uint64_t seed,
                         const CountParams& limits) {
  if (control == Control::shuffled) return count_shuffled_null(ctx, counts, counts.tokens, seed, limits);
  expects(control == Control::reversed, "a control");
  Counts out = without_pairs(counts);
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

std::string offset_report_json(const DesignRequest& request, const OffsetLayout& layout, const LagFactors& f,
                               const std::vector<LayerComposition>& layers) {
  using nlohmann::ordered_json;
  ordered_json out{{"recipe", request.recipe.name}, {"control", control_name(request.params.offset.control)}};
  if (part_of(request) != OffsetPart::unigram)  // which estimates and chooses nothing
    out.update(
        {{"estimator", estimator_name(f.estimator)},
         {"scalars",
          {{"alpha", f.alpha}, {"kappa", f.kappa}, {"ridge", f.ridge}, {"lag_weights", f.lag_weights}}},
         {"chosen_on",
          {{"positions", f.holdout_positions},
           {"loss", f.holdout_loss},
           {"loss_standard_error", f.holdout_error},
           {"unigram_loss", f.holdout_unigram_loss},
           {"what", "tokens of the training stream that the statistics of this choice exclude; nats"}}},
         {"participation_ratio_of_realised_maps", f.participation}});
  out.update({{"stream_scale", stream_scale(request)},
              {"source_dims", layout.d_s},
              {"output_dims", layout.d_o},
              {"coordinates",
               {{"constant", layout.constant},
                {"padding", layout.padding},
                {"position", layout.position},
                {"log_p", layout.log_p},
                {"output", layout.output}}},
              {"frequencies", layout.frequencies}});
  out["lags"] = ordered_json::array();
  for (std::int32_t n = 0; n < offset::designed_lags(part_of(request), layout); ++n)
    out["lags"].push_back({{"lag", n + 1},
                           {"layer", at(layout.lag_layers, n)},
                           {"first_kv_head", at(layout.lag_heads, n)},
                           {"kv_heads", layout.carrying}});
  if (layout.match >= 0)
    out["induction"] = {{"code_dims", layout.match_dims},
                        {"copies", {{"layer", layout.copy_layer}, {"kv_head", layout.copy_head}}},
                        {"finds", {{"layer", layout.match_layer}, {"kv_head", layout.match_head}}}};
  for (std::size_t l = 0; l < layers.size(); ++l)
    for (const auto& [name, value] : layers[l].measures) {
      ordered_json& list = array_in(out, "layers");
      while (list.size() <= l) list.push_back(list.size() < l ? ordered_json() : ordered_json::object());
      list[l][name] = value;
    }
  return out.dump(1) + "\n";
}

Recipe offset_recipe() { return member(kOffset, {"offset-lags", "induction"}); }
Recipe bigram_head_recipe() { return member(kBigramHead, {}); }
Recipe embedding_recipe() { return member(kEmbedding, {"offset-lags"}); }
Recipe unigram_recipe() { return member(kUnigram, {"offset-lags"}); }
Recipe induction_recipe() { return member(kInduction, {"induction"}); }

}  // namespace aloft::recipes
