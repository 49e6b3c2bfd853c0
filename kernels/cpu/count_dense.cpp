#include <omp.h>

#include <algorithm>
#include <memory>

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

std::string CpuCountOps::dense_kernel(std::int64_t, std::int32_t) const {
  return "plain increments, each thread in its own lags or rows";
}

namespace {

// One lag, one range of rows: nobody else writes these counters, so plain increments suffice.
void count_lag(const TokenChunk& chunk, const std::vector<Segment>& segments, std::int64_t lag,
               std::uint32_t* table, std::int64_t vocab, std::int64_t row_begin, std::int64_t n_rows,
               bool all_rows) {
  for (const Segment& s : segments) {
    const TokenId* const from = chunk.ids;
    const TokenId* const to = chunk.ids + lag;
    const std::int64_t last = std::min(s.end - lag, chunk.n_from);
    if (all_rows) {
      for (std::int64_t k = s.begin; k < last; ++k) ++table[from[k] * vocab + to[k]];
    } else {
      for (std::int64_t k = s.begin; k < last; ++k) {
        const std::int64_t row = from[k] - row_begin;
        if (row >= 0 && row < n_rows) ++table[row * vocab + to[k]];
      }
    }
  }
}

}  // namespace

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
    std::uint32_t* const table = counts.data + ((lag - 1) * counts.n_rows + first) * counts.vocab;
    count_lag(chunk, segments, lag, table, counts.vocab, counts.row_begin + first, end - first,
              end - first == counts.vocab);
  }
}

std::unique_ptr<CountOps> make_count_ops(Device& device) { return std::make_unique<CpuCountOps>(device); }

}  // namespace aloft::cpu
