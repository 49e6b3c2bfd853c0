#include "pipeline/analysis/analysis.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "pipeline/analysis/claims.hpp"
#include "pipeline/analysis/corpus_tables.hpp"
#include "pipeline/analysis/correlations.hpp"
#include "pipeline/analysis/drift.hpp"
#include "pipeline/analysis/weight_tables.hpp"
#include "pipeline/base/device_math.hpp"

namespace aloft::analysis {
namespace {

constexpr std::uint64_t kKernelBytes = std::uint64_t{512} << 20;  // of one circuit's kernels at a time

std::vector<double> widened(const std::vector<float>& x, std::int64_t rows, std::int64_t d) {
  return {x.begin(), x.begin() + rows * d};
}

/// The first `vocab` token rows of a model.
TokenRows token_rows(Context& ctx, const Model& model, std::int64_t vocab) {
  const std::int64_t d = model.shape.d_model;
  TokenRows out{matrix_from(ctx.device(), widened(model.embedding, vocab, d), vocab, d), {}};
  if (!model.head.empty()) out.head = matrix_from(ctx.device(), widened(model.head, vocab, d), vocab, d);
  return out;
}

/// Smoothed unigram; uniform without a corpus.
std::vector<double> unigram(const Counts* counts, std::int64_t vocab) {
  std::vector<double> p(static_cast<std::size_t>(vocab), 1.0 / static_cast<double>(vocab));
  if (counts == nullptr) return p;
  double sum = 0;
  for (const std::uint64_t n : counts->unigram) sum += static_cast<double>(n) + 0.5;
  for (std::size_t i = 0; i < p.size(); ++i) p[i] = (static_cast<double>(counts->unigram[i]) + 0.5) / sum;
  return p;
}

/// Everything of the corpus that layers are compared with.
struct CorpusSide {
  MatchSides match;
  std::unique_ptr<PairViews> views;
  std::unique_ptr<AttendedPairs> attended;
  std::unique_ptr<CorrelationSetup> correlation;
};

/// Runs one analysis: the corpus, then the null, then the layers, some at a time.
class Analyzer {
 public:
  Analyzer(Context& ctx, const Model& model, const Model* second, const Counts* counts,
           const AnalysisParams& params)
      : ctx_(ctx),
        model_(model),
        second_(second),
        counts_(counts),
        params_(params),
        shape_(model.shape),
        vocab_(counts == nullptr ? shape_.vocab : counts->vocab),
        rows_(token_rows(ctx, model, vocab_)),
        p_(unigram(counts, vocab_)),
        permutations_(shape_.d_model, params.permutations, params.seed, params.widest_permuted),
        match_(match_table()),
        correlations_(correlation_table()),
        bands_(band_table()),
        drift_(drift_table()) {}

  Analysis run() {
    Matrix token_gram(ctx_.device(), shape_.d_model, shape_.d_model);
    ctx_.linear().gemm(1, Op::transpose, rows_.e(), Op::none, rows_.u(), 0, token_gram.view());
    const MeasureSetup setup{
        shape_, token_gram.cview(),
        position_setup(model_.architecture, shape_, widened(model_.embedding, vocab_, shape_.d_model), p_,
                       model_.positions)};
    if (counts_ != nullptr) {
      const auto timed = ctx_.scope("corpus");
      read_corpus();
    }
    {
      const auto timed = ctx_.scope("null");
      draw(setup);
    }
    WeightTables of_weights(shape_, setup.positions, draws_, params_.seed, params_.permutations);
    if (second_ != nullptr && second_->shape.vocab >= vocab_)
      grams_ = std::make_unique<TokenGrams>(token_grams(ctx_, rows_, token_rows(ctx_, *second_, vocab_), p_));
    {
      const auto timed = ctx_.scope("layers");
      for (std::int64_t first = 0; first < shape_.layers; first += layers_at_a_time(shape_))
        measure(setup, of_weights, first, std::min(layers_at_a_time(shape_), shape_.layers - first));
    }
    return tables(of_weights);
  }

 private:
  void read_corpus() {
    const std::int64_t k = overlap_rows(shape_);
    // Pairs of shuffled text are alike at every distance: in wide models, whose matrices take long, its
    // neighbours stand for all.
    const Counts shuffled =
        count_shuffled_null(ctx_, *counts_, std::min(params_.null_tokens, counts_->tokens), params_.seed, {},
                            permutations_.by_formula() ? 1 : counts_->max_lag);
    out_.shuffled_tokens = shuffled.tokens;
    MatchSides& m = corpus_.match;
    m.tied = model_.head.empty();
    m.qk = lag_side(ctx_, transitions(ctx_, *counts_, rows_.e(), rows_.e()), k);
    m.shuffled_qk = lag_side(ctx_, transitions(ctx_, shuffled, rows_.e(), rows_.e()), 0);
    if (!m.tied) {
      m.ov = lag_side(ctx_, transitions(ctx_, *counts_, rows_.e(), rows_.u()), k);
      m.shuffled_ov = lag_side(ctx_, transitions(ctx_, shuffled, rows_.e(), rows_.u()), 0);
    }
    corpus_.views = std::make_unique<PairViews>(pair_views(ctx_, *counts_, rows_.e()));
    corpus_.attended = std::make_unique<AttendedPairs>(ctx_, *counts_, rows_);
    corpus_.correlation =
        std::make_unique<CorrelationSetup>(correlation_setup(ctx_, *corpus_.views, *corpus_.attended));
    out_.tables.push_back(corpus_table(ctx_, *counts_, m.qk, shuffled, m.shuffled_qk));
    out_.tables.push_back(frontier_table(m.qk));
  }

  void draw(const MeasureSetup& setup) {
    for (std::int64_t first = 0; first < params_.draws;) {
      ctx_.check_interrupt();
      const std::int64_t count = std::min(layers_at_a_time(shape_), params_.draws - first);
      draws_.push_back(measure_group(ctx_, setup, gaussian_group(ctx_, shape_, first, count, params_.seed),
                                     std::vector<bool>(static_cast<std::size_t>(count), true), {}, 0));
      first += count;
      report("null", first, params_.draws, "draws");
    }
  }

  void measure(const MeasureSetup& setup, WeightTables& of_weights, std::int64_t first, std::int64_t count) {
    std::vector<LayerHeads> heads, others;
    std::vector<LayerBias> bias;
    std::vector<bool> rotating;
    for (std::int64_t l = first; l < first + count; ++l) {
      ModelLayer layer = model_.layer(l);
      heads.push_back(std::move(layer.heads));
      bias.push_back(std::move(layer.bias));
      rotating.push_back(rotates(model_.architecture, l));
      if (second_ != nullptr) others.push_back(second_->layer(l).heads);
    }
    const LayerGroup group = group_of(ctx_, shape_, heads);
    const GroupMeasures measures =
        measure_group(ctx_, setup, group, rotating, bias, counts_ == nullptr ? 0 : overlap_rows(shape_));
    const MeasuredGroup measured{first, group, measures};
    of_weights.add(measured);
    if (counts_ != nullptr) {
      match_group(ctx_, shape_, corpus_.match, measured, draws_, shape_.layers, permutations_, match_);
      correlate_group(ctx_, shape_, *corpus_.correlation, measured, permutations_, correlations_, bands_);
    }
    if (second_ != nullptr)
      drift_group(ctx_, shape_, measured, group_of(ctx_, shape_, others), grams_.get(), permutations_,
                  drift_);
    report("layers", first + count, shape_.layers, "layers");
  }

  Analysis tables(WeightTables& of_weights) {
    of_weights.add_twinning();
    of_weights.add_labels();
    for (const MeasurementTable* t : {&of_weights.weights, &of_weights.profiles, &of_weights.twinning})
      out_.tables.push_back(t->settled());
    if (counts_ != nullptr)
      for (const MeasurementTable* t : {&correlations_, &bands_, &match_})
        out_.tables.push_back(t->settled());
    out_.tables.push_back(of_weights.heads.settled());
    if (second_ != nullptr) out_.tables.push_back(drift_.settled());
    if (!of_weights.positions.rows.empty()) out_.tables.push_back(std::move(of_weights.positions));
    out_.tables.push_back(std::move(of_weights.labels));
    if (counts_ != nullptr) add_lag_spectra(of_weights.spectra, corpus_.match.qk);
    out_.tables.push_back(std::move(of_weights.spectra));
    out_.tables.push_back(claims_table({of_weights.weights, of_weights.profiles, of_weights.twinning,
                                        of_weights.heads, match_, correlations_, bands_, drift_}));
    return std::move(out_);
  }

  void report(const char* stage, std::int64_t done, std::int64_t all, const char* unit) {
    ctx_.progress().update(stage, static_cast<double>(done), static_cast<double>(all),
                           static_cast<std::uint64_t>(done), unit);
  }

  Context& ctx_;
  const Model& model_;
  const Model* second_;
  const Counts* counts_;
  const AnalysisParams& params_;
  const ModelShape& shape_;
  std::int64_t vocab_;  ///< ids that are looked at: the corpus', or all
  TokenRows rows_;
  std::vector<double> p_;
  Permutations permutations_;
  CorpusSide corpus_;
  std::vector<GroupMeasures> draws_;
  std::unique_ptr<TokenGrams> grams_;
  MeasurementTable match_, correlations_, bands_, drift_;
  Analysis out_;
};

}  // namespace

std::int64_t layers_at_a_time(const ModelShape& s) {
  const std::uint64_t layer = matrix_bytes(s.d_model, s.d_model, s.heads + 1);
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(kKernelBytes / layer), 1, s.layers);
}

Analysis analyze(Context& ctx, const Model& model, const Model* second, const Counts* counts,
                 const AnalysisParams& params) {
  if (counts != nullptr && counts->vocab > model.shape.vocab)
    throw InputError("the counts have " + std::to_string(counts->vocab) + " ids and the model " +
                     std::to_string(model.shape.vocab) + ": count the corpus in the model's own ids");
  return Analyzer(ctx, model, second, counts, params).run();
}

}  // namespace aloft::analysis
