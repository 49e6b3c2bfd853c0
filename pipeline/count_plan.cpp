#include "pipeline/count_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "host/error.hpp"

namespace aloft {
namespace {

constexpr std::int64_t kDenseChunk = std::int64_t{1} << 20;   // ids of a chunk stay in a cache or two
constexpr std::int64_t kSparseChunk = std::int64_t{1} << 22;  // long, so that rows are long and merges few
constexpr std::uint64_t kUnknownTokensTable = std::uint64_t{256}
                                              << 20;  // a table this small is never a mistake
constexpr std::uint64_t kCsrEntry = sizeof(std::uint32_t) + sizeof(std::uint64_t);

CountPlan dense_plan(const CountParams& p) {
  const auto v = static_cast<std::uint64_t>(p.vocab), lags = static_cast<std::uint64_t>(p.max_lag);
  CountPlan plan;
  plan.strategy = CountStrategy::dense;
  plan.chunk_tokens = p.chunk_tokens > 0 ? p.chunk_tokens : kDenseChunk;
  plan.table_bytes = lags * v * v * sizeof(std::uint32_t);
  plan.workspace_bytes = 2 * static_cast<std::uint64_t>(plan.chunk_tokens) * sizeof(TokenId);
  return plan;
}

CountPlan sparse_plan(const CountParams& p) {
  const auto v = static_cast<std::uint64_t>(p.vocab), lags = static_cast<std::uint64_t>(p.max_lag);
  CountPlan plan;
  plan.strategy = CountStrategy::sparse;
  // Per token: two read-ahead buffers, its position and reach; its share of the rows before and after
  // stitching.
  const std::uint64_t per_token = 2 * sizeof(TokenId) + 5 + lags * (2 * kCsrEntry);
  std::int64_t chunk = kSparseChunk;
  if (p.expected_tokens > 0)
    chunk = std::min<std::int64_t>(chunk, static_cast<std::int64_t>(p.expected_tokens));
  if (p.memory_bytes > 0)
    chunk = std::min(
        chunk, std::max<std::int64_t>(1 << 14, static_cast<std::int64_t>(p.memory_bytes / 3 / per_token)));
  plan.chunk_tokens = p.chunk_tokens > 0 ? p.chunk_tokens : chunk;
  plan.workspace_bytes =
      static_cast<std::uint64_t>(plan.chunk_tokens) * per_token + lags * v * sizeof(std::uint64_t);
  return plan;
}

// Distinct pairs at one lag grow more slowly than the text (Heaps' law). 4·N^0.83 is 1.5 to 2 times what
// English text of 10^6 to 3·10^6 tokens shows at lag 8, the fullest; never more than all cells or all tokens.
std::uint64_t result_bytes(const CountParams& p) {
  const auto v = static_cast<double>(p.vocab);
  const double tokens = p.expected_tokens == 0 ? v * 64 : static_cast<double>(p.expected_tokens);
  const double pairs = std::min({v * v, tokens, 4 * std::pow(tokens, 0.83)});
  return static_cast<std::uint64_t>(p.max_lag) *
         (static_cast<std::uint64_t>(pairs) * kCsrEntry +
          static_cast<std::uint64_t>(p.vocab + 1) * sizeof(std::uint64_t));
}

std::string mib(std::uint64_t bytes) {
  return fmt::format("{:.0f} MiB", static_cast<double>(bytes) / (1 << 20));
}

}  // namespace

std::string strategy_name(CountStrategy s) {
  switch (s) {
    case CountStrategy::dense:
      return "dense";
    case CountStrategy::sparse:
      return "sparse";
    case CountStrategy::automatic:
      break;
  }
  return "automatic";
}

CountPlan plan_count(const CountParams& p) {
  CountPlan dense = dense_plan(p), sparse = sparse_plan(p);
  dense.result_bytes = sparse.result_bytes = result_bytes(p);
  const auto fits = [&](const CountPlan& plan) {
    return p.memory_bytes == 0 || plan.total_bytes() <= p.memory_bytes;
  };
  const auto cells = static_cast<std::uint64_t>(p.vocab) * static_cast<std::uint64_t>(p.vocab);
  const bool worth =
      p.expected_tokens > 0 ? cells <= 4 * p.expected_tokens : dense.table_bytes <= kUnknownTokensTable;

  CountPlan plan;
  if (p.strategy == CountStrategy::dense) {
    plan = dense;
    plan.reason = "asked for";
  } else if (p.strategy == CountStrategy::sparse) {
    plan = sparse;
    plan.reason = "asked for";
  } else if (worth && fits(dense)) {
    plan = dense;
    plan.reason = fmt::format("{} of counters fit, and the corpus fills them", mib(dense.table_bytes));
  } else {
    plan = sparse;
    plan.reason = worth ? fmt::format("{} of counters would not fit", mib(dense.table_bytes))
                        : fmt::format("{} of counters would stay nearly empty", mib(dense.table_bytes));
  }
  if (!fits(plan))
    throw ResourceError(fmt::format(
        "counting {} ids at {} lags ({}) needs about {}, {} are allowed: raise --memory, or "
        "lower --vocab-size or --lags",
        p.vocab, p.max_lag, strategy_name(plan.strategy), mib(plan.total_bytes()), mib(p.memory_bytes)));
  return plan;
}

}  // namespace aloft
