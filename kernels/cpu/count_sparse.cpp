#include <omp.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "host/error.hpp"
#include "kernels/cpu/count_ops.hpp"

// Counting without a V×V table. Positions are grouped by their token (a counting sort); then a row of every
// J_n is the histogram of what follows its positions, taken in a scratch row of V counters that stays in
// cache. Rows are independent, so threads share nothing, and columns come out sorted without ever sorting all
// pairs.

namespace aloft::cpu {
namespace {

struct GroupedPositions {
  std::vector<std::uint64_t> offsets;   ///< [vocab + 1]
  std::vector<std::uint32_t> position;  ///< [tokens], ascending within a token
};

GroupedPositions group_by_token(TokenChunk chunk, std::int64_t vocab) {
  // Two blocks a thread at most; each has its own histogram, so the scatter needs no atomics.
  const std::int64_t blocks = std::clamp<std::int64_t>(chunk.n_from / (vocab + 1), 1, omp_get_max_threads());
  std::vector<std::vector<std::uint64_t>> at(static_cast<std::size_t>(blocks));
  const auto begin_of = [&](std::int64_t b) { return chunk.n_from * b / blocks; };
#pragma omp parallel for schedule(static, 1)
  for (std::int64_t b = 0; b < blocks; ++b) {
    auto& histogram = at[static_cast<std::size_t>(b)];
    histogram.assign(static_cast<std::size_t>(vocab), 0);
    for (std::int64_t k = begin_of(b); k < begin_of(b + 1); ++k)
      if (chunk.ids[k] != kDocumentBreak) ++histogram[chunk.ids[k]];
  }
  GroupedPositions out;
  out.offsets.resize(static_cast<std::size_t>(vocab + 1));
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(vocab); ++i) {
    out.offsets[i] = sum;
    for (auto& histogram : at)
      sum += std::exchange(histogram[i], sum);  // becomes where this block writes token i
  }
  out.offsets.back() = sum;
  out.position.resize(sum);
#pragma omp parallel for schedule(static, 1)
  for (std::int64_t b = 0; b < blocks; ++b) {
    auto& next = at[static_cast<std::size_t>(b)];
    for (std::int64_t k = begin_of(b); k < begin_of(b + 1); ++k)
      if (chunk.ids[k] != kDocumentBreak) out.position[next[chunk.ids[k]]++] = static_cast<std::uint32_t>(k);
  }
  return out;
}

// reach[k]: how many of the lags 1..max_lag stay inside the document of position k.
std::vector<std::uint8_t> reaches(TokenChunk chunk, std::int32_t max_lag) {
  std::vector<std::uint8_t> out(static_cast<std::size_t>(chunk.n_from));
  for (const Segment& s : document_segments(chunk)) {
    const std::int64_t end = std::min(s.end, chunk.n_from);
    for (std::int64_t k = s.begin; k < end; ++k)
      out[static_cast<std::size_t>(k)] =
          static_cast<std::uint8_t>(std::min<std::int64_t>(max_lag, s.end - 1 - k));
  }
  return out;
}

// A histogram over `vocab` columns that can be emptied in the order of its columns.
class RowHistogram {
 public:
  explicit RowHistogram(std::int64_t vocab)
      : counts_(static_cast<std::size_t>(vocab)), seen_(static_cast<std::size_t>((vocab + 63) / 64)) {}

  /// Appends the distinct values of following[0..n), ascending, and how often each occurs; returns how many.
  std::int64_t take(const std::uint32_t* following, std::int64_t n, std::vector<std::uint32_t>& columns,
                    std::vector<std::uint64_t>& values) {
    const std::size_t before = columns.size();
    // Sorting a short row beats scanning the bitmap of all columns.
    if (n * 8 < static_cast<std::int64_t>(seen_.size())) {
      sorted_.assign(following, following + n);
      std::sort(sorted_.begin(), sorted_.end());
      for (std::size_t k = 0; k < sorted_.size(); ++k) {
        if (k == 0 || sorted_[k] != sorted_[k - 1]) {
          columns.push_back(sorted_[k]);
          values.push_back(0);
        }
        ++values.back();
      }
    } else {
      for (std::int64_t k = 0; k < n; ++k) {
        const std::uint32_t c = following[k];
        if (counts_[c]++ == 0) seen_[c / 64] |= std::uint64_t{1} << (c % 64);
      }
      for (std::size_t w = 0; w < seen_.size(); ++w) {
        for (std::uint64_t bits = std::exchange(seen_[w], 0); bits != 0; bits &= bits - 1) {
          const std::size_t c = w * 64 + static_cast<std::size_t>(std::countr_zero(bits));
          columns.push_back(static_cast<std::uint32_t>(c));
          values.push_back(std::exchange(counts_[c], 0));
        }
      }
    }
    return static_cast<std::int64_t>(columns.size() - before);
  }

 private:
  std::vector<std::uint32_t> counts_;
  std::vector<std::uint64_t> seen_;
  std::vector<std::uint32_t> sorted_;
};

// Rows [begin, end) of every lag, as one thread made them.
struct RowBlock {
  std::int64_t begin = 0, end = 0;
  struct Lag {
    std::vector<std::uint32_t> columns;
    std::vector<std::uint64_t> values;
  };
  std::vector<Lag> lags;
};

// Consecutive rows of about equal work, several per thread.
std::vector<RowBlock> split_rows(const GroupedPositions& groups, std::int64_t vocab, std::int32_t max_lag) {
  const std::uint64_t total = groups.offsets.back();
  const std::uint64_t wanted =
      std::max<std::uint64_t>(1, total / static_cast<std::uint64_t>(16 * omp_get_max_threads()));
  std::vector<RowBlock> out;
  for (std::int64_t i = 0; i < vocab;) {
    RowBlock block{i, i, std::vector<RowBlock::Lag>(static_cast<std::size_t>(max_lag))};
    const std::uint64_t start = groups.offsets[static_cast<std::size_t>(i)];
    while (block.end < vocab && groups.offsets[static_cast<std::size_t>(block.end)] - start < wanted)
      ++block.end;
    i = block.end;
    out.push_back(std::move(block));
  }
  return out;
}

void count_block(TokenChunk chunk, const GroupedPositions& groups, const std::vector<std::uint8_t>& reach,
                 std::int32_t max_lag, RowHistogram& histogram, std::vector<std::uint32_t>& following,
                 const std::vector<std::uint64_t*>& row_lengths, RowBlock& block) {
  for (std::int64_t i = block.begin; i < block.end; ++i) {
    const std::uint64_t first = groups.offsets[static_cast<std::size_t>(i)];
    const std::size_t n = groups.offsets[static_cast<std::size_t>(i + 1)] - first;
    // One visit to each position fetches its next max_lag tokens; the lags then read them in sequence.
    following.resize(n * static_cast<std::size_t>(max_lag));
    std::int64_t length[256] = {};
    for (std::size_t k = 0; k < n; ++k) {
      const std::uint32_t position = groups.position[first + k];
      const std::uint8_t within = reach[position];
      const TokenId* const next = chunk.ids + position + 1;
      for (std::uint8_t l = 0; l < within; ++l)
        following[l * n + static_cast<std::size_t>(length[l]++)] = next[l];
    }
    for (std::int32_t l = 0; l < max_lag; ++l) {
      auto& lag = block.lags[static_cast<std::size_t>(l)];
      row_lengths[static_cast<std::size_t>(l)][i + 1] = static_cast<std::uint64_t>(histogram.take(
          following.data() + static_cast<std::size_t>(l) * n, length[l], lag.columns, lag.values));
    }
  }
}

}  // namespace

std::uint64_t CpuCountOps::sparse_workspace_bytes(std::int64_t n, std::int64_t vocab,
                                                  std::int32_t max_lag) const {
  const auto tokens = static_cast<std::uint64_t>(n), ids = static_cast<std::uint64_t>(vocab + 1);
  const auto lags = static_cast<std::uint64_t>(max_lag), threads = std::uint64_t(omp_get_max_threads());
  constexpr std::uint64_t entry = sizeof(std::uint32_t) + sizeof(std::uint64_t);
  // Positions and reach; every lag's rows before and after stitching, twice for a growing vector's slack.
  const std::uint64_t per_token = sizeof(std::uint32_t) + sizeof(std::uint8_t) + lags * 3 * entry;
  // Offsets of the groups and of every lag; each thread's histogram over the tokens and over the columns.
  return tokens * per_token + ids * sizeof(std::uint64_t) * (1 + lags + 2 * threads);
}

std::vector<CountCsr> CpuCountOps::count_pairs_sparse(TokenChunk chunk, std::int64_t vocab,
                                                      std::int32_t max_lag) {
  expects(max_lag >= 1 && max_lag <= 255, "max_lag outside 1..255");
  expects(chunk.n_from < (std::int64_t{1} << 32), "a chunk of 2^32 tokens or more");
  const GroupedPositions groups = group_by_token(chunk, vocab);
  const std::vector<std::uint8_t> reach = reaches(chunk, max_lag);
  std::vector<RowBlock> blocks = split_rows(groups, vocab, max_lag);

  std::vector<CountCsr> out(static_cast<std::size_t>(max_lag));
  std::vector<std::uint64_t*> lengths;
  for (CountCsr& csr : out) {
    csr.rows = csr.cols = vocab;
    csr.row_offsets = zeros<std::uint64_t>(device_, static_cast<std::size_t>(vocab + 1));
    lengths.push_back(csr.row_offsets.data());
  }
#pragma omp parallel
  {
    RowHistogram histogram(vocab);
    std::vector<std::uint32_t> following;
#pragma omp for schedule(dynamic, 1)
    for (std::size_t b = 0; b < blocks.size(); ++b)
      count_block(chunk, groups, reach, max_lag, histogram, following, lengths, blocks[b]);
  }
  for (std::size_t l = 0; l < out.size(); ++l) {
    CountCsr& csr = out[l];
    std::uint64_t* const offsets = csr.row_offsets.data();
    for (std::int64_t i = 0; i < vocab; ++i) offsets[i + 1] += offsets[i];
    csr.columns = Buffer<std::uint32_t>(device_, offsets[vocab]);
    csr.values = Buffer<std::uint64_t>(device_, offsets[vocab]);
#pragma omp parallel for schedule(dynamic, 1)
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      const RowBlock::Lag& lag = blocks[b].lags[l];
      const std::uint64_t at = offsets[blocks[b].begin];
      std::copy(lag.columns.begin(), lag.columns.end(), csr.columns.data() + at);
      std::copy(lag.values.begin(), lag.values.end(), csr.values.data() + at);
    }
    for (RowBlock& block : blocks) block.lags[l] = {};
  }
  return out;
}

}  // namespace aloft::cpu
