#include "pipeline/run/obtain_counts.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "host/hash.hpp"
#include "host/plural.hpp"
#include "pipeline/counts/holdout.hpp"
#include "pipeline/run/inputs.hpp"

namespace aloft {
namespace {

constexpr const char* kKey = "counts.key";        // of the folder's memory
constexpr const char* kInputs = "counts.inputs";  // what the counts were made from
constexpr const char* kVocabulary =
    "counts.vocabulary";                          // hash of the vocab.json beside them; "": there is none
constexpr const char* kFormat = "counts.format";  // of the corpus
constexpr const char* kVocabularyFile = "vocab.json";

/// Counts are known by what was counted, not by the files it came from.
struct CountedText {
  const std::string& corpus_hash;
  std::int64_t vocab;
  std::int32_t max_lag;
};
std::string key_json(const CountedText& text) {
  const auto& [corpus_hash, vocab, max_lag] = text;
  return nlohmann::ordered_json{{"corpus_hash", corpus_hash}, {"vocab", vocab}, {"max_lag", max_lag}}.dump();
}

std::string key_of(const Counts& counts) {
  return stage_key(kCount, {}, key_json(CountedText{counts.corpus_hash, counts.vocab, counts.max_lag}));
}

/// Before anything of them is kept.
void check_counts(const RunConfig& config, const Counts& counts) {
  const std::string& origin = config.counts_file.empty() ? config.corpus.paths.front() : config.counts_file;
  require_pairs(counts, origin);
  if (!config.expected_corpus_hash.empty() && counts.corpus_hash != config.expected_corpus_hash)
    throw InputError(
        fmt::format("{}: the corpus has changed: its hash is {}, the config expects {} (drop corpus-hash "
                    "from the config, or pass --corpus, to use it all the same)",
                    origin, counts.corpus_hash, config.expected_corpus_hash));
}

Counts counts_of_file(const CountingRun& run) {
  Counts counts = load_counts(run.ctx, run.config, run.recipe);
  run.settle(facts_of(counts));
  return counts;
}

struct CountedNow {
  Counts counts;
  std::string format, vocabulary;  ///< vocabulary: vocab.json's text; "" when there is none
};

CountedNow count_corpus(const CountingRun& run) {
  const RunConfig& c = run.config;
  if (c.corpus.paths.empty())
    throw UsageError(fmt::format("recipe {} needs --corpus (or --counts)", run.recipe.name));
  CorpusSpec spec = c.corpus;
  spec.spool_folder = run.folder.output();
  spec.several_passes = c.strategy == CountStrategy::striped;
  const auto corpus = open_corpus(spec, run.progress);
  const CorpusFacts facts = look_at(*corpus, c.lags);
  const RunPlan plan = run.settle(facts);
  run.note("counting: " + strategy_name(plan.count.strategy) + ", " + plan.count.reason);
  Counts counts = run.stages.run(
      kCount, [&] { return count_transitions(run.ctx, plan.counting, [&] { return corpus->open(); }); });
  if (const std::string note = corpus->reading_note(); !note.empty()) run.note("note: " + note);
  counts.unknown_id = corpus->unknown_id();
  return {std::move(counts), corpus->format_name(), corpus->vocabulary_json().value_or("")};
}

/// Whether the folder's vocab.json is the one that belongs to its counts: row i of an embedding is its type
/// i.
bool vocabulary_is_kept(const RunFolder& folder) {
  const auto hash = folder.recall(kVocabulary);
  if (!hash) return false;
  const std::string path = folder.file(kVocabularyFile);
  return hash->empty() || (std::filesystem::exists(path) && hash_of_file(path) == *hash);
}

}  // namespace

Counts load_counts(Context& ctx, const RunConfig& c, const Recipe& recipe) {
  auto loaded = load<Counts>(ctx.device(), c.counts_file, "");
  if (!loaded) throw InputError(c.counts_file + ": no such file");
  Counts counts = std::move(*loaded);
  if (counts.max_lag < c.lags)
    throw UsageError(fmt::format("{} holds {}, --lags asks for {}", c.counts_file,
                                 counted(counts.max_lag, "lag"), c.lags));
  counts.max_lag = c.lags;
  counts.lags.resize(static_cast<std::size_t>(c.lags));
  counts.pairs.resize(static_cast<std::size_t>(c.lags));
  if (recipe.reads_holdout) {
    try {
      (void)without_holdout(ctx, counts, counts.max_lag);
    } catch (const InputError& e) {
      throw InputError(c.counts_file + ": " + e.what());
    }
  }
  return counts;
}

CorpusFacts facts_of(const Counts& counts) {
  CorpusFacts out{counts.vocab, counts.tokens, true, shape_of(counts).entries};
  out.expected.frequencies = frequency_classes(counts.unigram, true);
  return out;
}

CountedCorpus obtain_counts(const CountingRun& run) {
  const std::string inputs = inputs_fingerprint(run.config);
  if (const auto known = run.folder.recall(kInputs);
      known && !inputs.empty() && *known == inputs && vocabulary_is_kept(run.folder)) {
    const std::string key = run.folder.recall(kKey).value_or("-");
    if (auto kept = run.stages.recall<Counts>(kCount, key)) {
      check_counts(run.config, *kept);
      run.settle(facts_of(*kept));
      return {{std::move(*kept), key}, run.folder.recall(kFormat).value_or("")};
    }
  }
  CountedNow now =
      run.config.counts_file.empty() ? count_corpus(run) : CountedNow{counts_of_file(run), "", ""};
  check_counts(run.config, now.counts);
  std::string key = key_of(now.counts);
  if (!now.vocabulary.empty()) write_file(run.folder.file(kVocabularyFile), now.vocabulary);
  run.stages.keep(kCount, now.counts, key);
  if (!inputs.empty()) {
    run.folder.remember({{kKey, key},
                         {kVocabulary, now.vocabulary.empty() ? "" : hash_of(now.vocabulary)},
                         {kFormat, now.format},
                         {kInputs, inputs}});
  }
  return {{std::move(now.counts), std::move(key)}, std::move(now.format)};
}

}  // namespace aloft
