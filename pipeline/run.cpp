#include "pipeline/run.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <filesystem>

#include "host/error.hpp"
#include "host/hash.hpp"
#include "kernels/spectral_measures.hpp"
#include "pipeline/artifacts.hpp"
#include "pipeline/emit.hpp"
#include "pipeline/manifest.hpp"
#include "pipeline/offset/holdout.hpp"
#include "pipeline/recipes/mlp_outputs.hpp"
#include "pipeline/recipes/offset.hpp"
#include "pipeline/run_directory.hpp"
#include "pipeline/run_keys.hpp"
#include "pipeline/run_plan.hpp"
#include "pipeline/spectra_report.hpp"

namespace aloft {
namespace {

using Note = std::function<void(const std::string&)>;

// One run: the state that its steps share.
class Run {
 public:
  Run(const RunConfig& config, const ModelFlags& flags, const ModelConfig& model_config,
      const Architecture& arch, const std::string& settings, ProgressSink& progress, const Note& note)
      : c_(config),
        flags_(flags),
        model_config_(model_config),
        arch_(specialize(arch, model_config)),
        settings_(settings),
        progress_(progress),
        note_(note),
        backend_(make_backend(c_.backend, c_.threads, c_.gpu)),
        ctx_(backend_, progress),
        folder_(c_.output, hash_of(settings), c_.force) {}

  RunOutcome go() {
    folder_.expect_kept({c_.counts_file, c_.corpus.vocabulary, c_.corpus.tokenizer, c_.embedding});
    folder_.expect_kept(c_.corpus.paths);
    out_.resumed = folder_.resuming();
    if (!backend_.note.empty()) note_(backend_.note);
    if (arch_.qk_norm)
      note_("warning: " + arch_.name +
            " normalises queries and keys, so its scores are not those of the designed kernel");
    if (arch_.rope_scaling != "none" && arch_.rope_scaling != "linear")
      note_("note: RoPE scaling '" + arch_.rope_scaling + "' is not modelled; " +
            (is_offset_recipe(c_.compose.recipe) ? "designed heads are made for the unscaled frequencies"
                                                 : "the order of its frequencies is all that matters here"));
    const bool offset = is_offset_recipe(c_.compose.recipe);
    const bool reads = offset || recipe_reads_corpus(c_.compose.recipe);
    if (offset) {
      obtain_counts();
      fit_factors();
      counts_.lags.clear();  // nothing reads them any more
    } else if (reads) {
      obtain_counts();
      embed_and_project();
      decompose_and_expand();
      projections_ = {};  // nothing reads them any more
    } else {
      if (!c_.corpus.paths.empty())
        note_("note: recipe " + c_.compose.recipe + " reads no corpus; --corpus is not used");
      shape_ = resolve_shape(flags_, model_config_, arch_, 1);
      settle_plan({1, 0, true});
      folder_.begin();
    }
    compose_and_emit(reads);
    out_.shape = shape_;
    if (!reads && !flags_.vocab && !model_config_.vocab)
      out_.shape.vocab = 0;  // unknown, and of no consequence
    out_.times = ctx_.times();
    folder_.complete(manifest_text(settings_, out_, backend_.device->name(), folder_));
    out_.files.emplace_back("manifest.json");
    return std::move(out_);
  }

 private:
  void settle_plan(const CorpusFacts& corpus) {
    plan_ = plan_run(c_, arch_, shape_, corpus, backend_);
    check_plan(plan_, c_);
    backend_.device->limit_memory(plan_.device_budget);
  }

  void settle_shape(const CorpusFacts& corpus) {
    shape_ = resolve_shape(flags_, model_config_, arch_, corpus.vocab);
    settle_plan(corpus);
    // What is wrong with the rest of the request should be known before hours of counting.
    if (is_offset_recipe(c_.compose.recipe)) {
      layout_ = layout_of(c_.offset, c_.compose.recipe, arch_, shape_, c_.lags, corpus.vocab);
    } else {
      (void)expand_params(c_, shape_);
      if (c_.embedding != "ppmi-svd" && c_.embedding != "mobius")
        (void)embed_from_file(ctx_, c_.embedding, c_.embedding_tensor, corpus.vocab, shape_.d_model);
    }
    folder_.begin();
  }

  void obtain_counts() {
    const std::string path = folder_.file("counts.safetensors"), inputs = inputs_fingerprint(c_);
    Device& device = ctx_.device();
    if (const auto known = folder_.recall("counts.inputs"); known && !inputs.empty() && *known == inputs) {
      if (auto loaded = load_counts(device, path, folder_.recall("counts.key").value_or("-"))) {
        counts_ = std::move(*loaded);
        resumed("count");
        check_counts();
        settle_shape({counts_.vocab, counts_.tokens, true, shape_of(counts_).entries});
        describe_counts();
        return;
      }
    }
    if (!c_.counts_file.empty()) {
      take_counts_file();
    } else {
      count_corpus();
    }
    check_counts();
    counts_key_ = key_of(
        {"counts", counts_.corpus_hash, std::to_string(counts_.vocab), std::to_string(counts_.max_lag)});
    if (!vocabulary_.empty()) write_file(folder_.file("vocab.json"), vocabulary_);
    save(path, counts_, counts_key_);
    if (!inputs.empty()) {
      folder_.remember("counts.key", counts_key_);
      folder_.remember("counts.inputs", inputs);
    }
    describe_counts();
  }

  void take_counts_file() {
    auto loaded = load_counts(ctx_.device(), c_.counts_file, "");
    if (!loaded) throw InputError(c_.counts_file + ": no such file");
    counts_ = std::move(*loaded);
    if (counts_.max_lag < c_.lags)
      throw UsageError(
          fmt::format("{} holds {} lags, --lags asks for {}", c_.counts_file, counts_.max_lag, c_.lags));
    counts_.max_lag = c_.lags;
    counts_.lags.resize(static_cast<std::size_t>(c_.lags));
    counts_.pairs.resize(static_cast<std::size_t>(c_.lags));
    if (is_offset_recipe(c_.compose.recipe)) {  // before anything of it is kept
      try {
        (void)without_holdout(ctx_, counts_);
      } catch (const InputError& e) {
        throw InputError(c_.counts_file + ": " + e.what());
      }
    }
    settle_shape({counts_.vocab, counts_.tokens, true, shape_of(counts_).entries});
  }

  void count_corpus() {
    if (c_.corpus.paths.empty())
      throw UsageError("recipe " + c_.compose.recipe + " needs --corpus (or --counts)");
    CorpusSpec spec = c_.corpus;
    spec.spool_folder = folder_.file("");
    spec.several_passes = c_.strategy == CountStrategy::striped;
    const auto corpus = open_corpus(spec, progress_);
    out_.corpus_format = corpus->format_name();
    const CorpusFacts facts{corpus->vocab_size(), corpus->expected_tokens(), corpus->repeatable()};
    settle_shape(facts);
    note_("counting: " + strategy_name(plan_.count.strategy) + ", " + plan_.count.reason);
    {
      const auto timed = ctx_.scope("count");
      counts_ = count_transitions(ctx_, count_params(c_, facts, plan_.device_budget),
                                  [&] { return corpus->open(); });
    }
    vocabulary_ = corpus->vocabulary_json().value_or("");
  }

  // Before anything of it is kept.
  void check_counts() const {
    const std::string& origin = c_.counts_file.empty() ? c_.corpus.paths.front() : c_.counts_file;
    require_pairs(counts_, origin);
    if (!c_.expected_corpus_hash.empty() && counts_.corpus_hash != c_.expected_corpus_hash)
      throw InputError(
          fmt::format("{}: the corpus has changed: its hash is {}, the config expects {} (drop corpus-hash "
                      "from the config, or pass --corpus, to use it all the same)",
                      origin, counts_.corpus_hash, c_.expected_corpus_hash));
  }

  void describe_counts() {
    if (counts_key_.empty())
      counts_key_ = key_of(
          {"counts", counts_.corpus_hash, std::to_string(counts_.vocab), std::to_string(counts_.max_lag)});
    out_.corpus_hash = counts_.corpus_hash;
    out_.corpus_vocab = counts_.vocab;
    out_.tokens = counts_.tokens;
    out_.pairs = counts_.pairs;
  }

  void resumed(const std::string& stage) {
    ctx_.times().push_back({stage, 0, true});
    progress_.finish(stage, 0, true);
  }

  // A stage whose result may already lie in the folder under this key.
  template <class T, class Load, class Make>
  T stage(const std::string& name, const std::string& file, const std::string& key, const Load& load,
          const Make& make) {
    const std::string path = folder_.file(file);
    if (auto loaded = load(ctx_.device(), path, key)) {
      resumed(name);
      return std::move(*loaded);
    }
    const auto timed = ctx_.scope(name);
    T value = make();
    save(path, value, key);
    return value;
  }

  void embed_and_project() {
    const std::string d = std::to_string(shape_.d_model);
    std::string source = c_.embedding;
    if (source != "ppmi-svd" && source != "mobius")
      source = "file " + hash_of_file(source) + " " + c_.embedding_tensor;
    embedding_key_ = key_of({"embedding", counts_key_, source, d, std::to_string(c_.seed)});
    embedding_ = stage<Embedding>("embed", "embedding.safetensors", embedding_key_, load_embedding, [&] {
      if (c_.embedding == "ppmi-svd") return embed_ppmi_svd(ctx_, counts_, shape_.d_model, c_.seed);
      if (c_.embedding == "mobius")
        return embed_mobius(ctx_, counts_, shape_.d_model,
                            plan_.device_budget > 0 ? plan_.device_budget : c_.memory_bytes);
      return embed_from_file(ctx_, c_.embedding, c_.embedding_tensor, counts_.vocab, shape_.d_model);
    });
    if (embedding_.rank < shape_.d_model)
      note_(fmt::format("note: the corpus spans {} of {} embedding directions; the rest stay zero",
                        embedding_.rank, shape_.d_model));
    projections_key_ = key_of({"projections", embedding_key_});
    projections_ = stage<Projections>("project", "projections.safetensors", projections_key_,
                                      load_projections, [&] { return project(ctx_, counts_, embedding_); });
  }

  void decompose_and_expand() {
    const std::string spectra_key = key_of({"spectra", projections_key_});
    spectra_ = stage<Spectra>("decompose", "spectra.safetensors", spectra_key, load_spectra,
                              [&] { return decompose(ctx_, projections_); });
    const ExpandParams p = expand_params(c_, shape_);
    const std::string key =
        key_of({"expanded", spectra_key, std::to_string(static_cast<int>(p.method)),
                fmt::format("{} {} {} {}", p.pr_target, static_cast<int>(p.directions), p.stack_modes,
                            p.whiten_ridge),
                fmt::format("{}", fmt::join(p.layer_lags, ",")),
                fmt::format("{}", fmt::join(p.stack_weights, ",")), std::to_string(p.seed)});
    expanded_ = stage<ExpandedSpectra>("expand", "expanded.safetensors", key, load_expanded,
                                       [&] { return expand(ctx_, projections_, spectra_, p); });
    for (std::size_t l = 0; l < expanded_.layers.size(); ++l)
      if (!expanded_.layers[l].reached)
        note_(fmt::format(
            "note: layer {}: whitening reaches a participation ratio of {:.1f} at most; tempered the rest of "
            "the way to {:.1f} (exponent {:.3f})",
            l, expanded_.layers[l].max_pr, expanded_.layers[l].pr_after, expanded_.layers[l].temper_after));
    out_.layers = expanded_.layers;
    pr_target_ = p.pr_target;
  }

  void fit_factors() {
    if (c_.compose.recipe == "unigram") {
      factors_ = unigram_factors(counts_, layout_);
      return;
    }
    const FactorParams& p = c_.offset.factors;
    const auto given = [](const std::optional<double>& x) {
      return x ? fmt::format("{}", *x) : std::string("-");
    };
    const std::string key =
        key_of({"factors", counts_key_,
                fmt::format("{} {} {} {} {} {}", static_cast<int>(p.estimator), layout_.lags, layout_.d_s,
                            layout_.d_o, static_cast<int>(c_.offset.control), c_.seed),
                fmt::format("{} {} {}", given(p.alpha), given(p.kappa), given(p.ridge))});
    factors_ = stage<LagFactors>("factors", "factors.safetensors", key, load_factors, [&] {
      if (c_.offset.control == Control::none)
        return offset_factors(ctx_, counts_, c_.offset, layout_, c_.seed);
      return offset_factors(ctx_, controlled_counts(ctx_, counts_, c_.offset.control, c_.seed), c_.offset,
                            layout_, c_.seed);
    });
    if (factors_.holdout_positions == 0)
      note_(
          "note: these counts hold no slice of their text (it was too short, or another program counted): "
          "the recipe's scalars are defaults");
  }

  // Output projections of the MLPs: zeros where the recipe asks for silent beginnings; smaller than usual
  // where the usual ones would drown what the offset family designs.
  void mlp_outputs(const ComposeParams& p, HeadWeights& weights) {
    const bool silent = p.recipe == "zero-proj" || c_.offset.placement.zero_outputs;
    if (!silent && !is_offset_recipe(p.recipe)) return;
    if (arch_.mlp_output.empty() || shape_.mlp_width == 0) {
      const bool drowns =
          recipes::mlp_added2(p, shape_, arch_.mlp_gated, 4 * shape_.d_model) > recipes::kRandomPart2;
      if (silent || drowns)
        note_("note: the MLP's output projection is left to the model" +
              std::string(silent ? ": " : ", whose usual one adds more than this recipe's heads: ") +
              (arch_.mlp_output.empty() ? "the architecture does not name it" : "give --mlp-width"));
      return;
    }
    if (!silent) {
      weights.mlp_output =
          recipes::bounded_mlp_outputs(ctx_, p, shape_, arch_.mlp_gated, recipes::kRandomPart2);
      return;
    }
    weights.mlp_output.assign(
        static_cast<std::size_t>(shape_.layers),
        std::vector<float>(static_cast<std::size_t>(shape_.mlp_width * shape_.d_model)));
  }

  void compose_and_emit(bool reads) {
    ComposeParams p = c_.compose;
    p.seed = c_.seed;
    p.init_std = flags_.init_std.value_or(arch_.init_std);
    p.residual_scaled = arch_.init_residual_scaled;
    Composition composed;
    const bool offset = is_offset_recipe(p.recipe);
    if (offset) {
      const auto timed = ctx_.scope("compose");
      composed = compose_offset(ctx_, p, c_.offset, arch_, shape_, layout_, factors_);
      write_file(folder_.file("offset.json"),
                 offset_report_json(c_.offset, p.recipe, layout_, factors_, composed));
    } else {
      const auto timed = ctx_.scope("compose");
      composed = compose(ctx_, p, shape_, reads ? &expanded_ : nullptr, reads ? &embedding_ : nullptr);
    }
    mlp_outputs(p, composed.weights);
    out_.composition = composed.layers;
    if (reads && !p.emit_embedding)
      note_(
          "warning: --no-embedding: the injected kernels live in the coordinates of an embedding the file "
          "does not carry");
    {
      const auto timed = ctx_.scope("emit");
      const std::map<std::string, std::string> metadata = provenance(c_, arch_, out_.corpus_hash);
      emit(folder_.file("init.safetensors"), arch_, shape_, composed.weights, c_.dtype, metadata);
      if (c_.save_heads) save_heads(folder_.file("heads.safetensors"), shape_, composed.weights, metadata);
    }
    out_.tensors = emitted_tensors(arch_, shape_, composed.weights, c_.dtype).size();
    if (reads && !offset) report(composed.layers);
  }

  void report(const std::vector<LayerComposition>& composed) {
    const auto timed = ctx_.scope("report");
    SpectraReport r;
    r.lags.counts = &counts_;
    r.lags.asymmetry = measure_asymmetry(ctx_, counts_);
    r.lags.spectra = &spectra_;
    const std::uint64_t null_tokens = std::min(c_.null_tokens, counts_.tokens);
    Counts null_counts;
    Spectra null_spectra;
    if (null_tokens > 0) {
      null_counts = count_shuffled_null(ctx_, counts_, null_tokens, c_.seed, plan_.null);
      null_spectra = decompose(ctx_, project_transitions(ctx_, null_counts, embedding_));
      r.null = LagMeasurements{&null_counts, measure_asymmetry(ctx_, null_counts), &null_spectra};
    }
    r.expanded = &expanded_;
    r.composed = composed;
    r.pr_target = pr_target_;
    r.seed = c_.seed;
    for (std::int32_t n = 0; n < counts_.max_lag; ++n) {
      const std::size_t m = spectra_.antisymmetric.sigma.size() / static_cast<std::size_t>(counts_.max_lag);
      out_.corpus_pr.push_back(
          2 *
          participation_ratio({spectra_.antisymmetric.sigma.data() + static_cast<std::size_t>(n) * m, m}));
    }
    write_file(folder_.file("spectra.json"), spectra_report_json(ctx_, r));
  }

  const RunConfig& c_;
  const ModelFlags& flags_;
  const ModelConfig& model_config_;
  const Architecture arch_;
  const std::string& settings_;
  ProgressSink& progress_;
  const Note& note_;
  Backend backend_;
  Context ctx_;
  RunDirectory folder_;
  ModelShape shape_;
  RunPlan plan_;
  RunOutcome out_;
  double pr_target_ = 0;
  std::string vocabulary_;  ///< vocab.json's text, when counting had one
  std::string counts_key_, embedding_key_, projections_key_;
  Counts counts_;
  Embedding embedding_;
  Projections projections_;
  Spectra spectra_;
  ExpandedSpectra expanded_;
  OffsetLayout layout_;
  LagFactors factors_;
};

}  // namespace

RunOutcome run_init(const RunConfig& config, const ModelFlags& flags, const ModelConfig& model_config,
                    const Architecture& architecture, const std::string& settings_json,
                    ProgressSink& progress, const std::function<void(const std::string&)>& note) {
  return Run(config, flags, model_config, architecture, settings_json, progress, note).go();
}

}  // namespace aloft
