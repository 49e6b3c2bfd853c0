#include "profiles/benchmarks/cuda_side.hpp"

#include <cstring>

#include "host/cuda_check.hpp"
#include "host/cuda_device.hpp"
#include "kernels/cuda/launch.cuh"

namespace aloft::profiles {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMostBlocks = 132 * 16;  // fills the largest GPUs of today; more only waits

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

__global__ __launch_bounds__(kThreads) void increment_indexed(std::uint32_t* table,
                                                              const std::uint32_t* indices, std::int64_t n) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t k = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; k < n; k += stride)
    atomicAdd(&table[indices[k]], 1u);
}

}  // namespace

std::unique_ptr<Timer> make_event_timer(Device& device) { return std::make_unique<EventTimer>(device); }

void increment_atomically(Device& device, std::uint32_t* table, const std::uint32_t* indices,
                          std::int64_t n) {
  const std::int64_t wanted = (n + kThreads - 1) / kThreads;
  const auto blocks = static_cast<unsigned>(wanted < kMostBlocks ? wanted : kMostBlocks);
  check(launch(increment_indexed, dim3(blocks), dim3(kThreads), 0, stream_of(device), table, indices, n));
}

PageLocked::PageLocked(std::size_t bytes) {
  check(cudaMallocHost(&data_, bytes));
  std::memset(data_, 0, bytes);
}

PageLocked::~PageLocked() { (void)cudaFreeHost(data_); }

}  // namespace aloft::profiles
