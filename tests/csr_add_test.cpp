#include <cmath>
#include <random>

#include "tests/count_helpers.hpp"

namespace aloft {
namespace {

class CsrAdd : public ::testing::TestWithParam<std::string> {
 protected:
  CountCsr csr_of(const Table& entries, std::int64_t rows) {
    std::vector<std::uint64_t> offsets(std::size_t(rows) + 1), values;
    std::vector<std::uint32_t> columns;
    for (const auto& [pair, value] : entries) {  // a map: rows ascend, and columns within them
      columns.push_back(pair.second);
      values.push_back(value);
      for (std::size_t i = std::size_t(pair.first) + 1; i < offsets.size(); ++i) ++offsets[i];
    }
    return {rows, rows, to_device<std::uint64_t>(*backend.device, offsets),
            to_device<std::uint32_t>(*backend.device, columns),
            to_device<std::uint64_t>(*backend.device, values)};
  }
  void expect_sum(const Table& a, const Table& b, std::int64_t rows) {
    Table want = a;
    std::uint64_t total = 0;
    for (const auto& [pair, value] : b) want[pair] += value;
    for (const auto& [pair, value] : want) total += value;
    const CountCsr sum = backend.count->add(csr_of(a, rows).view(), csr_of(b, rows).view());
    EXPECT_EQ(sum.rows, rows);
    EXPECT_EQ(sum.cols, rows);
    EXPECT_EQ(table_of(sum), want);
    EXPECT_EQ(backend.count->total(sum.view()), total);
  }
  Backend backend = make_backend(GetParam());
};

Table random_entries(std::int64_t rows, std::size_t n, unsigned seed) {
  std::mt19937 rng(seed);
  Table out;
  for (std::size_t k = 0; k < n; ++k) {
    const auto row =
        TokenId(double(rows) * std::pow(double(rng()) / 4294967296.0, 3.0));  // long and empty rows
    out[{row, TokenId(rng() % std::uint64_t(rows))}] = std::uint64_t{1} << (rng() % 40);
  }
  return out;
}

TEST_P(CsrAdd, NothingAndSomething) {
  const Table some{{{1, 0}, 3}, {{1, 2}, 4}};
  expect_sum({}, {}, 1);
  expect_sum({}, {}, 3);
  expect_sum(some, {}, 3);
  expect_sum({}, some, 3);
  expect_sum(some, some, 3);
}

TEST_P(CsrAdd, RowsThatMissMeetAndInterleave) {
  expect_sum({{{0, 5}, 1}}, {{{0, 4}, 1}}, 6);                             // before
  expect_sum({{{0, 4}, 1}}, {{{0, 5}, 1}}, 6);                             // behind
  expect_sum({{{0, 1}, 1}, {{2, 2}, 2}}, {{{1, 1}, 3}, {{5, 0}, 4}}, 6);   // other rows
  expect_sum({{{3, 0}, 1}, {{3, 2}, 1}}, {{{3, 1}, 1}, {{3, 2}, 9}}, 6);   // one of two shared
  expect_sum({{{5, 5}, 1}}, {{{5, 5}, (std::uint64_t{1} << 63) - 1}}, 6);  // the last cell, 64 bits
}

TEST_P(CsrAdd, SizesAroundWarpsAndBlocks) {
  for (const std::size_t n : {31u, 32u, 33u, 255u, 256u, 257u, 3000u})
    expect_sum(random_entries(70, n, unsigned(n)), random_entries(70, n + 1, unsigned(n + 1)), 70);
  expect_sum(random_entries(1, 1, 3), random_entries(1, 1, 4), 1);
  expect_sum(random_entries(2000, 2000, 5), random_entries(2000, 40, 6), 2000);
}

INSTANTIATE_TEST_SUITE_P(Each, CsrAdd, ::testing::ValuesIn(available_backends()),
                         [](const auto& backend_info) { return backend_info.param; });

}  // namespace
}  // namespace aloft
