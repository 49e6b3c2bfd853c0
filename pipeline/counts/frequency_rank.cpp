#include "pipeline/counts/frequency_rank.hpp"

#include <algorithm>
#include <numeric>

namespace aloft {
namespace {

constexpr std::size_t kSmall = 256;    // ids
constexpr std::size_t kHeadShare = 8;  // the head is an eighth of the ids
constexpr double kNearly = 0.9;        // of what the best head covers

}  // namespace

std::optional<std::vector<TokenId>> frequency_rank(const std::vector<std::uint64_t>& counts) {
  if (counts.size() <= kSmall) return std::nullopt;
  std::vector<TokenId> order(counts.size());
  std::iota(order.begin(), order.end(), TokenId{0});
  std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) { return counts[a] > counts[b]; });
  double now = 0, best = 0;
  for (std::size_t i = 0; i < counts.size() / kHeadShare; ++i) {
    now += static_cast<double>(counts[i]);
    best += static_cast<double>(counts[order[i]]);
  }
  if (now >= kNearly * best) return std::nullopt;
  std::vector<TokenId> rank(counts.size());
  for (std::size_t r = 0; r < order.size(); ++r) rank[order[r]] = static_cast<TokenId>(r);
  return rank;
}

}  // namespace aloft
