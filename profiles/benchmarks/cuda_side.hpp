#pragma once
#include <cstdint>
#include <memory>

#include "profiles/benchmarks/harness.hpp"

// The part of the benchmarks that needs the CUDA runtime. `device` is always a CudaDevice.

namespace aloft::profiles {

/// Events around the work on the device's stream.
[[nodiscard]] std::unique_ptr<Timer> make_event_timer(Device& device);

/// About n atomic increments of uniformly random counters of table [slots] (of the first 2^k of them),
/// indices made in registers; asynchronous on the device's stream. Returns how many exactly.
std::int64_t increment_global(Device& device, std::uint32_t* table, std::size_t slots, std::int64_t n);

/// Atomic increments of uniformly random counters in shared memory. One block is as wide, and its table as
/// large, as those of the kernel that counts bytes (count_bytes.cu), or as large as a block's may be.
class SharedIncrements {
 public:
  /// About n of them a run.
  SharedIncrements(Device& device, std::int64_t n);
  void run() const;  ///< asynchronous on the device's stream
  [[nodiscard]] std::int64_t total() const { return blocks_ * threads_ * each_; }  ///< of a run
  [[nodiscard]] std::int64_t counted() const;  ///< what the tables of the last run summed up to
 private:
  Device& device_;
  std::size_t bytes_ = 0;
  std::int64_t blocks_ = 0, threads_ = 0, each_ = 0;
  mutable Buffer<std::uint32_t> sums_;  // [blocks][threads]
};

/// Reads row columns[k] of x [.., d] for every k in [0, n), and adds each worker's rows up. x in slabs of few
/// columns, one after the other, so that a slab's rows stay in L2. sums: [kGatherWorkers, d]; asynchronous on
/// the device's stream.
inline constexpr std::int64_t kGatherWorkers = 132 * 64;  ///< warps that fill the largest GPUs of today
void gather_rows(Device& device, const std::uint32_t* columns, std::int64_t n, const double* x,
                 std::int64_t d, double* sums);

/// Page-locked host memory, zeroed.
class PageLocked {
 public:
  explicit PageLocked(std::size_t bytes);
  ~PageLocked();
  PageLocked(const PageLocked&) = delete;
  PageLocked& operator=(const PageLocked&) = delete;
  [[nodiscard]] void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

}  // namespace aloft::profiles
