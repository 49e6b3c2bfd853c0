#include <fmt/format.h>

#include <memory>

#include "host/chunk_feed.hpp"
#include "host/error.hpp"
#include "host/hash.hpp"
#include "pipeline/counts/accumulator.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/counts/holdout.hpp"
#include "pipeline/counts/plan.hpp"

namespace aloft {
namespace {

CountCsr empty_csr(Device& device, std::int64_t vocab) {
  return {vocab, vocab, zeros<std::uint64_t>(device, static_cast<std::size_t>(vocab + 1)),
          Buffer<std::uint32_t>(device, 0), Buffer<std::uint64_t>(device, 0)};
}

// Lets go of the source however a pass ends: the source is destroyed before the feed.
struct PassEnd {
  ChunkFeed& feed;
  ~PassEnd() { feed.end_pass(); }
};

// Streams the corpus once for each stripe. The host only queues work: it waits for the device where a result
// has a size that depends on the data, and never runs ahead of it by more than the feed's buffers.
class Counting {
 public:
  Counting(Context& ctx, const CountParams& p)
      : ctx_(ctx),
        p_(p),
        plan_(plan_count(p, ctx.count())),
        unigram_(zeros<std::uint64_t>(ctx.device(), static_cast<std::size_t>(p.vocab))),
        feed_(ctx.device(), plan_.chunk_tokens, p.max_lag, plan_.chunks_at_once),
        accumulator_(make_accumulator(ctx, p, plan_)) {}

  void pass(TokenSource& corpus) {
    const TraceRange range(ctx_.device(), fmt::format("pass {}", passes_).c_str());
    accumulator_->begin_pass(passes_);
    Hash hash;
    HoldoutSource held(corpus, p_.max_lag);
    {
      const PassEnd end{feed_};
      feed_.begin_pass(passes_ == 0 ? static_cast<TokenSource&>(held) : corpus);
      while (const auto chunk = feed_.next()) {
        ctx_.check_interrupt();
        const TraceRange chunk_range(ctx_.device(), fmt::format("chunk {}", chunks_++).c_str());
        const TokenChunk view{chunk->ids, chunk->n_from, chunk->halo};
        if (passes_ == 0) ctx_.count().count_tokens(view, unigram_.data(), p_.vocab);
        accumulator_->add(view, unigram_);
        hash.update(chunk->host.data(), static_cast<std::size_t>(chunk->n_from) * sizeof(TokenId));
        streamed_ += static_cast<std::uint64_t>(chunk->n_from);
        report(corpus.position());
      }
    }
    if (passes_ == 0) holdout_ = held.take();
    if (passes_++ == 0) hash_ = hash.hex();
    if (hash.hex() != hash_) throw InputError("the corpus changed while it was counted: run again");
  }

  [[nodiscard]] std::int32_t passes() const { return plan_.stripes; }

  [[nodiscard]] Counts finish() {
    Counts out;
    out.holdout = std::move(holdout_);
    out.vocab = p_.vocab;
    out.max_lag = p_.max_lag;
    out.corpus_hash = hash_;
    out.unigram = to_host(unigram_);
    for (const std::uint64_t n : out.unigram) out.tokens += n;
    out.lags = accumulator_->finish();
    while (out.lags.size() < static_cast<std::size_t>(p_.max_lag))
      out.lags.push_back(empty_csr(ctx_.device(), p_.vocab));
    for (const CountCsr& lag : out.lags) out.pairs.push_back(ctx_.count().total(lag.view()));
    return out;
  }

 private:
  void report(TokenSource::Position at) {
    const auto passes = static_cast<double>(plan_.stripes), total = static_cast<double>(at.total);
    ctx_.progress().update("count", static_cast<double>(passes_) * total + static_cast<double>(at.done),
                           passes * total, streamed_, "tokens");
  }

  Context& ctx_;
  const CountParams& p_;
  const CountPlan plan_;
  Buffer<std::uint64_t> unigram_;
  ChunkFeed feed_;
  std::unique_ptr<Accumulator> accumulator_;
  std::int32_t passes_ = 0;
  std::uint64_t chunks_ = 0, streamed_ = 0;
  std::string hash_;
  Holdout holdout_;
};

}  // namespace

Counts count_transitions(Context& ctx, const CountParams& p, const OpenPass& open) {
  expects(p.vocab >= 1 && p.max_lag >= 1, "counting needs a vocabulary and a lag");
  Counting counting(ctx, p);
  for (std::int32_t pass = 0; pass < counting.passes(); ++pass) {
    const auto source = open();
    counting.pass(*source);
  }
  return counting.finish();
}

void require_pairs(const Counts& counts, const std::string& path) {
  if (counts.pairs.front() > 0) return;
  const std::string origin = path == "-" ? "stdin" : path;
  throw InputError(
      counts.tokens < 2
          ? origin + ": holds fewer than two tokens, so there is no pair to count"
          : fmt::format("{}: each of its {} documents is a single token, so there is no pair to count",
                        origin, counts.tokens));
}

}  // namespace aloft
