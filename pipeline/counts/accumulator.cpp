#include "pipeline/counts/accumulator.hpp"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "pipeline/counts/frequency_rank.hpp"

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

// Dense and striped: one table, taken with the first chunk and used again for every stripe and after every
// flush. Its rows and columns are ids in order of frequency where that is not their order already.
class TableAccumulator final : public Accumulator {
 public:
  TableAccumulator(Context& ctx, const CountParams& p, const CountPlan& plan)
      : ctx_(ctx), p_(p), plan_(plan), sum_(ctx.count()) {}

  void begin_pass(std::int32_t pass) override {
    flush();
    counts_.row_begin = pass * plan_.stripe_rows;
    counts_.n_rows = std::min(plan_.stripe_rows, p_.vocab - counts_.row_begin);
  }

  void add(TokenChunk chunk, const Buffer<std::uint64_t>& unigram) override {
    if (!table_) prepare(unigram);
    const auto n = static_cast<std::uint64_t>(chunk.n_from);
    if (counted_ + n >= p_.flush_after) flush();  // before any u32 counter can overflow
    if (rank_) {
      ctx_.count().remap(chunk, rank_->data(), renumbered_->data());
      chunk.ids = renumbered_->data();
    }
    ctx_.count().count_pairs_dense(chunk, counts_);
    counted_ += n;
  }

  LagCsrs finish() override {
    flush();
    table_.reset();  // makes room for the last sums
    return sum_.finish();
  }

 private:
  [[nodiscard]] std::size_t cells() const {
    return static_cast<std::size_t>(p_.max_lag * plan_.stripe_rows * p_.vocab);
  }
  [[nodiscard]] const TokenId* rank() const { return rank_ ? rank_->data() : nullptr; }

  void prepare(const Buffer<std::uint64_t>& unigram) {
    Device& device = ctx_.device();
    if (const auto rank = frequency_rank(to_host(unigram))) {
      rank_ = to_device(device, std::span(*rank));
      renumbered_.emplace(device, static_cast<std::size_t>(plan_.chunk_tokens + p_.max_lag));
    }
    table_ = zeros<std::uint32_t>(device, cells());
    counts_.data = table_->data();
    counts_.max_lag = p_.max_lag;
    counts_.vocab = p_.vocab;
  }

  void flush() {
    if (counted_ == 0) return;
    LagCsrs part;
    for (std::int32_t lag = 1; lag <= p_.max_lag; ++lag)
      part.push_back(ctx_.count().compact(counts_, lag, rank()));
    sum_.add(std::move(part));
    ctx_.device().zero(table_->data(), cells() * sizeof(std::uint32_t));
    counted_ = 0;
  }

  Context& ctx_;
  const CountParams& p_;
  const CountPlan& plan_;
  CsrSum sum_;
  DenseCounts counts_;
  std::optional<Buffer<std::uint32_t>> table_;
  std::optional<Buffer<TokenId>> rank_;        // [vocab]
  std::optional<Buffer<TokenId>> renumbered_;  // [chunk + max_lag]
  std::uint64_t counted_ = 0;                  // positions since the table was zero
};

class SparseAccumulator final : public Accumulator {
 public:
  SparseAccumulator(Context& ctx, const CountParams& p) : ctx_(ctx), p_(p), sum_(ctx.count()) {}
  void begin_pass(std::int32_t) override {}
  void add(TokenChunk chunk, const Buffer<std::uint64_t>&) override {
    sum_.add(ctx_.count().count_pairs_sparse(chunk, p_.vocab, p_.max_lag));
  }
  LagCsrs finish() override { return sum_.finish(); }

 private:
  Context& ctx_;
  const CountParams& p_;
  CsrSum sum_;
};

}  // namespace

std::unique_ptr<Accumulator> make_accumulator(Context& ctx, const CountParams& p, const CountPlan& plan) {
  if (plan.strategy == CountStrategy::sparse) return std::make_unique<SparseAccumulator>(ctx, p);
  return std::make_unique<TableAccumulator>(ctx, p, plan);
}

}  // namespace aloft
