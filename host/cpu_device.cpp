#include "host/cpu_device.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

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
    const bool huge = bytes >= kHugeFrom;
    const std::size_t alignment = huge ? kHugePage : kAlignment;
    const std::size_t rounded = bytes == 0 ? alignment : (bytes + alignment - 1) / alignment * alignment;
    void* p = std::aligned_alloc(alignment, rounded);
    if (p == nullptr) throw ResourceError(fmt::format("out of memory: {} bytes were asked for", bytes));
    if (huge) (void)madvise(p, rounded, MADV_HUGEPAGE);  // a wish: without it everything works, more slowly
    return p;
  }
  void deallocate(void* p) noexcept override { std::free(p); }
  void zero(void* dst, std::size_t bytes) override {
    if (bytes != 0) std::memset(dst, 0, bytes);
  }
  void upload(void* dst, const void* src, std::size_t bytes) override { copy(dst, src, bytes); }
  void download(void* dst, const void* src, std::size_t bytes) override { copy(dst, src, bytes); }
  void copy(void* dst, const void* src, std::size_t bytes) override {
    if (bytes != 0) std::memcpy(dst, src, bytes);
  }
  void synchronize() override {}
  void* allocate_staging(std::size_t bytes) override { return allocate(bytes); }
  void deallocate_staging(void* p) noexcept override { deallocate(p); }
};

}  // namespace

std::unique_ptr<Device> make_cpu_device() { return std::make_unique<CpuDevice>(); }

}  // namespace aloft
