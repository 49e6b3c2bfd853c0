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
  void expect_difference(const Table& a, const Table& b, std::int64_t rows) {
    Table want = a;
    for (const auto& [pair, value] : b) {
      want[pair] -= value;
      if (want[pair] == 0) want.erase(pair);
    }
    const CountCsr rest = backend.count->subtract(csr_of(a, rows).view(), csr_of(b, rows).view());
    EXPECT_EQ(rest.rows, rows);
    EXPECT_EQ(rest.cols, rows);
    EXPECT_EQ(rest.nnz(), std::int64_t(want.size()));
    EXPECT_EQ(table_of(rest), want);
  }
  void expect_too_large(const Table& a, const Table& b, std::int64_t rows) {
    EXPECT_THROW((void)backend.count->subtract(csr_of(a, rows).view(), csr_of(b, rows).view()), InputError);
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

class CsrSubtract : public CsrAdd {};

/// Some of these entries, each whole, half or but for one.
Table part_of(const Table& a, unsigned seed) {
  std::mt19937 rng(seed);
  Table out;
  for (const auto& [pair, value] : a) {
    const std::uint64_t parts[] = {0, value, value / 2, value - 1};
    const std::uint64_t part = parts[rng() % 4];
    if (part > 0) out[pair] = part;
  }
  return out;
}

/// Rows with every column, of values around 2^63.
Table dense_entries(std::int64_t rows) {
  Table out;
  for (TokenId i = 0; i < TokenId(rows); ++i)
    for (TokenId j = 0; j < TokenId(rows); ++j) out[{i, j}] = (std::uint64_t{1} << 63) + 64 * i + j;
  return out;
}

TEST_P(CsrSubtract, NothingAndAll) {
  const Table some{{{1, 0}, 3}, {{1, 2}, 4}};
  expect_difference({}, {}, 1);
  expect_difference({}, {}, 3);
  expect_difference(some, {}, 3);
  expect_difference(some, some, 3);  // empty
  expect_difference(some, {{{1, 0}, 3}}, 3);
  expect_difference(some, {{{1, 2}, 4}}, 3);
  expect_difference(some, {{{1, 0}, 2}, {{1, 2}, 1}}, 3);
}

TEST_P(CsrSubtract, AllOf64Bits) {
  const std::uint64_t most = ~std::uint64_t{0}, half = std::uint64_t{1} << 63;
  expect_difference({{{5, 5}, most}}, {{{5, 5}, most}}, 6);
  expect_difference({{{5, 5}, most}}, {{{5, 5}, 1}}, 6);
  expect_difference({{{5, 5}, most}}, {{{5, 5}, most - 1}}, 6);
  expect_difference({{{0, 0}, half}, {{5, 5}, half + 1}}, {{{0, 0}, half - 1}, {{5, 5}, half}}, 6);
}

TEST_P(CsrSubtract, SizesAroundWarpsAndBlocks) {
  for (const std::size_t n : {31u, 32u, 33u, 255u, 256u, 257u, 3000u}) {
    const Table a = random_entries(70, n, unsigned(n));
    expect_difference(a, part_of(a, unsigned(n)), 70);
    expect_difference(a, a, 70);
  }
  const Table many_rows = random_entries(2000, 2000, 5);
  expect_difference(many_rows, part_of(many_rows, 6), 2000);
}

TEST_P(CsrSubtract, DenseRows) {
  for (const std::int64_t rows : {1, 16, 33}) {
    const Table a = dense_entries(rows);
    expect_difference(a, part_of(a, unsigned(rows)), rows);
    expect_difference(a, a, rows);
  }
}

TEST_P(CsrSubtract, RefusesWhatIsNotThere) {
  const Table some{{{1, 0}, 3}, {{1, 2}, 4}, {{4, 1}, 1}};
  expect_too_large({}, {{{0, 0}, 1}}, 1);
  expect_too_large(some, {{{1, 1}, 1}}, 5);               // between two
  expect_too_large(some, {{{1, 3}, 1}}, 5);               // behind the row's last: not the next row's first
  expect_too_large(some, {{{0, 0}, 1}}, 5);               // an empty row
  expect_too_large(some, {{{3, 4}, 1}}, 5);               // another
  expect_too_large(some, {{{4, 4}, 1}}, 5);               // behind everything
  expect_too_large(some, {{{1, 2}, 5}}, 5);               // one too many
  expect_too_large(some, {{{1, 2}, 4}, {{4, 1}, 2}}, 5);  // the last of several
  expect_too_large(some, {{{1, 0}, 3}, {{1, 1}, 1}, {{1, 2}, 4}, {{4, 1}, 1}},
                   5);  // all that is there, and more
  Table large = random_entries(70, 3000, 7), b = large;
  b.rbegin()->second += 1;
  expect_too_large(large, b, 70);
  for (auto& [pair, value] : b) value += 1;
  expect_too_large(large, b, 70);
  expect_too_large(dense_entries(20), {{{3, 3}, ~std::uint64_t{0}}}, 20);
}

INSTANTIATE_TEST_SUITE_P(Each, CsrSubtract, ::testing::ValuesIn(available_backends()),
                         [](const auto& backend_info) { return backend_info.param; });

INSTANTIATE_TEST_SUITE_P(Each, CsrAdd, ::testing::ValuesIn(available_backends()),
                         [](const auto& backend_info) { return backend_info.param; });

}  // namespace
}  // namespace aloft
