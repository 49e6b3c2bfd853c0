#pragma once
#include <deque>
#include <mutex>
#include <vector>

#include "tests/simt/cudart.hpp"
#include "tests/simt/engine.hpp"
#include "tests/simt/lifetimes.hpp"

// What the files of the stand-in runtime share.

/// An operation returns false as long as it has to wait (for an event).
struct CUstream_st {
  std::deque<std::function<bool()>> queue;
  bool blocking = true;  ///< synchronises with the legacy default stream
  int device = 0;
  int number = 0;     ///< 0: the legacy default stream
  simt::Known known;  ///< to an operation queued next: what is over before it
};
struct CUevent_st {
  int device = 0;
  simt::Known known;  ///< to who waits for it
  std::uint64_t recorded = 0, done = 0;
};

namespace simt {

/// Held by every entry point.
[[nodiscard]] std::unique_lock<std::recursive_mutex> lock_runtime();
/// Notes `code` for cudaGetLastError and returns it.
cudaError_t done(cudaError_t code);
/// Where a call fails when it is its turn; otherwise the sticky error of an earlier failed kernel, if any.
cudaError_t gate(cudaError_t injected = cudaErrorUnknown);
/// For calls that wait: what fails there is earlier work, and the error stays.
cudaError_t gate_of_wait();
/// The calling thread's.
[[nodiscard]] int current_device();
/// An error where the current device cannot be used.
[[nodiscard]] cudaError_t context();
/// An error where a stream is another device's than the current one.
[[nodiscard]] cudaError_t on_its_device(cudaStream_t stream);
/// What a pool keeps above its release threshold goes back; when the host has waited for the device.
void release_kept();
/// Forgets what the pools keep, for reset().
void forget_pools();
/// Appends to a stream, and tells `queued` as what.
cudaError_t enqueue_step(cudaStream_t stream, std::function<bool()> step,
                         const std::function<void(const Queued&)>& queued = {});
/// A mistake that is no error on a GPU: here it is one, and stays, as if a kernel had failed.
void misuse(const std::string& what);
/// An error stays, and nothing runs any more: neither kernels nor what was queued behind them.
[[nodiscard]] bool failed();
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
