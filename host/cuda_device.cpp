#include "host/cuda_device.hpp"

#include <fmt/format.h>
#include <nvtx3/nvToolsExt.h>

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "host/cuda_check.hpp"
#include "host/error.hpp"

namespace aloft {
namespace {

// Streams and events that go away with their owner.
class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  /// Of GPU `index`, which becomes the thread's current one.
  explicit Stream(int index) {
    check(cudaSetDevice(index));
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  }
  ~Stream() { (void)cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  [[nodiscard]] cudaStream_t get() const noexcept { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  Event() { check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
  ~Event() {
    if (event_ != nullptr) (void)cudaEventDestroy(event_);
  }
  Event(Event&& other) noexcept : event_(other.event_) { other.event_ = nullptr; }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  Event& operator=(Event&&) = delete;
  [[nodiscard]] cudaEvent_t get() const noexcept { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class StreamLanes final : public UploadLanes {
 public:
  StreamLanes(cudaStream_t work, int lanes)
      : work_(work), copied_(static_cast<std::size_t>(lanes)), released_(static_cast<std::size_t>(lanes)) {
    for (int lane = 0; lane < lanes; ++lane) release(lane);  // the buffers are allocated in stream order
  }
  ~StreamLanes() override {
    if (under_way_ != 0) (void)cudaStreamSynchronize(copies_.get());
  }

  void upload(int lane, void* dst, const void* staging, std::size_t bytes) override {
    under_way_ |= 1u << lane;
    check(cudaStreamWaitEvent(copies_.get(), at(released_, lane), 0));
    if (bytes != 0) check(cudaMemcpyAsync(dst, staging, bytes, cudaMemcpyHostToDevice, copies_.get()));
    check(cudaEventRecord(at(copied_, lane), copies_.get()));
  }
  void acquire(int lane) override { check(cudaStreamWaitEvent(work_, at(copied_, lane), 0)); }
  void release(int lane) override { check(cudaEventRecord(at(released_, lane), work_)); }
  void wait(int lane) override {
    check(cudaEventSynchronize(at(copied_, lane)));
    under_way_ &= ~(1u << lane);
  }

 private:
  static cudaEvent_t at(const std::vector<Event>& events, int lane) {
    return events[static_cast<std::size_t>(lane)].get();
  }
  cudaStream_t work_;
  std::vector<Event> copied_, released_;  // [lanes]
  Stream copies_;
  unsigned under_way_ = 0;  // a bit for each lane whose upload nobody has waited for
};

GpuInfo describe(int index) {
  cudaDeviceProp p{};
  check(cudaGetDeviceProperties(&p, index));
  std::string uuid = "GPU";
  for (int byte = 0; byte < 16; ++byte)
    uuid += fmt::format("{}{:02x}", byte == 0 || (byte % 2 == 0 && byte >= 4 && byte <= 10) ? "-" : "",
                        static_cast<unsigned char>(p.uuid.bytes[byte]));
  return {index, uuid, p.name, p.major, p.minor, p.totalGlobalMem};
}

class StreamDevice final : public CudaDevice {
 public:
  explicit StreamDevice(int index) : stream_(index) {
    // Freed memory stays in the pool, so that the steady state asks the driver for nothing. But not all of
    // it: NVIDIA's libraries have a cudaMalloc of their own, which cannot take what the pool keeps.
    check(cudaDeviceGetDefaultMemPool(&pool_, index));
    const DeviceMemory now = memory();
    std::uint64_t keep = now.free - std::min(now.free, device_reserve(now.total));
    check(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &keep));
  }

  cudaStream_t stream() const noexcept override { return stream_.get(); }
  std::string_view name() const noexcept override { return "cuda"; }
  bool shares_host_memory() const noexcept override { return false; }
  void* allocate(std::size_t bytes) override {
    if (limit_ != 0 && bytes > limit_ - std::min(limit_, used_))
      throw ResourceError(fmt::format(
          "out of GPU memory: {} bytes more than the {} in use would exceed the {} allowed: raise "
          "--device-memory",
          bytes, used_, limit_));
    const auto entry = sizes_.emplace(nullptr, bytes).first;  // what can fail without CUDA, first
    auto node = sizes_.extract(entry);
    void* p = nullptr;
    check(cudaMallocAsync(&p, std::max<std::size_t>(bytes, 1), stream()));
    node.key() = p;
    sizes_.insert(std::move(node));
    used_ += bytes;
    peak_ = std::max(peak_, used_);
    return p;
  }
  void deallocate(void* p) noexcept override {
    if (const auto found = sizes_.find(p); found != sizes_.end()) {
      used_ -= found->second;
      sizes_.erase(found);
    }
    (void)cudaFreeAsync(p, stream());
  }
  void zero(void* dst, std::size_t bytes) override {
    if (bytes != 0) check(cudaMemsetAsync(dst, 0, bytes, stream()));
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
  void copy_rows(void* dst, std::size_t dst_pitch, const void* src, std::size_t src_pitch, std::size_t width,
                 std::size_t rows) override {
    if (width != 0 && rows != 0)
      check(
          cudaMemcpy2DAsync(dst, dst_pitch, src, src_pitch, width, rows, cudaMemcpyDeviceToDevice, stream()));
  }
  void synchronize() override { check(cudaStreamSynchronize(stream())); }

  DeviceMemory memory() const override {
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total));
    std::uint64_t reserved = 0, used = 0;  // what the pool keeps is ours to hand out again
    check(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrReservedMemCurrent, &reserved));
    check(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrUsedMemCurrent, &used));
    return {free + (reserved - used), total};
  }
  void limit_memory(std::uint64_t bytes) override { limit_ = bytes; }
  std::uint64_t peak_bytes() const override { return peak_; }
  void reset_peak() override { peak_ = used_; }
  void* allocate_staging(std::size_t bytes) override {
    void* p = nullptr;
    check(cudaMallocHost(&p, std::max<std::size_t>(bytes, 1)));
    return p;
  }
  void deallocate_staging(void* p) noexcept override { (void)cudaFreeHost(p); }
  std::unique_ptr<UploadLanes> make_upload_lanes(int lanes) override {
    return std::make_unique<StreamLanes>(stream(), lanes);
  }

  void push_range(const char* name) override { (void)nvtxRangePushA(name); }
  void pop_range() noexcept override { (void)nvtxRangePop(); }

 private:
  void transfer(void* dst, const void* src, std::size_t bytes, cudaMemcpyKind kind) {
    if (bytes != 0) check(cudaMemcpyAsync(dst, src, bytes, kind, stream()));
  }
  Stream stream_;
  cudaMemPool_t pool_ = nullptr;
  std::uint64_t limit_ = 0, used_ = 0, peak_ = 0;
  std::unordered_map<void*, std::uint64_t> sizes_;  ///< of what is out
};

}  // namespace

std::unique_ptr<CudaDevice> make_cuda_device(int index) { return std::make_unique<StreamDevice>(index); }

std::optional<std::uint64_t> cuda_free_memory(int index) {
  int before = 0;
  check(cudaGetDevice(&before));
  std::size_t free = 0, total = 0;
  const bool known = cudaSetDevice(index) == cudaSuccess && cudaMemGetInfo(&free, &total) == cudaSuccess;
  (void)cudaGetLastError();
  (void)cudaSetDevice(before);
  (void)cudaGetLastError();
  return known ? std::optional<std::uint64_t>(free) : std::nullopt;
}

CudaStatus cuda_status() {
  int devices = 0;
  if (const cudaError_t code = cudaGetDeviceCount(&devices); code != cudaSuccess || devices == 0) {
    (void)cudaGetLastError();
    return {{}, fmt::format("compiled in, but no CUDA device was found ({})", cudaGetErrorString(code))};
  }
  CudaStatus out;
  for (int index = 0; index < devices; ++index) out.gpus.push_back(describe(index));
  int driver = 0, runtime = 0;
  check(cudaDriverGetVersion(&driver));
  check(cudaRuntimeGetVersion(&runtime));
  const GpuInfo& first = out.gpus.front();
  out.detail = fmt::format("{}, sm_{}{}, {} GiB{}, driver CUDA {}.{}, runtime CUDA {}.{}", first.name,
                           first.major, first.minor, first.memory >> 30,
                           devices > 1 ? fmt::format(" (the first of {} GPUs)", devices) : "", driver / 1000,
                           driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
  return out;
}

}  // namespace aloft
