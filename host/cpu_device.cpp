#include "host/cpu_device.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "host/byte_size.hpp"
#include "host/error.hpp"

namespace aloft {
namespace {

constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector register
// Allocations of several huge pages ask for such: scattered accesses to small ones miss the TLB every time.
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kHugeFrom = 4 * kHugePage;

class CpuDevice final : public Device {
 public:
  std::string_view name() const noexcept override { return "cpu"; }
  bool shares_host_memory() const noexcept override { return true; }
  void* allocate(std::size_t bytes) override {
    const std::lock_guard lock(mutex_);
    if (limit_ > 0 && (bytes > limit_ || used_ > limit_ - bytes))
      throw ResourceError(fmt::format(
          "out of memory: {} bytes are in use, {} more were asked for, {} are allowed beside the program: "
          "raise --memory",
          used_, bytes, limit_));
    const bool huge = bytes >= kHugeFrom;
    const std::size_t alignment = huge ? kHugePage : kAlignment;
    struct Free {
      void operator()(void* at) const noexcept { std::free(at); }
    };
    void* at = nullptr;
    if (posix_memalign(&at, alignment, std::max<std::size_t>(bytes, 1)) != 0)
      throw ResourceError(fmt::format("out of memory: {} were asked for", readable_bytes(bytes)));
    std::unique_ptr<void, Free> p(at);
    if (huge)  // a wish: without it everything works, more slowly. The rest of the last one stays in small
               // pages
      (void)madvise(at, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
    sizes_[p.get()] = bytes;
    used_ += bytes;
    peak_ = std::max(peak_, used_);
    return p.release();
  }
  void deallocate(void* p) noexcept override {
    if (p == nullptr) return;
    {
      const std::lock_guard lock(mutex_);
      const auto found = sizes_.find(p);
      used_ -= found->second;
      sizes_.erase(found);
    }
    std::free(p);
  }
  void limit_memory(std::uint64_t bytes) override { limit_ = bytes; }
  std::uint64_t peak_bytes() const override {
    const std::lock_guard lock(mutex_);
    return peak_;
  }
  void reset_peak() override {
    const std::lock_guard lock(mutex_);
    peak_ = used_;
  }
  void zero(void* dst, std::size_t bytes) override {
    if (bytes != 0) std::memset(dst, 0, bytes);
  }
  void upload(void* dst, const void* src, std::size_t bytes) override { copy(dst, src, bytes); }
  void download(void* dst, const void* src, std::size_t bytes) override { copy(dst, src, bytes); }
  void copy(void* dst, const void* src, std::size_t bytes) override {
    if (bytes != 0) std::memcpy(dst, src, bytes);
  }
  void copy_rows(void* dst, std::size_t dst_pitch, const void* src, std::size_t src_pitch, std::size_t width,
                 std::size_t rows) override {
    for (std::size_t row = 0; row < rows; ++row)
      copy(static_cast<char*>(dst) + row * dst_pitch, static_cast<const char*>(src) + row * src_pitch, width);
  }
  void synchronize() override {}
  void* allocate_staging(std::size_t bytes) override { return allocate(bytes); }
  void deallocate_staging(void* p) noexcept override { deallocate(p); }

 private:
  mutable std::mutex mutex_;  // readers ahead of the work have staging of their own
  std::uint64_t used_ = 0, peak_ = 0, limit_ = 0;
  std::unordered_map<void*, std::uint64_t> sizes_;  // of what is out
};

}  // namespace

std::unique_ptr<Device> make_cpu_device() { return std::make_unique<CpuDevice>(); }

}  // namespace aloft
