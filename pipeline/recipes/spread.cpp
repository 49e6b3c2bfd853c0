#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "host/plural.hpp"
#include "kernels/spectral_measures.hpp"
#include "pipeline/base/device_math.hpp"
#include "pipeline/base/machine_memory.hpp"
#include "pipeline/counts/plan.hpp"
#include "pipeline/recipes/embedding_rows.hpp"
#include "pipeline/recipes/plan_weights.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "pipeline/recipes/spectra_report.hpp"
#include "pipeline/recipes/stream_scale.hpp"

// The papers' recipes: `spread` injects the corpus asymmetry at lag ℓ+1, its spectrum expanded, into layer ℓ;
// `asymmetry` that of lag 1, as it is, into every layer. They differ in what expand() is asked for.

namespace aloft::recipes {
namespace {

constexpr Stage kSpectraReport{.name = "report", .more_files = {"spectra.json"}};

/// How to expand for this model: lags of the layers filled in, requests that cannot be met refused.
ExpandParams expand_params(const DesignRequest& r) {
  ExpandParams p = r.params.expand;
  if (p.layer_lags.empty()) p.layer_lags = default_layer_lags(r.shape.layers, r.lags);
  if (p.layer_lags.size() != static_cast<std::size_t>(r.shape.layers))
    throw UsageError(fmt::format("--layer-lags names {} for {}", counted(p.layer_lags.size(), "lag"),
                                 counted(r.shape.layers, "layer")));
  for (const std::int32_t lag : p.layer_lags)
    if (lag < 1 || lag > r.lags)
      throw UsageError(fmt::format("--layer-lags: lag {} is not among 1..{}", lag, r.lags));
  if (r.recipe.name == "asymmetry") {  // the paper's own: A_1 as it is, in every layer
    p.method = ExpandMethod::none;
    p.layer_lags.assign(static_cast<std::size_t>(r.shape.layers), 1);
  }
  if (p.method == ExpandMethod::stack && !p.stack_weights.empty() &&
      p.stack_weights.size() != static_cast<std::size_t>(r.lags))
    throw UsageError(fmt::format("--stack-weights names {} for {}: give one for each",
                                 counted(p.stack_weights.size(), "weight"), counted(r.lags, "lag")));
  const std::int64_t rank = r.shape.d_model / 2 * 2;  // of an antisymmetric matrix, at most
  if (p.method != ExpandMethod::none && p.pr_target > static_cast<double>(rank))
    throw UsageError(fmt::format("--pr-target {} is above the rank that a width of {} allows, {}",
                                 p.pr_target, r.shape.d_model, rank));
  return p;
}

EmbedParams embed_params(const DesignRequest& r) {
  EmbedParams p = r.params.embed;
  p.d = r.shape.d_model;
  return p;
}

void check_injected(Context& ctx, const DesignRequest& r) {
  (void)expand_params(r);
  check_stream_scale(r);
  if (const EmbedParams p = embed_params(r); from_file(p))
    (void)embed_from_file(ctx, p.method, p.tensor, r.corpus_vocab, p.d);
}

// ---- plan

PlannedWeights planned_weights(const DesignRequest& r) {
  return {.embedding = r.params.compose.emit_embedding,
          .positions = stream_scale(r) != 1,
          .drawn_first = true,
          .rows_scaled = longest_stripe(r.corpus_vocab)};
}

void plan_report(const PlanRequest& r, Footprint held) {
  const LinearOps& ops = *r.backend.linear;
  const std::int64_t d = r.design.shape.d_model, lags = r.design.lags;
  const auto squares = [&](std::int64_t n) { return on_device(matrix_bytes(d, d, n)); };
  Peak work = measure_asymmetry_memory(ops, r.counts);
  work.reach(squares(6) + ops.skew_spectrum_scratch(d, 1));  // of Gaussian matrices
  std::string note;
  if (r.design.params.null_tokens > 0) {
    CountParams& null = r.null = params_of_shuffled(
        r.counting,
        std::min(r.design.params.null_tokens, std::max<std::uint64_t>(r.counting.expected_tokens, 1)));
    null.memory_bytes = left_of(r.counting.memory_bytes, held.host + held.device);
    null.device_bytes = left_of(r.counting.device_bytes, held.device);
    const CountPlan counting = plan_count(null, *r.backend.count);
    const Footprint counts = on_device(counting.result_bytes), projections = squares(lags);
    const CountsShape shape = shape_of_bytes(r.counts.vocab, lags, counting.result_bytes);
    work.reach(on_device(counting.total_bytes()) + on_host(counting.staging_bytes));
    work.reach(counts, project_transitions_memory(ops, shape, d));
    work.reach(counts + projections, decompose_memory(ops, d, lags));
    work.reach(counts + squares(lags), measure_asymmetry_memory(ops, shape));
    note =
        fmt::format("null of {} shuffled tokens, {}", null.expected_tokens, strategy_name(counting.strategy));
  }
  r.rows.row(kSpectraReport, held, work, 0, note);
}

void plan_injected(const PlanRequest& r) {
  const LinearOps& ops = *r.backend.linear;
  const std::int64_t d = r.design.shape.d_model, lags = r.design.lags, v = r.design.corpus_vocab;
  const auto squares = [&](std::int64_t n) { return on_device(matrix_bytes(d, d, n)); };
  const Footprint counts = on_device(r.counts.bytes()), embedding = on_device(matrix_bytes(v, d)),
                  projections = squares(4 * lags), spectra = squares(lags),
                  planes = squares(r.design.shape.layers);
  const auto kept = [&](Footprint x, std::uint64_t tensors) {
    return r.rows.kept(x.device, x.device / tensors);
  };
  const EmbedParams how = embed_params(r.design);

  Peak embedding_work = embed_memory(ops, r.counts, how);
  embedding_work.reach(embedding + on_host(embedding.device + embedding.device / 2));  // saved as floats
  r.rows.row(kEmbed, counts, embedding_work, embedding.device / 2, how.method);

  Peak projecting = project_memory(ops, r.counts, d);
  projecting.reach(kept(projections, 4));
  r.rows.row(kProject, counts + embedding, projecting, projections.device);

  Peak decomposing = decompose_memory(ops, d, lags);
  decomposing.reach(kept(spectra, 2));
  r.rows.row(kDecompose, counts + embedding + projections, decomposing,
             spectra.device + matrix_bytes(d, 2 * lags));

  Peak expanding = expand_memory(ops, d, expand_params(r.design));
  expanding.reach(kept(planes, 2));
  r.rows.row(kExpand, counts + embedding + projections + spectra, expanding, planes.device);

  const Footprint held = counts + embedding + spectra + planes;
  const PlannedWeights weights = planned_weights(r.design);
  plan_weights(r, weights, injection_memory, held, {});
  plan_report(r, held + weights_footprint(r.design, weights));
}

// ---- design

/// What the report is made of.
struct Spectral {
  Keyed<Counts>* counts = nullptr;
  Keyed<Embedding> embedding;
  Keyed<Spectra> spectra;
  Keyed<ExpandedSpectra> expanded;
  std::vector<LayerComposition> composed;
};

/// 2 × that of the planes' singular values, which come in pairs; of every lag.
std::vector<double> participation_of_lags(const SkewPlanes& planes) {
  const std::int64_t lags = planes.left.batch, m = planes.left.rows;
  std::vector<double> out;
  for (std::int64_t n = 0; n < lags; ++n)
    out.push_back(2 * participation_ratio({planes.sigma.data() + n * m, static_cast<std::size_t>(m)}));
  return out;
}

void note_expansions(const DesignRun& run, const std::vector<LayerExpansion>& layers) {
  for (std::size_t l = 0; l < layers.size(); ++l)
    if (!layers[l].reached)
      run.note(fmt::format(
          "note: layer {}: whitening reaches a participation ratio of {:.1f} at most; tempered the rest of "
          "the way to {:.1f} (exponent {:.3f})",
          l, layers[l].max_pr, layers[l].pr_after, layers[l].temper_after));
}

std::string report_injected(DesignRun& run, const DesignRequest& request, const Spectral& s) {
  const Counts& counts = s.counts->value;
  const std::uint64_t seed = request.params.compose.seed;
  SpectraReport r;
  r.lags = {&counts, measure_asymmetry(run.ctx, counts), &s.spectra.value};
  const std::uint64_t null_tokens = std::min(request.params.null_tokens, counts.tokens);
  Counts null_counts;
  Spectra null_spectra;
  if (null_tokens > 0) {
    null_counts = count_shuffled_null(run.ctx, counts, null_tokens, seed, run.null);
    null_spectra = decompose(run.ctx, project_transitions(run.ctx, null_counts, s.embedding.value));
    r.null = LagMeasurements{&null_counts, measure_asymmetry(run.ctx, null_counts), &null_spectra};
  }
  r.expanded = &s.expanded.value;
  r.composed = s.composed;
  r.pr_target = request.params.expand.pr_target;
  r.seed = seed;
  return spectra_report_json(run.ctx, r);
}

Design design_injected(DesignRun& run, const DesignRequest& request, Keyed<Counts>* counts) {
  const ComposeParams& compose = request.params.compose;
  const auto s = std::make_shared<Spectral>();
  s->counts = counts;
  const EmbedParams how = embed_params(request);
  s->embedding = run.stages.stage<Embedding>(
      kEmbed, {counts->key}, how, [&] { return embed(run.ctx, counts->value, how, run.memory_bytes); });
  if (s->embedding.value.rank < request.shape.d_model)
    run.note(fmt::format("note: the corpus spans {} of {} embedding directions; the rest stay zero",
                         s->embedding.value.rank, request.shape.d_model));
  {
    const auto projections =
        run.stages.stage<Projections>(kProject, {counts->key, s->embedding.key}, NoParameters{},
                                      [&] { return project(run.ctx, counts->value, s->embedding.value); });
    s->spectra = run.stages.stage<Spectra>(kDecompose, {projections.key}, NoParameters{},
                                           [&] { return decompose(run.ctx, projections.value); });
    const ExpandParams expansion = expand_params(request);
    s->expanded = run.stages.stage<ExpandedSpectra>(
        kExpand, {projections.key, s->spectra.key}, expansion,
        [&] { return expand(run.ctx, projections.value, s->spectra.value, expansion); });
  }
  note_expansions(run, s->expanded.value.layers);

  Design out = run.stages.run(kCompose, [&] {
    Design made;
    made.composition =
        compose_layers(run.ctx, design_injection, {compose, request.shape, &s->expanded.value});
    if (compose.emit_embedding)
      made.composition.weights.embedding =
          embedding_rows(run.ctx, compose, request.shape, s->embedding.value);
    scale_stream(run.ctx, request, made.composition.weights);
    return made;
  });
  if (!compose.emit_embedding)
    run.note(
        "warning: --no-embedding: the injected kernels live in the coordinates of an embedding the file "
        "does not carry");
  s->composed = out.composition.layers;
  out.expansions = s->expanded.value.layers;
  out.corpus_pr = participation_of_lags(s->spectra.value.antisymmetric);
  out.report = [&run, &request, s] { return report_injected(run, request, *s); };
  return out;
}

Recipe injected(std::string_view name, std::string_view summary, std::vector<std::string_view> more_flags) {
  Recipe out{.name = name,
             .summary = summary,
             .purpose = Purpose::paper,
             .flags = {"embedding", "embedding-tensor", "pr-target", "directions", "sign", "noise",
                       "strength", "no-embedding", "null-tokens"},
             .stages = {kCount, kEmbed, kProject, kDecompose, kExpand, kCompose, kEmit, kSpectraReport},
             .check = check_injected,
             .plan = plan_injected,
             .design = design_injected};
  out.flags.insert(out.flags.end(), more_flags.begin(), more_flags.end());
  return out;
}

}  // namespace

std::vector<std::int32_t> default_layer_lags(std::int64_t layers, std::int32_t lags) {
  std::vector<std::int32_t> out;
  for (std::int64_t l = 0; l < layers; ++l)
    out.push_back(static_cast<std::int32_t>(std::min<std::int64_t>(l + 1, lags)));
  return out;
}

Recipe spread_recipe() {
  return injected("spread", "the papers' proposal: lag l+1 in layer l, its spectrum expanded",
                  {"expand", "layer-lags", "stack-modes", "stack-weights"});
}

Recipe asymmetry_recipe() {
  return injected("asymmetry", "the papers' experiment: the asymmetry of lag 1 in every layer, as it is", {});
}

}  // namespace aloft::recipes
