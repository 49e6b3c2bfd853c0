#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

// The stand-in for libcudart. Link it instead, and the host side of the CUDA backend runs on the CPU too:
//   * work is queued per stream and runs, in a random legal order, only when the host waits for it, so a
//     missing event or synchronisation, or a staging buffer reused too early, gives wrong data;
//   * pageable host memory is read when the copy is called for (CUDA stages it), pinned memory when the copy
//     runs; device-to-host copies always write when they run;
//   * device memory is exact in size (AddressSanitizer sees its end), starts as garbage *when its stream gets
//     there*, and becomes garbage again when its stream frees it;
//   * memory that is used after it was freed, freed while another stream may still use it, or used by a
//   stream
//     that does not wait for its allocation, is an error at once and under every seed (lifetimes.hpp);
//   * memory freed in stream order stays with the device's pool as far as its release threshold goes, and is
//     lost to cudaMalloc as long as it does;
//   * there may be several devices; streams and events are their own device's, and refuse to be used from a
//     thread where another one is current;
//   * any call can be made to fail, and memory can be made scarce.
// For whole programs the environment says it: SIMT_DEVICES=n, SIMT_BUSY_DEVICES=mask, SIMT_FAIL_KERNEL=name.
// Any thread may call; one lock is held for the length of each call, and kernels run inside it.

namespace simt {

struct Runtime {
  // What tests set.
  int devices = 1;    ///< in this machine, at most kMaxDevices; all alike
  unsigned busy = 0;  ///< a bit for each device that another process keeps for itself
  std::size_t capacity = std::size_t{1} << 30;  ///< bytes of each device's memory
  std::uint64_t fail_call = 0;                  ///< the call with this number (from 1) fails; 0: none
  std::uint64_t seed = 0;                       ///< of the order in which streams proceed

  // What tests read.
  std::uint64_t calls = 0;                     ///< that may fail, since reset()
  std::size_t bytes = 0;                       ///< device memory in use, of all devices
  std::size_t peak_bytes = 0;                  ///< its maximum since reset()
  int allocations = 0;                         ///< device allocations in use
  int host_allocations = 0;                    ///< pinned ones
  std::uint64_t uploaded = 0, downloaded = 0;  ///< bytes that copies from and to the host were asked for
  int streams = 0, events = 0;
  std::string
      misuse;  ///< the first mistake with memory, which a GPU would not report; a test that leaves one fails

  std::uint64_t random();
  /// Runs what is queued, then forgets errors, as a new process would, and counts calls from 1 again.
  void reset(std::uint64_t new_seed);
};
extern Runtime runtime;
inline constexpr int kMaxDevices = 8;

/// Queues host work on a stream, as a library call on a GPU would be (the vendor stand-ins use it). The work
/// must not call the runtime.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);

}  // namespace simt
