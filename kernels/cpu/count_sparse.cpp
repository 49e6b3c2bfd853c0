#include <omp.h>

#include <algorithm>
#include <exception>

#include "host/error.hpp"
#include "kernels/cpu/count_ops.hpp"
#include "kernels/cpu/row_pairs.hpp"

// Counting without a V×V table, row by row. Positions are grouped by their token, so that those of a row are
// together; one visit to each reads the tokens behind it, the columns of its pairs at all lags. Rows of few
// positions are sorted by column, as many together as the cache holds; a long row is counted in one table a
// lag, which is small beside it. What comes out is packed (pair_words.hpp) until it is known how large each
// CSR is. So the length of a chunk matters to no step but the visits, and a long one has few pairs to add up
// afterwards.

namespace aloft::cpu {
namespace {

// The first exception of several threads: none may leave a parallel region.
class FirstFailure {
 public:
  template <class F>
  void guard(const F& f) noexcept {
    try {
      f();
    } catch (...) {
#pragma omp critical(aloft_first_failure)
      if (!failure_) failure_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  std::exception_ptr failure_;
};

// Row lengths, at offsets[i + 1], become offsets.
void sum_offsets(std::vector<CountCsr>& lags, std::int64_t threads) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(static_cast <int>(threads))
  for (std::size_t l = 0; l < lags.size(); ++l) {
    std::uint64_t* const offsets = lags[l].row_offsets.data();
    for (std::int64_t i = 0; i < lags[l].rows; ++i) offsets[i + 1] += offsets[i];
  }
}

}  // namespace

std::uint64_t CpuCountOps::sparse_workspace_bytes(std::int64_t n, std::int64_t vocab,
                                                  std::int32_t max_lag) const {
  const RowWork work(n, vocab, max_lag);
  const auto tokens = static_cast<std::uint64_t>(n), ids = static_cast<std::uint64_t>(vocab + 1);
  const auto lags = static_cast<std::uint64_t>(max_lag);
  // The positions, and later in their place the words of the lag that is unpacked; the result.
  const std::uint64_t per_token =
      sizeof(std::uint32_t) + lags * (sizeof(std::uint32_t) + sizeof(std::uint64_t));
  // Offsets of the groups; offsets of the result.
  const std::uint64_t per_id = sizeof(std::uint32_t) + lags * sizeof(std::uint64_t);
  const std::uint64_t per_task = sizeof(RowTask) + lags * sizeof(RowPiece);
  return tokens * per_token + ids * per_id + most_tasks(work, n) * per_task +
         std::max(grouping_bytes(n, vocab), work.bytes());
}

std::vector<CountCsr> CpuCountOps::count_pairs_sparse(TokenChunk chunk, std::int64_t vocab,
                                                      std::int32_t max_lag) {
  expects(max_lag >= 1 && max_lag <= 255, "max_lag outside 1..255");
  expects(chunk.n_from + chunk.halo < (std::int64_t{1} << 32), "a chunk of 2^32 tokens or more");
  GroupedPositions groups = group_by_token(device_, chunk, vocab);
  const RowWork work(chunk.n_from, vocab, max_lag);
  std::vector<CountCsr> out(static_cast<std::size_t>(max_lag));
  for (CountCsr& lag : out)
    lag = {vocab, vocab, zeros<std::uint64_t>(device_, static_cast<std::size_t>(vocab + 1)), {}, {}};
  std::vector<RowWorker> workers;
  for (std::int64_t w = 0; w < work.workers; ++w) workers.emplace_back(device_, work, w < work.tables);

  const RowTasks rows = split_rows(work, groups);
  std::vector<RowTask> tasks = rows.tables;  // these first: they are the longest
  tasks.insert(tasks.end(), rows.sorts.begin(), rows.sorts.end());
  std::vector<RowPiece> pieces(tasks.size() * out.size());
  FirstFailure failure;
  const auto make = [&](std::size_t begin, std::size_t end, std::int64_t threads, auto method) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(static_cast <int>(threads))
    for (std::size_t t = begin; t < end; ++t) {
      const auto worker = static_cast<std::size_t>(omp_get_thread_num());
      RowPiece* const of_task = pieces.data() + t * out.size();
      for (std::size_t l = 0; l < out.size(); ++l) of_task[l].worker = static_cast<std::uint32_t>(worker);
      failure.guard([&] { (workers[worker].*method)(chunk, groups, tasks[t], out.data(), of_task); });
    }
  };
  make(0, rows.tables.size(), std::max<std::int64_t>(1, work.tables), &RowWorker::tabulate);
  make(rows.tables.size(), tasks.size(), work.workers, &RowWorker::sort);
  failure.rethrow();
  groups = {};
  sum_offsets(out, work.workers);
  for (std::int32_t l = 0; l < max_lag; ++l) {
    CountCsr& lag = out[static_cast<std::size_t>(l)];
    const std::uint64_t* const offsets = lag.row_offsets.data();
    lag.columns = Buffer<std::uint32_t>(device_, offsets[vocab]);
    lag.values = Buffer<std::uint64_t>(device_, offsets[vocab]);
#pragma omp parallel for schedule(dynamic, 8) num_threads(static_cast <int>(work.workers))
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      const RowPiece& piece = pieces[t * out.size() + static_cast<std::size_t>(l)];
      const std::uint64_t at = offsets[tasks[t].first];
      workers[piece.worker].log(l).unpack(work.format, piece.begin, piece.end, lag.columns.data() + at,
                                          lag.values.data() + at);
    }
    for (RowWorker& worker : workers) worker.log(l).clear();
  }
  return out;
}

}  // namespace aloft::cpu
