#include "pipeline/run/run.hpp"

#include <optional>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "host/hash.hpp"
#include "pipeline/model/emit.hpp"
#include "pipeline/run/folder.hpp"
#include "pipeline/run/manifest.hpp"
#include "pipeline/run/obtain_counts.hpp"
#include "pipeline/run/plan.hpp"

namespace aloft {
namespace {

using Note = std::function<void(const std::string&)>;

/// What this program does not model of an architecture.
void note_limits(const Architecture& arch, const Note& note) {
  if (arch.qk_norm)
    note("warning: " + arch.name +
         " normalises queries and keys, so its scores are not those of the designed kernel");
}

void describe(const Counts& counts, RunOutcome& out) {
  out.corpus_hash = counts.corpus_hash;
  out.corpus_vocab = counts.vocab;
  out.tokens = counts.tokens;
  out.coverage = coverage(counts);
  out.pairs = counts.pairs;
}

/// The last stage of a recipe that has a report, which writes one file.
const Stage& report_stage(const Recipe& recipe) {
  expects(recipe.stages.back().name != kEmit.name, "a recipe with a report ends with its stage");
  return recipe.stages.back();
}

}  // namespace

RunOutcome run_init(const RunConfig& asked, const ModelFlags& flags, const ModelConfig& model_config,
                    const Architecture& architecture, const std::string& settings_json,
                    ProgressSink& progress, const Note& note) {
  RunConfig config = asked;
  config.corpus.outputs = RunFolder::files_in(config.output);
  const Recipe& recipe = find_recipe(config.compose.recipe);
  const Architecture arch = specialize(architecture, model_config);
  const DesignParams params = design_params(config, flags, arch);
  Backend backend = make_backend(config.backend, config.threads, config.gpu);
  Context ctx(backend, progress);
  RunFolder folder(config.output, hash_of(settings_json), config.force);
  folder.expect_kept(
      {config.counts_file, config.corpus.vocabulary, config.corpus.tokenizer, config.embed.method});
  folder.expect_kept(config.corpus.paths);
  Stages stages(ctx, folder.path());
  RunOutcome out;
  out.resumed = folder.resuming();
  for (const std::string& line :
       {backend.note, config.memory_warning, device_memory_note(*backend.device, config.device_bytes)})
    if (!line.empty()) note(line);
  note_limits(arch, note);

  // What is wrong with the request should be known before hours of counting.
  ModelShape shape;
  DesignRun design_run{ctx, stages, note, 0, {}};
  const auto settle = [&](const CorpusFacts& corpus) {
    shape = resolve_shape(flags, model_config, arch, corpus.vocab);
    RunPlan plan = plan_within_limits(config, arch, shape, corpus, backend);
    backend.device->limit_memory(device_limit(plan, config));
    if (recipe.check != nullptr) recipe.check(ctx, {recipe, params, arch, shape, config.lags, corpus.vocab});
    folder.begin();
    design_run.memory_bytes = plan.device_budget > 0 ? plan.device_budget : config.memory_bytes;
    design_run.null = plan.null;
    return plan;
  };

  std::optional<CountedCorpus> corpus;
  if (recipe.reads_corpus()) {
    corpus = obtain_counts({config, recipe, ctx, stages, folder, progress, note, settle});
    out.corpus_format = corpus->format;
    describe(corpus->counts.value, out);
    if (out.coverage) note(coverage_note(*out.coverage));
  } else {
    if (!config.corpus.paths.empty())
      note("note: recipe " + std::string(recipe.name) + " reads no corpus; --corpus is not used");
    (void)settle(no_corpus());
  }

  const DesignRequest request{recipe, params,      arch,
                              shape,  config.lags, corpus ? corpus->counts.value.vocab : 1};
  Design design = recipe.design(design_run, request, corpus ? &corpus->counts : nullptr);
  const HeadWeights& weights = design.composition.weights;
  stages.run(kEmit, [&] {
    const auto metadata = provenance(config, arch, shape, out.corpus_hash);
    emit(folder.file("init.safetensors"), arch, shape, weights, config.dtype, metadata);
    if (config.save_heads) save_heads(folder.file("heads.safetensors"), shape, weights, metadata);
  });
  out.tensors = emitted_tensors(arch, shape, weights, config.dtype).size();
  if (design.report) {
    const Stage& report = report_stage(recipe);
    stages.run(report, [&] { write_file(folder.file(files_of(report).front()), design.report()); });
  }

  out.shape = shape;
  if (!corpus && !flags.vocab && !model_config.vocab) out.shape.vocab = 0;  // unknown, and of no consequence
  out.corpus_pr = std::move(design.corpus_pr);
  out.layers = std::move(design.expansions);
  out.composition = std::move(design.composition.layers);
  out.times = ctx.times();
  folder.complete(manifest_text(settings_json, out, backend.device->name(), folder));
  out.files.emplace_back("manifest.json");
  return out;
}

}  // namespace aloft
