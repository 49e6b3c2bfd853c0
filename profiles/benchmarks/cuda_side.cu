#include "profiles/benchmarks/cuda_side.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "host/cuda_check.hpp"
#include "host/cuda_device.hpp"
#include "kernels/cuda/count_kernels.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/resident.cuh"

namespace aloft::profiles {
namespace {

constexpr unsigned kThreads = 256;
constexpr std::int64_t kMostBlocks = 132 * 8;  // fills the largest GPUs of today; more only waits
constexpr unsigned kSharedThreads = 1024;      // as count_bytes.cu: one block a multiprocessor
constexpr std::int64_t kLanes = 32;

cudaStream_t stream_of(Device& device) { return dynamic_cast<CudaDevice&>(device).stream(); }

class Event {
 public:
  Event() { check(cudaEventCreate(&event_)); }
  ~Event() { (void)cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  [[nodiscard]] cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class EventTimer final : public Timer {
 public:
  explicit EventTimer(Device& device) : device_(device) {}
  double seconds(const std::function<void()>& work) override {
    device_.synchronize();
    check(cudaEventRecord(start_.get(), stream_of(device_)));
    work();
    check(cudaEventRecord(stop_.get(), stream_of(device_)));
    check(cudaEventSynchronize(stop_.get()));
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start_.get(), stop_.get()));
    return static_cast<double>(milliseconds) * 1e-3;
  }

 private:
  Device& device_;
  Event start_, stop_;
};

// A thread's own uniform numbers, in registers: a linear congruential generator, started from the thread's
// number well mixed (the end of MurmurHash3), its high bits folded onto its low ones, which alone repeat
// soon.
class RandomIndex {
 public:
  __device__ RandomIndex(std::uint32_t thread, std::uint32_t mask) : state_(thread), mask_(mask) {
    state_ = (state_ ^ state_ >> 16) * 0x85EBCA6Bu;
    state_ = (state_ ^ state_ >> 13) * 0xC2B2AE35u;
    state_ ^= state_ >> 16;
  }
  __device__ std::uint32_t next() {
    state_ = state_ * 1664525u + 1013904223u;
    return (state_ ^ state_ >> 16) & mask_;
  }

 private:
  std::uint32_t state_, mask_;
};

// table [mask + 1]
__global__ __launch_bounds__(kThreads) void increment_random_global(std::uint32_t* table, std::uint32_t mask,
                                                                    std::int32_t each) {
  RandomIndex index(blockIdx.x * blockDim.x + threadIdx.x, mask);
#pragma unroll 8
  for (std::int32_t k = 0; k < each; ++k) atomicAdd(&table[index.next()], 1u);
}

// shared: u32 [mask + 1]. sums [gridDim.x][blockDim.x]: together, how much the tables of all blocks hold.
__global__ __launch_bounds__(kSharedThreads) void increment_random_shared(std::uint32_t mask,
                                                                          std::int32_t each,
                                                                          std::uint32_t* sums) {
  DYN_SHARED(unsigned, table);
  const std::uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x;
  for (std::uint32_t w = threadIdx.x; w <= mask; w += blockDim.x) table[w] = 0;
  __syncthreads();
  RandomIndex index(thread, mask);
#pragma unroll 8
  for (std::int32_t k = 0; k < each; ++k) atomicAdd(&table[index.next()], 1u);
  __syncthreads();
  std::uint32_t sum = 0;
  for (std::uint32_t w = threadIdx.x; w <= mask; w += blockDim.x) sum += table[w];
  sums[thread] = sum;
}

// A warp an entry, a lane a column of the slab blockIdx.y.
__global__ __launch_bounds__(kThreads) void gather_row_sums(const std::uint32_t* columns, std::int64_t n,
                                                            const double* x, std::int64_t d, double* sums) {
  const std::int64_t worker = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kLanes;
  const std::int64_t workers = std::int64_t{gridDim.x} * blockDim.x / kLanes;
  const std::int64_t j = std::int64_t{blockIdx.y} * kLanes + threadIdx.x % kLanes;
  if (j >= d) return;
  double sum = 0;
#pragma unroll 8
  for (std::int64_t k = worker; k < n; k += workers) sum += x[columns[k] * d + j];
  sums[worker * d + j] = sum;
}

}  // namespace

std::unique_ptr<Timer> make_event_timer(Device& device) { return std::make_unique<EventTimer>(device); }

std::int64_t increment_global(Device& device, std::uint32_t* table, std::size_t slots, std::int64_t n) {
  const auto mask = static_cast<std::uint32_t>(std::bit_floor(slots) - 1);
  const std::int64_t blocks = std::clamp<std::int64_t>(n / kThreads, 1, kMostBlocks);
  const std::int64_t each = std::max<std::int64_t>(n / (blocks * kThreads), 1);
  check(launch(increment_random_global, static_cast<unsigned>(blocks), kThreads, 0, stream_of(device), table,
               mask, static_cast<std::int32_t>(each)));
  return blocks * kThreads * each;
}

SharedIncrements::SharedIncrements(Device& device, std::int64_t n)
    : device_(device), threads_(kSharedThreads) {
  int gpu = 0, most = 0;
  check(cudaGetDevice(&gpu));
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, gpu));
  constexpr std::size_t of_bytes = cuda::kByteVocab * cuda::kByteVocab * sizeof(std::uint16_t);
  bytes_ = std::bit_floor(std::min(of_bytes, static_cast<std::size_t>(most)));
  blocks_ =
      cuda::resident_blocks(reinterpret_cast<const void*>(increment_random_shared), kSharedThreads, bytes_);
  each_ = std::max<std::int64_t>(n / (blocks_ * threads_), 1);
  sums_ = Buffer<std::uint32_t>(device, static_cast<std::size_t>(blocks_ * threads_));
}

void SharedIncrements::run() const {
  const auto mask = static_cast<std::uint32_t>(bytes_ / sizeof(std::uint32_t) - 1);
  check(launch(increment_random_shared, static_cast<unsigned>(blocks_), kSharedThreads, bytes_,
               stream_of(device_), mask, static_cast<std::int32_t>(each_), sums_.data()));
}

std::int64_t SharedIncrements::counted() const {
  std::int64_t sum = 0;
  for (const std::uint32_t part : to_host(sums_)) sum += part;
  return sum;
}

void gather_rows(Device& device, const std::uint32_t* columns, std::int64_t n, const double* x,
                 std::int64_t d, double* sums) {
  constexpr std::int64_t warps = kThreads / kLanes;
  static_assert(kGatherWorkers % warps == 0);
  const dim3 grid{static_cast<unsigned>(kGatherWorkers / warps),
                  static_cast<unsigned>((d + kLanes - 1) / kLanes)};
  check(launch(gather_row_sums, grid, kThreads, 0, stream_of(device), columns, n, x, d, sums));
}

PageLocked::PageLocked(std::size_t bytes) {
  check(cudaMallocHost(&data_, bytes));
  std::memset(data_, 0, bytes);
}

PageLocked::~PageLocked() { (void)cudaFreeHost(data_); }

}  // namespace aloft::profiles
