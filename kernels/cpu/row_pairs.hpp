#pragma once
#include <cstdint>
#include <vector>

#include "kernels/cpu/grouped_positions.hpp"
#include "kernels/cpu/pair_words.hpp"

namespace aloft::cpu {

/// How much work memory counting a chunk's rows takes, and how it is cut.
struct RowWork {
  RowWork(std::int64_t n, std::int64_t vocab, std::int32_t max_lag);

  std::int64_t vocab;
  std::int32_t lags;
  PairWords format;
  std::int64_t workers;  ///< threads
  std::int64_t block;    ///< positions of rows that are sorted together: what a worker has stays in its cache
  std::int64_t sortable;  ///< positions of a row that is sorted; those of a longer one are counted in tables
  std::int64_t tables;    ///< workers that have tables of counters, one a lag
  std::size_t log_block;  ///< words allocated at a time

  /// Of a task, empty ones too: what a key can tell apart, and what there is memory for.
  [[nodiscard]] std::int64_t most_rows() const;
  [[nodiscard]] std::int64_t table_cells() const;  ///< of one lag
  [[nodiscard]] std::size_t worker_words() const;  ///< of a worker without its tables
  /// Upper bound of the memory of all workers, without what their logs hold, but with blocks that are not
  /// full.
  [[nodiscard]] std::uint64_t bytes() const;
};

/// Rows [first, last), of which the pairs are made at once.
struct RowTask {
  std::int64_t first = 0;
  std::int64_t last = 0;
};
struct RowTasks {
  std::vector<RowTask> tables;  ///< single rows, each longer than RowWork::sortable
  std::vector<RowTask> sorts;
};
/// All rows. At most most_tasks() of them.
[[nodiscard]] RowTasks split_rows(const RowWork& work, const GroupedPositions& groups);
[[nodiscard]] std::uint64_t most_tasks(const RowWork& work, std::int64_t n);

/// Where the words of a task's pairs are, at one lag.
struct RowPiece {
  std::uint32_t worker = 0;
  std::uint64_t begin = 0, end = 0;
};

/// What one thread needs to make the pairs of rows.
class RowWorker {
 public:
  RowWorker(Device& device, const RowWork& work, bool with_tables);

  /// Writes the number of different pairs in row i to lags[l].row_offsets[i + 1], the pairs to this worker's
  /// logs, and where they are to pieces[l], for every lag. Throws ResourceError. sort: by columns, all of the
  /// task's rows together; tabulate: counts the pairs of its one row in tables.
  void sort(TokenChunk chunk, const GroupedPositions& groups, RowTask task, CountCsr* lags, RowPiece* pieces);
  void tabulate(TokenChunk chunk, const GroupedPositions& groups, RowTask task, CountCsr* lags,
                RowPiece* pieces);
  [[nodiscard]] WordLog& log(std::int32_t lag) { return logs_[static_cast<std::size_t>(lag)]; }

 private:
  [[nodiscard]] std::int64_t sort_lag(const TokenId* targets, std::int64_t n, std::int64_t rows);
  [[nodiscard]] std::int64_t encode_runs(const std::uint32_t* keys, std::int64_t n, std::int64_t rows);
  [[nodiscard]] std::uint64_t empty_table(std::uint32_t* table, WordLog& log);

  const RowWork work_;
  Buffer<std::uint32_t> memory_, tables_;
  TokenId* targets_;           // [lags][sortable]
  std::uint32_t* row_bits_;    // [sortable] of each position: its row, as the upper bits of a key
  std::uint32_t* keys_;        // [sortable + 1], as are the words that are made of them
  std::uint32_t* other_;       // [sortable + 1]
  std::uint32_t* distinct_;    // [sortable] pairs up to the end of each row
  std::uint32_t* histogram_;   // [passes][digits]
  std::uint32_t* words_;       // keys_ or other_
  std::vector<WordLog> logs_;  // [lags]
};

}  // namespace aloft::cpu
