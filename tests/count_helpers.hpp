#pragma once
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/ops.hpp"

// What the tests of counting share: an oracle, and every way a backend has to count the same chunk.

namespace aloft {

using Table = std::map<std::pair<TokenId, TokenId>, std::uint64_t>;

// The oracle: obvious, serial, shares no code with any backend.
inline std::vector<Table> count_oracle(const std::vector<TokenId>& t, std::int64_t n_from, int max_lag) {
  std::vector<Table> out(static_cast<std::size_t>(max_lag));
  for (std::int64_t k = 0; k < n_from; ++k) {
    if (t[k] == kDocumentBreak) continue;
    for (int lag = 1; lag <= max_lag && k + lag < std::int64_t(t.size()) && t[k + lag] != kDocumentBreak;
         ++lag)
      ++out[lag - 1][{t[k], t[k + lag]}];
  }
  return out;
}

inline Table table_of(const CountCsr& csr) {
  const auto offsets = to_host(csr.row_offsets);
  const auto columns = to_host(csr.columns);
  const auto values = to_host(csr.values);
  Table out;
  for (std::int64_t i = 0; i < csr.rows; ++i)
    for (auto p = offsets[i]; p < offsets[i + 1]; ++p) {
      EXPECT_TRUE(p == offsets[i] || columns[p - 1] < columns[p])
          << "columns of row " << i << " not ascending";
      EXPECT_GT(values[p], 0u);
      out[{TokenId(i), columns[p]}] = values[p];
    }
  EXPECT_EQ(out.size(), columns.size());
  return out;
}

class CountOpsConformance : public ::testing::TestWithParam<std::string> {
 protected:
  TokenChunk on_device(const std::vector<TokenId>& t, std::int64_t n_from) {
    ids_ = to_device<const TokenId>(*backend.device, t);
    return {ids_.data(), n_from, std::int32_t(std::int64_t(t.size()) - n_from)};
  }
  std::vector<Table> dense(const std::vector<TokenId>& t, std::int64_t n_from, int max_lag,
                           std::int64_t vocab, std::int64_t row_begin = 0, std::int64_t n_rows = -1) {
    if (n_rows < 0) n_rows = vocab;
    auto table = zeros<std::uint32_t>(*backend.device, std::size_t(max_lag * n_rows * vocab));
    const DenseCounts counts{table.data(), max_lag, vocab, row_begin, n_rows};
    backend.count->count_pairs_dense(on_device(t, n_from), counts);
    std::vector<Table> out;
    for (int lag = 1; lag <= max_lag; ++lag)
      out.push_back(table_of(backend.count->compact(counts, lag, nullptr)));
    return out;
  }
  std::vector<Table> sparse(const std::vector<TokenId>& t, std::int64_t n_from, int max_lag,
                            std::int64_t vocab) {
    std::vector<Table> out;
    for (const CountCsr& csr : backend.count->count_pairs_sparse(on_device(t, n_from), vocab, max_lag))
      out.push_back(table_of(csr));
    return out;
  }
  void expect_all(const std::vector<TokenId>& t, std::int64_t n_from, int max_lag, std::int64_t vocab) {
    const auto want = count_oracle(t, n_from, max_lag);
    EXPECT_EQ(dense(t, n_from, max_lag, vocab), want) << "dense, n=" << n_from;
    EXPECT_EQ(sparse(t, n_from, max_lag, vocab), want) << "sparse, n=" << n_from;
  }
  Backend backend = make_backend(GetParam());

 private:
  Buffer<TokenId> ids_;
};

inline std::vector<TokenId> random_tokens(std::int64_t n, TokenId vocab, double breaks, unsigned seed) {
  std::mt19937 rng(seed);
  std::vector<TokenId> t(static_cast<std::size_t>(n));
  for (auto& id : t) {
    const double u = double(rng()) / 4294967296.0;
    id = double(rng()) / 4294967296.0 < breaks ? kDocumentBreak
                                               : TokenId(double(vocab) * u * u * u);  // skewed
  }
  return t;
}

}  // namespace aloft
