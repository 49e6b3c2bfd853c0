#include "host/cuda_device.hpp"

#include <fmt/format.h>
#include <nvtx3/nvToolsExt.h>

#include "host/cuda_check.hpp"

namespace aloft {
namespace {

class StreamDevice final : public CudaDevice {
 public:
  StreamDevice() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~StreamDevice() override {
    if (stream_ != nullptr) (void)cudaStreamDestroy(stream_);
  }
  StreamDevice(const StreamDevice&) = delete;
  StreamDevice& operator=(const StreamDevice&) = delete;

  cudaStream_t stream() const noexcept override { return stream_; }
  std::string_view name() const noexcept override { return "cuda"; }
  bool shares_host_memory() const noexcept override { return false; }
  void* allocate(std::size_t bytes) override {
    void* p = nullptr;
    check(cudaMallocAsync(&p, bytes == 0 ? 1 : bytes, stream_));
    return p;
  }
  void deallocate(void* p) noexcept override { (void)cudaFreeAsync(p, stream_); }
  void zero(void* dst, std::size_t bytes) override {
    if (bytes != 0) check(cudaMemsetAsync(dst, 0, bytes, stream_));
  }
  void upload(void* dst, const void* src, std::size_t bytes) override {
    transfer(dst, src, bytes, cudaMemcpyHostToDevice);
  }
  void download(void* dst, const void* src, std::size_t bytes) override {
    transfer(dst, src, bytes, cudaMemcpyDeviceToHost);
  }
  void copy(void* dst, const void* src, std::size_t bytes) override {
    transfer(dst, src, bytes, cudaMemcpyDeviceToDevice);
  }
  void synchronize() override { check(cudaStreamSynchronize(stream_)); }
  void push_range(const char* name) override { (void)nvtxRangePushA(name); }
  void pop_range() noexcept override { (void)nvtxRangePop(); }

 private:
  void transfer(void* dst, const void* src, std::size_t bytes, cudaMemcpyKind kind) {
    if (bytes != 0) check(cudaMemcpyAsync(dst, src, bytes, kind, stream_));
  }
  cudaStream_t stream_ = nullptr;
};

}  // namespace

std::unique_ptr<CudaDevice> make_cuda_device() { return std::make_unique<StreamDevice>(); }

CudaStatus cuda_status() {
  int devices = 0;
  if (const cudaError_t code = cudaGetDeviceCount(&devices); code != cudaSuccess || devices == 0) {
    (void)cudaGetLastError();
    return {false, fmt::format("compiled in, but no CUDA device was found ({})", cudaGetErrorString(code))};
  }
  int device = 0, driver = 0, runtime = 0;
  cudaDeviceProp properties{};
  check(cudaGetDevice(&device));
  check(cudaGetDeviceProperties(&properties, device));
  check(cudaDriverGetVersion(&driver));
  check(cudaRuntimeGetVersion(&runtime));
  return {true, fmt::format("{}, sm_{}{}, {} GiB, driver CUDA {}.{}, runtime CUDA {}.{}", properties.name,
                            properties.major, properties.minor, properties.totalGlobalMem >> 30,
                            driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10)};
}

}  // namespace aloft
