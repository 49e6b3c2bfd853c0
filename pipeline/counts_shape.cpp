#include <algorithm>

#include "pipeline/values.hpp"

namespace aloft {

std::int64_t CountsShape::most_entries() const {
  return entries.empty() ? 0 : *std::max_element(entries.begin(), entries.end());
}

std::uint64_t CountsShape::bytes() const {
  std::uint64_t out = 0;
  for (const std::int64_t n : entries) out += csr_bytes(vocab, n);
  return out;
}

CountsShape shape_of(const Counts& counts) {
  CountsShape out{counts.vocab, {}};
  for (const CountCsr& lag : counts.lags) out.entries.push_back(lag.nnz());
  return out;
}

}  // namespace aloft
