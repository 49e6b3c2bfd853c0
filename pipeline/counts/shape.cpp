#include <algorithm>

#include "pipeline/counts/counts.hpp"

namespace aloft {

std::int64_t CountsShape::most_entries() const {
  return entries.empty() ? 0 : *std::max_element(entries.begin(), entries.end());
}

std::uint64_t CountsShape::bytes() const {
  std::uint64_t out = 0;
  for (const std::int64_t n : entries) out += csr_bytes(vocab, n);
  return out;
}

CountsShape shape_of_bytes(std::int64_t vocab, std::int64_t lags, std::uint64_t bytes) {
  constexpr std::uint64_t kEntry = sizeof(std::uint32_t) + sizeof(std::uint64_t);
  const std::uint64_t lag = bytes / static_cast<std::uint64_t>(lags) - csr_bytes(vocab, 0);
  return {vocab,
          std::vector<std::int64_t>(static_cast<std::size_t>(lags), static_cast<std::int64_t>(lag / kEntry))};
}

CountsShape shape_of(const Counts& counts) {
  CountsShape out{counts.vocab, {}};
  for (const CountCsr& lag : counts.lags) out.entries.push_back(lag.nnz());
  return out;
}

}  // namespace aloft
