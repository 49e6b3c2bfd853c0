#include "kernels/cpu/row_pairs.hpp"

#include <omp.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace aloft::cpu {
namespace {

constexpr std::int64_t kDigitBits =
    11;  // of a radix sort: its histograms and the ends of its buckets stay in L1
constexpr std::int64_t kMostPasses = 3;  // for 32 bits
constexpr std::int64_t kMostBlock = 1 << 13, kLeastBlock = 1 << 8;
// Emptying a table costs as much as sorting so many times fewer pairs than it has cells.
constexpr std::int64_t kCellsPerSortedPair = 16;
constexpr std::int64_t kTableGather =
    1 << 8;                               // positions whose targets are counted before the next are fetched
constexpr std::int64_t kCellsAtOnce = 8;  // of a table, looked at together: a vector register of them
constexpr std::int64_t kLeastWorker = 1 << 10;  // tokens for which a further thread is worth its memory
constexpr std::int64_t kLeastLogBlock = 1 << 12, kMostLogBlock = 1 << 20;

template <int Passes>
std::int64_t make_keys(const TokenId* targets, const std::uint32_t* row_bits, std::int64_t n, int digit_bits,
                       std::uint32_t* keys, std::uint32_t* histogram) {
  const std::uint32_t mask = (std::uint32_t{1} << digit_bits) - 1;
  std::int64_t made = 0;
  for (std::int64_t k = 0; k < n; ++k) {
    if (targets[k] == kDocumentBreak) [[unlikely]]
      continue;
    const std::uint32_t key = row_bits[k] | targets[k];
    keys[made++] = key;
    for (int p = 0; p < Passes; ++p)
      ++histogram[(std::uint32_t(p) << digit_bits) + (key >> (p * digit_bits) & mask)];
  }
  return made;
}

}  // namespace

RowWork::RowWork(std::int64_t n, std::int64_t v, std::int32_t max_lag)
    : vocab(v),
      lags(max_lag),
      format(v),
      workers(std::clamp<std::int64_t>(n / kLeastWorker, 1, omp_get_max_threads())),
      block(std::clamp(n / (8 * workers), kLeastBlock, kMostBlock)),
      sortable(std::max(block, std::min(n, vocab / kCellsPerSortedPair))),
      tables(n <= sortable ? 0 : std::clamp<std::int64_t>(n / vocab, 1, workers)),
      log_block(static_cast<std::size_t>(std::clamp(n / (32 * workers), kLeastLogBlock, kMostLogBlock))) {}

std::int64_t RowWork::table_cells() const { return (vocab + kCellsAtOnce - 1) / kCellsAtOnce * kCellsAtOnce; }

std::int64_t RowWork::most_rows() const {
  return std::min(sortable, std::int64_t{1} << (32 - format.column_bits()));
}

std::size_t RowWork::worker_words() const {
  return static_cast<std::size_t>((lags + 4) * sortable + 2 + (kMostPasses << kDigitBits));
}

std::uint64_t RowWork::bytes() const {
  const auto words =
      static_cast<std::uint64_t>(workers) * (worker_words() + std::uint64_t(lags) * log_block) +
      static_cast<std::uint64_t>(tables * lags * table_cells());
  return words * sizeof(std::uint32_t);
}

RowTasks split_rows(const RowWork& work, const GroupedPositions& groups) {
  const std::int64_t most_rows = work.most_rows();
  // With so few rows, two passes sort them.
  const std::int64_t bits_left = 2 * kDigitBits - work.format.column_bits();
  const std::int64_t few_rows = bits_left < 0 ? most_rows : std::min(most_rows, std::int64_t{1} << bits_left);
  RowTasks out;
  RowTask open;
  const auto positions = [&](std::int64_t first, std::int64_t last) {
    return std::int64_t{groups.offsets[static_cast<std::size_t>(last)]} -
           groups.offsets[static_cast<std::size_t>(first)];
  };
  const auto close = [&] {
    if (positions(open.first, open.last) > 0) out.sorts.push_back(open);
    open.first = open.last;
  };
  for (std::int64_t i = 0; i < work.vocab; ++i) {
    if (positions(i, i + 1) > work.sortable) {
      close();
      out.tables.push_back({i, i + 1});
      open = {i + 1, i + 1};
      continue;
    }
    const std::int64_t rows = open.last - open.first;
    if (positions(open.first, i + 1) > work.block || rows == most_rows ||
        (rows == few_rows && positions(open.first, i) >= work.block / 4))
      close();
    open.last = i + 1;
  }
  close();
  return out;
}

std::uint64_t most_tasks(const RowWork& work, std::int64_t n) {
  // Two that follow each other have a fourth of a block, or as many rows as a task may have, or a table
  // between them.
  return static_cast<std::uint64_t>(std::min(n, 12 * (n / work.block) + work.vocab / work.most_rows()) + 2);
}

RowWorker::RowWorker(Device& device, const RowWork& work, bool with_tables)
    : work_(work),
      memory_(device, work.worker_words()),
      tables_(with_tables
                  ? zeros<std::uint32_t>(device, static_cast<std::size_t>(work.lags * work.table_cells()))
                  : Buffer<std::uint32_t>()),
      targets_(memory_.data()),
      row_bits_(targets_ + work.lags * work.sortable),
      keys_(row_bits_ + work.sortable),
      other_(keys_ + work.sortable + 1),
      distinct_(other_ + work.sortable + 1),
      histogram_(distinct_ + work.sortable),
      words_(keys_) {
  for (std::int32_t l = 0; l < work.lags; ++l) logs_.emplace_back(device, work.log_block);
}

void RowWorker::sort(TokenChunk chunk, const GroupedPositions& groups, RowTask task, CountCsr* lags,
                     RowPiece* pieces) {
  const std::uint32_t* const offsets = groups.offsets.data();
  const std::int64_t begin = offsets[task.first], n = offsets[task.last] - begin,
                     rows = task.last - task.first;
  gather_targets(chunk, groups, begin, n, work_.lags, targets_, work_.sortable);
  for (std::int64_t i = 0; i < rows; ++i)
    std::fill(row_bits_ + (offsets[task.first + i] - begin),
              row_bits_ + (offsets[task.first + i + 1] - begin),
              static_cast<std::uint32_t>(i << work_.format.column_bits()));
  for (std::int32_t l = 0; l < work_.lags; ++l) {
    const std::int64_t words = sort_lag(targets_ + l * work_.sortable, n, rows);
    std::uint64_t* const counts = lags[l].row_offsets.data() + task.first + 1;
    std::uint32_t before = 0;
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::uint32_t upto = std::max(before, distinct_[i]);  // 0: a row without pairs
      counts[i] = upto - before;
      before = upto;
    }
    pieces[l].begin = log(l).size();
    log(l).append(words_, static_cast<std::size_t>(words));
    pieces[l].end = log(l).size();
  }
}

// The pairs of `rows` rows by row and column, as words in words_, and how many they are to distinct_. A radix
// sort: few passes over memory that is in the cache, and no branch that the data decide.
std::int64_t RowWorker::sort_lag(const TokenId* targets, std::int64_t n, std::int64_t rows) {
  const int bits = work_.format.column_bits() + std::bit_width(static_cast<std::uint64_t>(rows - 1));
  const int passes = std::max(1, static_cast<int>((bits + kDigitBits - 1) / kDigitBits));
  const int digit_bits = (bits + passes - 1) / passes;
  const std::uint32_t digits = std::uint32_t{1} << digit_bits, mask = digits - 1;
  std::fill_n(histogram_, std::int64_t{passes} << digit_bits, 0);
  const auto make = passes == 1 ? make_keys<1> : passes == 2 ? make_keys<2> : make_keys<3>;
  const std::int64_t made = make(targets, row_bits_, n, digit_bits, keys_, histogram_);
  std::uint32_t *from = keys_, *to = other_;
  for (int p = 0; p < passes; ++p) {
    std::uint32_t* const at = histogram_ + (std::int64_t{p} << digit_bits);
    std::uint32_t sum = 0;
    for (std::uint32_t d = 0; d < digits; ++d) sum += std::exchange(at[d], sum);
    const int shift = p * digit_bits;
    for (std::int64_t k = 0; k < made; ++k) to[at[from[k] >> shift & mask]++] = from[k];
    std::swap(from, to);
  }
  words_ = from;
  return encode_runs(from, made, rows);
}

// Equal keys follow each other: each run of them becomes a word (two, if it is long) where the run was, and
// distinct_[i] the number of runs up to the end of row i, 0 where the row has none. Without branches: whether
// a run ends is a coin toss in the rows that matter.
std::int64_t RowWorker::encode_runs(const std::uint32_t* keys, std::int64_t n, std::int64_t rows) {
  std::fill_n(distinct_, rows, 0);
  const PairWords format = work_.format;
  const int bits = format.column_bits();
  const std::uint32_t mask = format.column_mask(), most = format.most();
  std::uint32_t* word = words_;
  std::uint32_t run = 0, runs = 0, key = n > 0 ? keys[0] : 0;
  for (std::int64_t k = 0; k < n; ++k) {
    const std::uint32_t next = keys[k + 1];
    const bool ends = k + 1 == n || next != key;
    ++run;
    if (run > most) [[unlikely]] {
      if (ends) {
        *word++ = key & mask;
        *word++ = run;
      }
    } else {
      *word = format.word(key & mask, run);
      word += ends ? 1 : 0;
    }
    runs += ends ? 1 : 0;
    run = ends ? 0 : run;
    distinct_[key >> bits] = runs;
    key = next;
  }
  return word - words_;
}

void RowWorker::tabulate(TokenChunk chunk, const GroupedPositions& groups, RowTask task, CountCsr* lags,
                         RowPiece* pieces) {
  const std::uint32_t* const offsets = groups.offsets.data();
  const std::int64_t end = offsets[task.last], cells = work_.table_cells();
  const std::int64_t piece = std::min(kTableGather, work_.sortable);
  for (std::int64_t at = offsets[task.first]; at < end; at += piece) {
    const std::int64_t n = std::min(piece, end - at);
    gather_targets(chunk, groups, at, n, work_.lags, targets_, piece);
    for (std::int32_t l = 0; l < work_.lags; ++l) {
      std::uint32_t* const table = tables_.data() + l * cells;
      for (const TokenId *t = targets_ + l * piece, *last = t + n; t != last; ++t)
        if (*t != kDocumentBreak) [[likely]]
          ++table[*t];
    }
  }
  for (std::int32_t l = 0; l < work_.lags; ++l) {
    pieces[l].begin = log(l).size();
    lags[l].row_offsets.data()[task.first + 1] = empty_table(tables_.data() + l * cells, log(l));
    pieces[l].end = log(l).size();
  }
}

// Appends a table's counters as words, makes them zero and returns how many were not.
std::uint64_t RowWorker::empty_table(std::uint32_t* table, WordLog& log) {
  const PairWords format = work_.format;
  const std::uint32_t most = format.most();
  std::uint64_t found = 0;
  std::uint32_t* word = keys_;
  const std::uint32_t* const nearly_full = keys_ + work_.sortable - 2 * kCellsAtOnce;
  for (std::int64_t j = 0; j < work_.table_cells(); j += kCellsAtOnce) {
    std::uint32_t any = 0;
    for (std::int64_t q = 0; q < kCellsAtOnce; ++q) any |= table[j + q];
    if (any == 0) continue;
    for (std::int64_t q = 0; q < kCellsAtOnce; ++q) {
      const std::uint32_t count = std::exchange(table[j + q], 0), column = static_cast<std::uint32_t>(j + q);
      found += count != 0 ? 1 : 0;
      if (count > most) [[unlikely]] {
        *word++ = column;
        *word++ = count;
      } else {
        *word = format.word(column, count);
        word += count != 0 ? 1 : 0;
      }
    }
    if (word > nearly_full) {
      log.append(keys_, static_cast<std::size_t>(word - keys_));
      word = keys_;
    }
  }
  log.append(keys_, static_cast<std::size_t>(word - keys_));
  return found;
}

}  // namespace aloft::cpu
