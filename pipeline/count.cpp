#include <fmt/format.h>

#include <optional>

#include "host/chunk_ring.hpp"
#include "host/error.hpp"
#include "host/hash.hpp"
#include "pipeline/count_plan.hpp"
#include "pipeline/offset/holdout.hpp"
#include "pipeline/stages.hpp"

namespace aloft {
namespace {

using LagCsrs = std::vector<CountCsr>;

// Adds up CSRs of all lags as a binary counter does: equals meet equals, so each entry is merged only
// log2(parts) times.
class CsrSum {
 public:
  explicit CsrSum(CountOps& ops) : ops_(ops) {}

  void add(LagCsrs part) {
    parts_.push_back({std::move(part), 1});
    while (parts_.size() > 1 && parts_[parts_.size() - 2].weight <= parts_.back().weight) merge_last_two();
  }
  [[nodiscard]] LagCsrs finish() {
    while (parts_.size() > 1) merge_last_two();
    return parts_.empty() ? LagCsrs{} : std::move(parts_[0].lags);
  }

 private:
  struct Part {
    LagCsrs lags;
    std::int64_t weight;
  };
  void merge_last_two() {
    Part b = std::move(parts_.back());
    parts_.pop_back();
    Part& a = parts_.back();
    for (std::size_t l = 0; l < a.lags.size(); ++l) {
      a.lags[l] = ops_.add(a.lags[l].view(), b.lags[l].view());
      b.lags[l] = {};
    }
    a.weight += b.weight;
  }
  CountOps& ops_;
  std::vector<Part> parts_;
};

// One way of counting chunk by chunk. finish() may be called once.
class Accumulator {
 public:
  Accumulator(Context& ctx, const CountParams& p) : ctx_(ctx), p_(p), sum_(ctx.count()) {}
  Accumulator(const Accumulator&) = delete;
  Accumulator& operator=(const Accumulator&) = delete;
  virtual ~Accumulator() = default;
  virtual void add(TokenChunk chunk) = 0;
  [[nodiscard]] virtual LagCsrs finish() = 0;

 protected:
  Context& ctx_;
  const CountParams& p_;
  CsrSum sum_;
};

class DenseAccumulator final : public Accumulator {
 public:
  DenseAccumulator(Context& ctx, const CountParams& p) : Accumulator(ctx, p) {}
  void add(TokenChunk chunk) override {
    const auto n = static_cast<std::uint64_t>(chunk.n_from);
    if (counted_ + n >= p_.flush_after) flush();  // before any u32 counter can overflow
    if (!table_) {
      table_ =
          zeros<std::uint32_t>(ctx_.device(), static_cast<std::size_t>(p_.max_lag * p_.vocab * p_.vocab));
    }
    ctx_.count().count_pairs_dense(chunk, counts());
    counted_ += n;
  }
  LagCsrs finish() override {
    if (table_) flush();
    return sum_.finish();
  }

 private:
  DenseCounts counts() { return {table_->data(), p_.max_lag, p_.vocab, 0, p_.vocab}; }
  void flush() {
    if (counted_ == 0) return;
    LagCsrs part;
    for (std::int32_t lag = 1; lag <= p_.max_lag; ++lag)
      part.push_back(ctx_.count().compact(counts(), lag, nullptr));
    sum_.add(std::move(part));
    table_.reset();
    counted_ = 0;
  }
  std::optional<Buffer<std::uint32_t>> table_;
  std::uint64_t counted_ = 0;  ///< positions since the table was zero
};

class SparseAccumulator final : public Accumulator {
 public:
  SparseAccumulator(Context& ctx, const CountParams& p) : Accumulator(ctx, p) {}
  void add(TokenChunk chunk) override {
    sum_.add(ctx_.count().count_pairs_sparse(chunk, p_.vocab, p_.max_lag));
  }
  LagCsrs finish() override { return sum_.finish(); }
};

CountCsr empty_csr(Device& device, std::int64_t vocab) {
  CountCsr out{vocab, vocab, zeros<std::uint64_t>(device, static_cast<std::size_t>(vocab + 1)),
               Buffer<std::uint32_t>(device, 0), Buffer<std::uint64_t>(device, 0)};
  return out;
}

}  // namespace

Counts count_transitions(Context& ctx, const CountParams& p, TokenSource& corpus) {
  expects(p.vocab >= 1 && p.max_lag >= 1, "counting needs a vocabulary and a lag");
  const CountPlan plan = plan_count(p);
  Device& device = ctx.device();
  std::unique_ptr<Accumulator> accumulator;
  if (plan.strategy == CountStrategy::dense) {
    accumulator = std::make_unique<DenseAccumulator>(ctx, p);
  } else {
    accumulator = std::make_unique<SparseAccumulator>(ctx, p);
  }
  auto unigram = zeros<std::uint64_t>(device, static_cast<std::size_t>(p.vocab));
  Hash hash;
  std::uint64_t positions = 0;
  HoldoutSource held(corpus, p.max_lag);
  {
    ChunkRing ring(held, plan.chunk_tokens, p.max_lag);
    Buffer<TokenId> staged;
    while (const auto chunk = ring.next()) {
      ctx.check_interrupt();
      const TokenId* ids = chunk->ids.data();
      if (!device.shares_host_memory()) {
        staged = to_device(device, chunk->ids);
        ids = staged.data();
      }
      const TokenChunk view{ids, chunk->n_from, chunk->halo};
      ctx.count().count_tokens(view, unigram.data(), p.vocab);
      accumulator->add(view);
      hash.update(chunk->ids.data(), static_cast<std::size_t>(chunk->n_from) * sizeof(TokenId));
      device.synchronize();
      positions += static_cast<std::uint64_t>(chunk->n_from);
      const auto at = corpus.position();
      ctx.progress().update("count", static_cast<double>(at.done), static_cast<double>(at.total), positions,
                            "tokens");
    }
  }
  Counts out;
  out.holdout = held.take();
  out.vocab = p.vocab;
  out.max_lag = p.max_lag;
  out.corpus_hash = hash.hex();
  out.unigram = to_host(unigram);
  for (const std::uint64_t n : out.unigram) out.tokens += n;
  out.lags = accumulator->finish();
  while (out.lags.size() < static_cast<std::size_t>(p.max_lag))
    out.lags.push_back(empty_csr(device, p.vocab));
  for (const CountCsr& lag : out.lags) out.pairs.push_back(ctx.count().total(lag.view()));
  return out;
}

void require_pairs(const Counts& counts, const std::string& origin) {
  if (counts.pairs.front() > 0) return;
  throw InputError(
      counts.tokens < 2
          ? origin + ": holds fewer than two tokens, so there is no pair to count"
          : fmt::format("{}: each of its {} documents is a single token, so there is no pair to count",
                        origin, counts.tokens));
}

}  // namespace aloft
