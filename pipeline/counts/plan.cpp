#include "pipeline/counts/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "host/byte_size.hpp"
#include "host/chunk_feed.hpp"
#include "host/error.hpp"
#include "pipeline/base/machine_memory.hpp"
#include "pipeline/counts/parts.hpp"

namespace aloft {
namespace {

constexpr std::int64_t kHostTableChunk = std::int64_t{1} << 20;    // ids of a chunk stay in a cache or two
constexpr std::int64_t kDeviceTableChunk = std::int64_t{1} << 22;  // long beside a launch and a copy's start
// A long chunk has long rows, and leaves few sums to be added up. A GPU sorts its pairs: they have to fit.
constexpr std::int64_t kHostSparseChunk = std::int64_t{1} << 26;
constexpr std::int64_t kDeviceSparseChunk = std::int64_t{1} << 22;
constexpr std::int64_t kLeastChunk = std::int64_t{1} << 14;  // below it, starting a chunk costs as much
constexpr std::uint64_t kUnknownTokensTable = std::uint64_t{256}
                                              << 20;  // a table this small is never a mistake
constexpr std::uint64_t kCsrEntry = sizeof(std::uint32_t) + sizeof(std::uint64_t);

/// More than any machine has; sums with it stay below 2^64.
constexpr std::uint64_t kBeyondAll = std::uint64_t{1} << 62;
std::uint64_t product(std::uint64_t a, std::uint64_t b) {
  std::uint64_t out = 0;
  return __builtin_mul_overflow(a, b, &out) ? kBeyondAll : std::min(out, kBeyondAll);
}

constexpr std::int32_t kMostPasses = 64;  // unasked: more take days where a little more memory takes minutes
constexpr double kUsualGrowth = 0.83;  // of the number of different pairs with the text's length (Heaps' law)
constexpr double kUnknownTokens = 64;  // a pipe is taken for a text with so many tokens for each id

class Planner {
 public:
  Planner(const CountParams& p, const CountOps& ops)
      : p_(p),
        ops_(ops),
        v_(static_cast<std::uint64_t>(p.vocab)),
        lags_(static_cast<std::uint64_t>(p.max_lag)) {
    base_.on_device = p.device_bytes > 0;
    host_budget_ = left_of(p.memory_bytes, p.program_bytes);  // the program's share comes first
    base_.budget_bytes = base_.on_device ? p.device_bytes : host_budget_;
    base_.result_bytes = result_bytes();
    row_bytes_ = lags_ * v_ * sizeof(std::uint32_t);
  }

  [[nodiscard]] CountPlan choose() const {
    if (p_.strategy == CountStrategy::dense) return accept(dense(), "asked for");
    if (p_.strategy == CountStrategy::sparse) return accept(sparse(), "asked for");
    if (p_.strategy == CountStrategy::striped) {
      const CountPlan plan = striped();
      if (plan.stripes > 1 && !p_.repeatable)
        throw UsageError("striped counting reads the corpus once a stripe: give it as a file, not a pipe");
      return accept(plan, stripes_of(plan) + ": asked for");
    }
    const std::string counters = readable_bytes(product(v_, row_bytes_)) + " of counters";
    const bool filled = p_.expected_tokens > 0 ? v_ * v_ <= product(4, p_.expected_tokens)
                                               : product(v_, row_bytes_) <= kUnknownTokensTable;
    if (filled && fits(dense())) return accept(dense(), counters + " fit, and the corpus fills them");
    // Reading the tokens once more costs about what one lag costs, and sorting pairs about twice what
    // counting them in a table does: up to as many passes as there are lags, stripes are no slower.
    const CountPlan stripes = striped(), sorting = sparse();
    const bool few = stripes.stripes <= std::max<std::int32_t>(2, p_.max_lag);
    if (p_.repeatable && fits(stripes) && stripes.stripes <= kMostPasses) {
      if (filled && few)
        return accept(stripes,
                      fmt::format("{}: {} do not fit {} at once, and {} passes cost less than sorting",
                                  stripes_of(stripes), counters, readable_bytes(stripes.budget_bytes),
                                  stripes.stripes));
      if (!fits(sorting))
        return accept(
            stripes, stripes_of(stripes) + ": sorting would not fit " + readable_bytes(stripes.budget_bytes));
    }
    return accept(sorting, counters + (!filled         ? " would stay nearly empty"
                                       : p_.repeatable ? " would take too many passes"
                                                       : " do not fit, and a pipe is read once"));
  }

 private:
  [[nodiscard]] bool fits(const CountPlan& plan) const {
    return (plan.budget_bytes == 0 || plan.total_bytes() <= plan.budget_bytes) && staging_fits(plan);
  }
  [[nodiscard]] bool staging_fits(const CountPlan& plan) const {
    return !plan.on_device || host_budget_ == 0 || plan.staging_bytes <= host_budget_;
  }

  [[nodiscard]] CountPlan accept(CountPlan plan, std::string reason) const {
    plan.reason = std::move(reason);
    if (plan.strategy != CountStrategy::sparse) plan.dense_kernel = ops_.dense_kernel(p_.vocab, p_.max_lag);
    const auto refuse = [&](std::uint64_t need, std::uint64_t allowed, const char* kind, const char* flag) {
      throw ResourceError(fmt::format(
          "counting {} ids at {} lags ({}) needs about {}{}, {} are allowed: raise {} to {}, or lower "
          "--vocab-size or --lags",
          p_.vocab, p_.max_lag, strategy_name(plan.strategy), readable_bytes(need), kind,
          readable_bytes(allowed), flag, size_argument(need)));
    };
    if (plan.on_device && plan.budget_bytes > 0 && plan.total_bytes() > plan.budget_bytes)
      refuse(plan.total_bytes(), plan.budget_bytes, " of device memory", "--device-memory");
    const std::uint64_t on_host = plan.on_device ? plan.staging_bytes : plan.total_bytes();
    if (host_budget_ > 0 && on_host > host_budget_)
      refuse(p_.program_bytes + on_host + kDifferenceOfStarts, p_.memory_bytes, "", "--memory");
    return plan;
  }

  [[nodiscard]] static std::string stripes_of(const CountPlan& plan) {
    return fmt::format("{} stripe{} of {} rows", plan.stripes, plan.stripes == 1 ? "" : "s",
                       plan.stripe_rows);
  }

  // Chunks of at most `longest` tokens, shorter where the corpus is, or where they would take more than an
  // eighth of the memory. Few chunks are equally long: what is longer is never full.
  [[nodiscard]] std::int64_t chunk_tokens(std::int64_t longest, std::uint64_t bytes_per_token) const {
    if (p_.chunk_tokens > 0) return p_.chunk_tokens;
    std::int64_t chunk = longest;
    if (p_.expected_tokens > 0 && p_.expected_tokens < static_cast<std::uint64_t>(chunk))
      chunk = static_cast<std::int64_t>(p_.expected_tokens);
    if (base_.budget_bytes > 0)
      chunk = std::min<std::int64_t>(
          chunk, static_cast<std::int64_t>(std::min<std::uint64_t>(base_.budget_bytes / 8 / bytes_per_token,
                                                                   static_cast<std::uint64_t>(longest))));
    chunk = std::max(chunk, kLeastChunk);
    const auto tokens = static_cast<std::int64_t>(std::min(p_.expected_tokens, kBeyondAll));
    if (tokens > chunk && chunks_of(tokens, chunk) <= ChunkRing::kSlots)
      chunk = chunks_of(tokens, chunks_of(tokens, chunk));
    return std::max(chunk, kLeastChunk);
  }
  [[nodiscard]] static std::int64_t chunks_of(std::int64_t tokens, std::int64_t chunk) {
    return (tokens + chunk - 1) / chunk;
  }

  /// made(chunk), with chunks of `first` tokens, and of half as many for as long as it does not fit.
  template <class Make>
  [[nodiscard]] CountPlan with_chunks(std::int64_t first, const Make& made) const {
    CountPlan plan = made(first);
    for (std::int64_t chunk = first; p_.chunk_tokens == 0 && !fits(plan) && chunk > kLeastChunk;) {
      chunk = std::max(chunk / 2, kLeastChunk);
      plan = made(chunk);
    }
    return plan;
  }

  // Ids of a chunk where it is counted; the ring's slots hold them on the host.
  void add_chunks(CountPlan& plan, int copies) const {
    if (p_.expected_tokens > 0)
      plan.chunks_at_once = static_cast<std::int32_t>(std::min<std::int64_t>(
          chunks_of(static_cast<std::int64_t>(std::min(p_.expected_tokens, kBeyondAll)), plan.chunk_tokens),
          ChunkRing::kSlots));
    const std::uint64_t chunk = (static_cast<std::uint64_t>(plan.chunk_tokens) + lags_) * sizeof(TokenId);
    const std::uint64_t ring = static_cast<std::uint64_t>(plan.chunks_at_once) * chunk;
    if (plan.on_device) plan.staging_bytes = ring;
    const auto lanes = static_cast<std::uint64_t>(ChunkFeed::lanes(plan.chunks_at_once));
    plan.workspace_bytes +=
        (plan.on_device ? lanes * chunk : ring) + static_cast<std::uint64_t>(copies) * chunk;
    plan.workspace_bytes += v_ * sizeof(std::uint64_t);  // the unigram
  }

  [[nodiscard]] std::int64_t table_chunk() const {
    return chunk_tokens(base_.on_device ? kDeviceTableChunk : kHostTableChunk,
                        (ChunkRing::kSlots + 1) * sizeof(TokenId));
  }
  [[nodiscard]] CountPlan table(CountStrategy strategy, std::int64_t rows, std::int64_t chunk) const {
    CountPlan plan = base_;
    plan.strategy = strategy;
    plan.chunk_tokens = chunk;
    add_chunks(plan, 1);                                 // and its renumbered copy
    plan.workspace_bytes += v_ * sizeof(TokenId);        // its rank
    plan.workspace_bytes += v_ * sizeof(std::uint64_t);  // row lengths while a table is compacted
    // Parts of different rows have together the size of the result, parts of the same rows at most twice
    // that.
    if (p_.expected_tokens >= p_.flush_after) plan.workspace_bytes += plan.result_bytes;
    if (p_.expected_tokens >= p_.flush_after || rows < p_.vocab) plan.workspace_bytes += adding_bytes();
    plan.stripes = static_cast<std::int32_t>((p_.vocab + rows - 1) / rows);
    plan.stripe_rows = (p_.vocab + plan.stripes - 1) / plan.stripes;
    // As many parts wait to be added up as accumulator.cpp's binary counter has digits, each with offsets of
    // all rows at every lag.
    const std::uint64_t flushes =
        product(static_cast<std::uint64_t>(plan.stripes), 1 + p_.expected_tokens / p_.flush_after);
    plan.workspace_bytes += static_cast<std::uint64_t>(std::bit_width(flushes) - 1) * offsets_bytes();
    plan.table_bytes = product(static_cast<std::uint64_t>(plan.stripe_rows), row_bytes_);
    return plan;
  }
  [[nodiscard]] CountPlan dense() const {
    return with_chunks(table_chunk(),
                       [&](std::int64_t chunk) { return table(CountStrategy::dense, p_.vocab, chunk); });
  }

  // The highest stripes that fit; one row where not even that does.
  [[nodiscard]] CountPlan striped() const {
    return with_chunks(table_chunk(), [&](std::int64_t chunk) {
      const std::int64_t most = p_.stripe_rows > 0 ? std::min(p_.stripe_rows, p_.vocab) : p_.vocab;
      const CountPlan whole = table(CountStrategy::striped, most, chunk);
      if (p_.stripe_rows > 0 || fits(whole)) return whole;
      CountPlan plan = table(CountStrategy::striped, 1, chunk);
      for (;;) {  // what is left for the table; fewer stripes then leave more
        const std::uint64_t rest = plan.total_bytes() - plan.table_bytes,
                            left = plan.budget_bytes - std::min(plan.budget_bytes, rest);
        const auto rows = static_cast<std::int64_t>(std::clamp<std::uint64_t>(left / row_bytes_, 1, v_));
        if (rows <= plan.stripe_rows) return plan;
        const CountPlan higher = table(CountStrategy::striped, rows, chunk);
        if (higher.stripe_rows <= plan.stripe_rows) return plan;
        plan = higher;
      }
    });
  }

  [[nodiscard]] std::uint64_t sparse_work(std::int64_t n) const {
    return ops_.sparse_workspace_bytes(n, p_.vocab, p_.max_lag);
  }
  [[nodiscard]] CountPlan sparse() const {
    std::int64_t first = chunk_tokens(base_.on_device ? kDeviceSparseChunk : kHostSparseChunk,
                                      ChunkRing::kSlots * sizeof(TokenId));
    if (p_.chunk_tokens == 0 && base_.budget_bytes > 0)
      while (first > kLeastChunk && sparse_work(first) > base_.budget_bytes / 3)
        first = std::max(first / 2, kLeastChunk);
    return with_chunks(first, [&](std::int64_t chunk) { return sparse(chunk); });
  }
  [[nodiscard]] CountPlan sparse(std::int64_t chunk) const {
    CountPlan plan = base_;
    plan.strategy = CountStrategy::sparse;
    plan.stripe_rows = p_.vocab;
    plan.chunk_tokens = chunk;
    add_chunks(plan, 0);
    // A chunk's results are part of its work, there with every pair distinct.
    const auto tokens = static_cast<std::uint64_t>(plan.chunk_tokens);
    PartsShape parts;
    parts.largest = lags_ * tokens * kCsrEntry;
    parts.offsets = offsets_bytes();
    parts.counting = sparse_work(chunk) - std::min(sparse_work(chunk), parts.largest + parts.offsets);
    parts.result = plan.result_bytes - std::min(plan.result_bytes, parts.offsets);
    parts.growth = p_.expected_entries.empty() ? kUsualGrowth : p_.expected_growth;
    const double all = p_.expected_tokens == 0 ? static_cast<double>(v_) * kUnknownTokens
                                               : static_cast<double>(p_.expected_tokens);
    parts.chunks = std::max(1.0, all / static_cast<double>(tokens));
    parts.lags = p_.max_lag;
    const std::uint64_t most = most_bytes_of_parts(parts);
    plan.workspace_bytes += most - std::min(most, plan.result_bytes);
    return plan;
  }

  /// Of a result, beside its entries.
  [[nodiscard]] std::uint64_t offsets_bytes() const { return lags_ * (v_ + 1) * sizeof(std::uint64_t); }
  // Parts are added up lag by lag: next to them are one lag's sum, and a number for each entry of a part.
  [[nodiscard]] std::uint64_t adding_bytes() const { return 2 * base_.result_bytes / lags_; }

  // Distinct pairs at one lag grow more slowly than the text (Heaps' law). 4·N^0.83 is 1.5 to 2 times what
  // English text of 10^6 to 3·10^6 tokens shows at lag 8, the fullest; never more than all cells or all
  // tokens.
  [[nodiscard]] std::uint64_t result_bytes() const {
    if (!p_.expected_entries.empty()) return CountsShape{p_.vocab, p_.expected_entries}.bytes();
    const auto v = static_cast<double>(p_.vocab);
    const double tokens =
        p_.expected_tokens == 0 ? v * kUnknownTokens : static_cast<double>(p_.expected_tokens);
    const double pairs = std::min({v * v, tokens, 4 * std::pow(tokens, kUsualGrowth)});
    return lags_ * (static_cast<std::uint64_t>(pairs) * kCsrEntry + (v_ + 1) * sizeof(std::uint64_t));
  }

  const CountParams& p_;
  const CountOps& ops_;
  const std::uint64_t v_, lags_;
  std::uint64_t row_bytes_ = 0;    ///< counters of one source id, all lags
  std::uint64_t host_budget_ = 0;  ///< for counting alone; 0: no limit
  CountPlan base_;
};

}  // namespace

std::string strategy_name(CountStrategy s) {
  switch (s) {
    case CountStrategy::dense:
      return "dense";
    case CountStrategy::striped:
      return "striped";
    case CountStrategy::sparse:
      return "sparse";
    case CountStrategy::automatic:
      break;
  }
  return "automatic";
}

CountPlan plan_count(const CountParams& p, const CountOps& ops) { return Planner(p, ops).choose(); }

}  // namespace aloft
