#include <omp.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/count_ops.hpp"

namespace aloft::cpu {

std::vector<Segment> document_segments(TokenChunk chunk) {
  std::vector<Segment> out;
  const TokenId* const end = chunk.ids + chunk.n_from + chunk.halo;
  for (const TokenId* at = chunk.ids; at != end;) {
    const TokenId* const stop = std::find(at, end, kDocumentBreak);
    if (stop != at) out.push_back({at - chunk.ids, stop - chunk.ids});
    at = stop == end ? end : stop + 1;
  }
  return out;
}

void CpuCountOps::count_tokens(TokenChunk chunk, std::uint64_t* unigram, std::int64_t vocab) {
  const auto segments = document_segments({chunk.ids, chunk.n_from, 0});
  // Two tables, so that a run of one token does not wait for its own last store.
  std::vector<std::uint64_t> odd(static_cast<std::size_t>(vocab));
  for (const Segment& s : segments) {
    std::int64_t k = s.begin;
    for (; k + 1 < s.end; k += 2) {
      ++unigram[chunk.ids[k]];
      ++odd[chunk.ids[k + 1]];
    }
    if (k < s.end) ++unigram[chunk.ids[k]];
  }
  for (std::int64_t i = 0; i < vocab; ++i) unigram[i] += odd[static_cast<std::size_t>(i)];
}

void CpuCountOps::remap(TokenChunk chunk, const TokenId* rank, TokenId* out) {
  const std::int64_t n = chunk.n_from + chunk.halo;
#pragma omp parallel for schedule(static)
  for (std::int64_t k = 0; k < n; ++k)
    out[k] = chunk.ids[k] == kDocumentBreak ? kDocumentBreak : rank[chunk.ids[k]];
}

namespace {

// One lag's counters up to this size stay in a core's second-level cache (1 MiB on the processors measured),
// and waiting for the odd miss is cheaper than announcing every access.
constexpr std::int64_t kCachedBytes = 768 << 10;
// Increments announced before they happen: enough to keep every miss a core can have in flight, and the lines
// of so many still fit the cache. 64 gave two thirds of the speed, 512 no more.
constexpr std::size_t kAhead = 256;
// Positions filtered at a time when only some rows are counted.
constexpr std::int64_t kFiltered = 256;

bool stays_cached(std::int64_t n_rows, std::int64_t vocab) {
  return n_rows <= kCachedBytes / static_cast<std::int64_t>(sizeof(std::uint32_t)) / vocab;  // no overflow
}

// Increments counters kAhead calls late and asks for their cache lines at once. A processor looks ahead only
// as far as its reorder buffer; through this it overlaps several times as many misses. The lines are wanted
// in the second-level cache: rows are often a power of two long, so that the busy first columns of all rows
// compete for few places of the first.
class DelayedIncrements {
 public:
  DelayedIncrements() { cells_.fill(&nothing_); }
  ~DelayedIncrements() {
    for (std::uint32_t* const cell : cells_) ++*cell;
  }
  DelayedIncrements(const DelayedIncrements&) = delete;
  DelayedIncrements& operator=(const DelayedIncrements&) = delete;

  void operator()(std::uint32_t* cell) {
    __builtin_prefetch(cell, 1, 2);
    ++*std::exchange(cells_[at_], cell);
    at_ = (at_ + 1) % kAhead;
  }

 private:
  std::array<std::uint32_t*, kAhead> cells_;
  std::size_t at_ = 0;
  std::uint32_t nothing_ = 0;
};

// What one thread counts at a time: one lag, some rows. Nobody else writes these counters.
struct Share {
  std::uint32_t* table = nullptr;  // [n_rows][vocab]
  std::int64_t vocab = 0;
  std::int64_t lag = 0;
  std::int64_t row_begin = 0;
  std::int64_t n_rows = 0;
};

// increment(cell) for every pair of the share.
template <class Increment>
void count_share(const TokenChunk& chunk, const std::vector<Segment>& segments, const Share& share,
                 Increment&& increment) {
  const TokenId* const from = chunk.ids;
  const TokenId* const to = chunk.ids + share.lag;
  std::uint32_t* const table = share.table;
  const std::int64_t vocab = share.vocab;
  for (const Segment& s : segments) {
    const std::int64_t last = std::min(s.end - share.lag, chunk.n_from);
    if (share.n_rows == vocab) {
      for (std::int64_t k = s.begin; k < last; ++k) increment(table + from[k] * vocab + to[k]);
      continue;
    }
    // Whether a row is among these is a coin toss that no branch predictor wins, so first without branches.
    std::array<std::int64_t, kFiltered> cells;
    for (std::int64_t begin = s.begin; begin < last; begin += kFiltered) {
      std::size_t n = 0;
      for (std::int64_t k = begin; k < std::min(last, begin + kFiltered); ++k) {
        const std::int64_t row = from[k] - share.row_begin;
        cells[n] = row * vocab + to[k];
        n += row >= 0 && row < share.n_rows ? 1 : 0;
      }
      for (std::size_t k = 0; k < n; ++k) increment(table + cells[k]);
    }
  }
}

}  // namespace

std::string CpuCountOps::dense_kernel(std::int64_t vocab, std::int32_t) const {
  return stays_cached(vocab, vocab)
             ? "plain increments of tables that stay in cache, each thread in its own lags"
             : "increments behind prefetches, each thread in its own lags or rows";
}

// Threads share no counter: each takes whole lags, and where there are more threads than lags, ranges of
// their rows. Reading the ids again for every lag is cheap beside the scattered increments, and one lag's
// table fits caches better.
void CpuCountOps::count_pairs_dense(TokenChunk chunk, DenseCounts counts) {
  const auto segments = document_segments(chunk);
  const std::int64_t lags = counts.max_lag;
  const std::int64_t parts =
      std::clamp<std::int64_t>((omp_get_max_threads() + lags - 1) / lags, 1, counts.n_rows);
#pragma omp parallel for schedule(dynamic, 1)
  for (std::int64_t item = 0; item < lags * parts; ++item) {
    const std::int64_t lag = item / parts + 1, part = item % parts;
    const std::int64_t first = counts.n_rows * part / parts, end = counts.n_rows * (part + 1) / parts;
    const Share share{counts.data + ((lag - 1) * counts.n_rows + first) * counts.vocab, counts.vocab, lag,
                      counts.row_begin + first, end - first};
    if (stays_cached(share.n_rows, share.vocab)) {
      count_share(chunk, segments, share, [](std::uint32_t* cell) { ++*cell; });
    } else {
      count_share(chunk, segments, share, DelayedIncrements());
    }
  }
}

std::unique_ptr<CountOps> make_count_ops(Device& device) { return std::make_unique<CpuCountOps>(device); }

}  // namespace aloft::cpu
