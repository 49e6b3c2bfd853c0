#include <omp.h>

#include <algorithm>
#include <utility>

#include "host/error.hpp"
#include "kernels/cpu/count_ops.hpp"

// Counting without a V×V table, by two stable counting sorts. Positions grouped by their token are in the
// order of their tokens, so the pairs that end at them come by ascending column; dealt to their rows in that
// order, every row's columns are sorted without one comparison. A run of equal columns is then a counter.
// All traffic is sequential but for the scattered writes of the two sorts and one visit to each position,
// which reads the tokens before it for all lags at once.

namespace aloft::cpu {
namespace {

// Where a pair has no source in this chunk: the document begins after it, or the next chunk owns it.
constexpr TokenId kNoSource = kDocumentBreak;

struct GroupedPositions {
  std::vector<std::uint32_t> offsets;  ///< [vocab + 1]
  Buffer<std::uint32_t> position;      ///< [tokens without breaks, halo included], ascending within a token

  [[nodiscard]] std::int64_t size() const { return offsets.back(); }
};

GroupedPositions group_by_token(Device& device, TokenChunk chunk, std::int64_t vocab) {
  // Each block has its own histogram, so that the scatter needs no atomics; short ones would not pay for it.
  const std::int64_t n = chunk.n_from + chunk.halo;
  const std::int64_t blocks = std::clamp<std::int64_t>(n / (vocab + 1), 1, omp_get_max_threads());
  std::vector<std::vector<std::uint32_t>> at(static_cast<std::size_t>(blocks),
                                             std::vector<std::uint32_t>(static_cast<std::size_t>(vocab)));
  const auto begin_of = [&](std::int64_t b) { return n * b / blocks; };
#pragma omp parallel for schedule(static, 1)
  for (std::int64_t b = 0; b < blocks; ++b) {
    auto& histogram = at[static_cast<std::size_t>(b)];
    for (std::int64_t k = begin_of(b); k < begin_of(b + 1); ++k)
      if (chunk.ids[k] != kDocumentBreak) ++histogram[chunk.ids[k]];
  }
  GroupedPositions out;
  out.offsets.resize(static_cast<std::size_t>(vocab + 1));
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(vocab); ++i) {
    out.offsets[i] = sum;
    for (auto& histogram : at)
      sum += std::exchange(histogram[i], sum);  // becomes where this block writes token i
  }
  out.offsets.back() = sum;
  out.position = Buffer<std::uint32_t>(device, sum);
  std::uint32_t* const position = out.position.data();
#pragma omp parallel for schedule(static, 1)
  for (std::int64_t b = 0; b < blocks; ++b) {
    auto& next = at[static_cast<std::size_t>(b)];
    for (std::int64_t k = begin_of(b); k < begin_of(b + 1); ++k)
      if (chunk.ids[k] != kDocumentBreak) position[next[chunk.ids[k]]++] = static_cast<std::uint32_t>(k);
  }
  return out;
}

// sources [max_lag][groups.size()]: the token `lag` places before each grouped position, or kNoSource.
Buffer<TokenId> sources_of(Device& device, TokenChunk chunk, const GroupedPositions& groups,
                           std::int32_t max_lag) {
  const std::int64_t n = groups.size();
  Buffer<TokenId> out(device, static_cast<std::size_t>(n * max_lag));
  const std::uint32_t* const position = groups.position.data();
  TokenId* const sources = out.data();
#pragma omp parallel for schedule(static)
  for (std::int64_t g = 0; g < n; ++g) {
    std::int64_t k = position[g];
    bool same_document = true;
    for (std::int32_t l = 0; l < max_lag; ++l) {
      --k;
      same_document = same_document && k >= 0 && chunk.ids[k] != kDocumentBreak;
      sources[l * n + g] = same_document && k < chunk.n_from ? chunk.ids[k] : kNoSource;
    }
  }
  return out;
}

// One lag's pairs as rows of columns: row i lies in columns[offsets[i], end[i]), ascending, repeated as often
// as the pair occurs. `offsets` are those of the groups: a row has at most as many pairs as its token has
// positions.
struct SortedRows {
  const std::uint32_t* offsets = nullptr;  // [vocab + 1]
  std::uint32_t* end = nullptr;            // [vocab]
  std::uint32_t* columns = nullptr;        // [groups.size()]
};

// Fills rows [begin, end) of one lag and writes to distinct[i] how many columns differ in row i.
void sort_rows(const TokenId* sources, std::int64_t vocab, std::int64_t begin, std::int64_t end,
               const SortedRows& rows, std::uint64_t* distinct) {
  std::copy(rows.offsets + begin, rows.offsets + end, rows.end + begin);
  const auto first = static_cast<TokenId>(begin), count = static_cast<TokenId>(end - begin);
  for (std::int64_t j = 0; j < vocab; ++j)
    for (std::uint32_t g = rows.offsets[j]; g < rows.offsets[j + 1]; ++g)
      if (sources[g] - first < count)  // kNoSource is above every row
        rows.columns[rows.end[sources[g]]++] = static_cast<std::uint32_t>(j);
  for (std::int64_t i = begin; i < end; ++i) {
    std::uint64_t changes = rows.end[i] > rows.offsets[i] ? 1 : 0;
    for (std::uint32_t p = rows.offsets[i] + 1; p < rows.end[i]; ++p)
      changes += rows.columns[p] != rows.columns[p - 1] ? 1 : 0;
    distinct[i] = changes;
  }
}

// Row i of the result: every column once, with the length of its run. Without branches: whether a run ends
// is a coin toss in the rows that matter.
void write_runs(const SortedRows& rows, std::int64_t i, std::uint32_t* columns, std::uint64_t* counts) {
  std::uint32_t run = 0;
  for (std::uint32_t p = rows.offsets[i]; p < rows.end[i]; ++p) {
    *columns = rows.columns[p];
    *counts = ++run;
    const bool ends = p + 1 == rows.end[i] || rows.columns[p + 1] != rows.columns[p];
    columns += ends ? 1 : 0;
    counts += ends ? 1 : 0;
    run = ends ? 0 : run;
  }
}

// How the workers share the work: `lags` at a time, the rows of each in `parts`.
struct Shares {
  std::int64_t lags = 1;
  std::int64_t parts = 1;
  explicit Shares(std::int32_t max_lag)
      : lags(std::min<std::int64_t>(max_lag, omp_get_max_threads())),
        parts((omp_get_max_threads() + lags - 1) / lags) {}
};

// Row boundaries [parts + 1] of ranges with about equally many positions.
std::vector<std::int64_t> split_rows(const GroupedPositions& groups, std::int64_t parts) {
  std::vector<std::int64_t> out{0};
  for (std::int64_t p = 1; p < parts; ++p) {
    const auto wanted = static_cast<std::uint32_t>(groups.size() * p / parts);
    out.push_back(std::lower_bound(groups.offsets.begin(), groups.offsets.end() - 1, wanted) -
                  groups.offsets.begin());
  }
  out.push_back(static_cast<std::int64_t>(groups.offsets.size()) - 1);
  return out;
}

}  // namespace

std::uint64_t CpuCountOps::sparse_workspace_bytes(std::int64_t n, std::int64_t vocab,
                                                  std::int32_t max_lag) const {
  const auto tokens = static_cast<std::uint64_t>(n), ids = static_cast<std::uint64_t>(vocab + 1);
  const auto lags = static_cast<std::uint64_t>(max_lag), threads = std::uint64_t(omp_get_max_threads());
  const auto lags_at_once = static_cast<std::uint64_t>(Shares(max_lag).lags);
  constexpr std::uint64_t entry = sizeof(std::uint32_t) + sizeof(std::uint64_t);
  // Positions, sources, sorted rows; the result.
  const std::uint64_t per_token = sizeof(std::uint32_t) * (1 + lags + lags_at_once) + lags * entry;
  // Offsets of the groups, each thread's histogram, ends of rows; offsets of the result.
  const std::uint64_t per_id =
      sizeof(std::uint32_t) * (1 + threads + lags_at_once) + lags * sizeof(std::uint64_t);
  return tokens * per_token + ids * per_id;
}

std::vector<CountCsr> CpuCountOps::count_pairs_sparse(TokenChunk chunk, std::int64_t vocab,
                                                      std::int32_t max_lag) {
  expects(max_lag >= 1 && max_lag <= 255, "max_lag outside 1..255");
  expects(chunk.n_from + chunk.halo < (std::int64_t{1} << 32), "a chunk of 2^32 tokens or more");
  const GroupedPositions groups = group_by_token(device_, chunk, vocab);
  const Buffer<TokenId> sources = sources_of(device_, chunk, groups, max_lag);
  const Shares shares(max_lag);
  const std::vector<std::int64_t> rows_of = split_rows(groups, shares.parts);
  const std::int64_t n = groups.size();
  Buffer<std::uint32_t> columns(device_, static_cast<std::size_t>(shares.lags * n));
  Buffer<std::uint32_t> ends(device_, static_cast<std::size_t>(shares.lags * vocab));

  std::vector<CountCsr> out(static_cast<std::size_t>(max_lag));
  for (std::int64_t first = 0; first < max_lag; first += shares.lags) {
    const std::int64_t lags = std::min<std::int64_t>(shares.lags, max_lag - first);
    CountCsr* const csr = out.data() + first;
    const auto rows = [&](std::int64_t l) {
      return SortedRows{groups.offsets.data(), ends.data() + l * vocab, columns.data() + l * n};
    };
    for (std::int64_t l = 0; l < lags; ++l)
      csr[l] = {vocab, vocab, zeros<std::uint64_t>(device_, static_cast<std::size_t>(vocab + 1)), {}, {}};
#pragma omp parallel for collapse(2) schedule(dynamic, 1)
    for (std::int64_t l = 0; l < lags; ++l)
      for (std::int64_t part = 0; part < shares.parts; ++part)
        sort_rows(sources.data() + (first + l) * n, vocab, rows_of[static_cast<std::size_t>(part)],
                  rows_of[static_cast<std::size_t>(part + 1)], rows(l), csr[l].row_offsets.data() + 1);
    for (std::int64_t l = 0; l < lags; ++l) {
      std::uint64_t* const offsets = csr[l].row_offsets.data();
      for (std::int64_t i = 0; i < vocab; ++i) offsets[i + 1] += offsets[i];
      csr[l].columns = Buffer<std::uint32_t>(device_, offsets[vocab]);
      csr[l].values = Buffer<std::uint64_t>(device_, offsets[vocab]);
    }
#pragma omp parallel for collapse(2) schedule(dynamic, 1)
    for (std::int64_t l = 0; l < lags; ++l)
      for (std::int64_t part = 0; part < shares.parts; ++part)
        for (std::int64_t i = rows_of[static_cast<std::size_t>(part)];
             i < rows_of[static_cast<std::size_t>(part + 1)]; ++i) {
          const std::uint64_t at = csr[l].row_offsets.data()[i];
          write_runs(rows(l), i, csr[l].columns.data() + at, csr[l].values.data() + at);
        }
  }
  return out;
}

}  // namespace aloft::cpu
