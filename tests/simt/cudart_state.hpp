#pragma once
#include <deque>
#include <mutex>
#include <vector>

#include "tests/simt/cudart.hpp"
#include "tests/simt/engine.hpp"

// What the files of the stand-in runtime share.

/// An operation returns false as long as it has to wait (for an event).
struct CUstream_st {
  std::deque<std::function<bool()>> queue;
  bool blocking = true;  ///< synchronises with the legacy default stream
};
struct CUevent_st {
  std::uint64_t recorded = 0, done = 0;
};

namespace simt {

/// Held by every entry point.
[[nodiscard]] std::unique_lock<std::recursive_mutex> lock_runtime();
/// Notes `code` for cudaGetLastError and returns it.
cudaError_t done(cudaError_t code);
/// Where a call fails when it is its turn; otherwise the sticky error of an earlier failed kernel, if any.
cudaError_t gate(cudaError_t injected = cudaErrorUnknown);
[[nodiscard]] cudaError_t sticky_error();
/// Appends to a stream.
cudaError_t enqueue_step(cudaStream_t stream, std::function<bool()> step);
/// Runs one operation of a random stream that can proceed; false when none can.
bool step();
/// Runs operations until `finished`; streams that wait for each other for ever are a sticky error.
cudaError_t run_until(const std::function<bool()>& finished);
/// Runs whatever can run.
void run_all();
[[nodiscard]] CUstream_st& stream_of(cudaStream_t stream);
/// For reset(): forgets errors.
void forget_errors();

}  // namespace simt
