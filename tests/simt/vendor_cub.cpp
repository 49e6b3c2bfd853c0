#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/cuda/vendor.hpp"
#include "tests/simt/vendor_call.hpp"

// CUB's part of the door over the standard library.

namespace aloft::cuda {
namespace {

std::uint64_t bits_between(std::uint64_t key, int begin, int end) {
  const std::uint64_t kept = end >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << end) - 1;
  return (key & kept) >> begin;
}

// n_runs[0] = the runs found. values null: each counts 1.
void reduce_runs(const std::uint64_t* keys, const std::uint64_t* values, std::int64_t n,
                 std::uint64_t* unique, std::uint64_t* sums, std::int64_t* n_runs) {
  std::int64_t runs = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint64_t value = values == nullptr ? 1 : values[i];
    if (i > 0 && keys[i] == keys[i - 1]) {
      sums[runs - 1] += value;
    } else {
      unique[runs] = keys[i];
      sums[runs++] = value;
    }
  }
  *n_runs = runs;
  wrote(unique, runs);
  wrote(sums, runs);
}

}  // namespace

// As the library, the sort may leave its result in either buffer: here the second, and garbage in the first.
std::uint64_t* Vendor::sort_keys(std::uint64_t* keys, std::uint64_t* alternate, std::int64_t n, int begin_bit,
                                 int end_bit) {
  queue_call(device_, [=] {
    std::copy_n(keys, n, alternate);
    std::stable_sort(alternate, alternate + n, [&](std::uint64_t a, std::uint64_t b) {
      return bits_between(a, begin_bit, end_bit) < bits_between(b, begin_bit, end_bit);
    });
    std::fill_n(keys, n, std::uint64_t{0xDBDB'DBDB'DBDB'DBDB});
    wrote(alternate, n);
  });
  return alternate;
}

void Vendor::sort_pairs(const std::uint64_t* keys, std::uint64_t* keys_out, const std::uint64_t* values,
                        std::uint64_t* values_out, std::int64_t n, int begin_bit, int end_bit) {
  queue_call(device_, [=] {
    std::vector<std::int64_t> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
      return bits_between(keys[a], begin_bit, end_bit) < bits_between(keys[b], begin_bit, end_bit);
    });
    for (std::int64_t i = 0; i < n; ++i) {
      keys_out[i] = keys[order[static_cast<std::size_t>(i)]];
      values_out[i] = values[order[static_cast<std::size_t>(i)]];
    }
    wrote(keys_out, n);
    wrote(values_out, n);
  });
}

void Vendor::exclusive_sum(const std::uint64_t* in, std::uint64_t* out, std::int64_t n) {
  queue_call(device_, [=] {
    std::exclusive_scan(in, in + n, out, std::uint64_t{0});
    wrote(out, n);
  });
}

std::int64_t Vendor::run_lengths(const std::uint64_t* keys, std::int64_t n, std::uint64_t* unique,
                                 std::uint64_t* lengths) {
  std::int64_t runs = 0;
  queue_call(device_, [=, &runs] { reduce_runs(keys, nullptr, n, unique, lengths, &runs); });
  device_.synchronize();
  return runs;
}

std::int64_t Vendor::sum_by_key(const std::uint64_t* keys, const std::uint64_t* values, std::int64_t n,
                                std::uint64_t* unique, std::uint64_t* sums) {
  std::int64_t runs = 0;
  queue_call(device_, [=, &runs] { reduce_runs(keys, values, n, unique, sums, &runs); });
  device_.synchronize();
  return runs;
}

Footprint Vendor::sort_pairs_scratch(std::int64_t) const { return {}; }
Footprint Vendor::sort_keys_scratch(std::int64_t) const { return {}; }
Footprint Vendor::run_lengths_scratch(std::int64_t) const { return {}; }

}  // namespace aloft::cuda
