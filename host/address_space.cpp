#include "host/address_space.hpp"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "host/error.hpp"

namespace aloft {
namespace {

constexpr std::uint64_t kBlasBuffer = std::uint64_t{128} << 20;  // OpenBLAS's BUFFER_SIZE with DYNAMIC_ARCH
constexpr std::uint64_t kUsualStack = std::uint64_t{8} << 20;    // glibc's, where `ulimit -s` sets none

/// Pages of /proc/self/statm: the first number is all addresses in use, the sixth data and stacks.
struct Pages {
  unsigned long all = 0, data = 0;
};
Pages pages_in_use() {
  Pages out;
  if (std::FILE* in = std::fopen("/proc/self/statm", "r"); in != nullptr) {
    if (std::fscanf(in, "%lu %*u %*u %*u %*u %lu", &out.all, &out.data) != 2) out = {};
    (void)std::fclose(in);
  }
  return out;
}

std::uint64_t workers(int threads) {
  if (threads > 0) return static_cast<std::uint64_t>(threads);
  return std::max(1U, std::thread::hardware_concurrency());
}

}  // namespace

std::uint64_t address_space_of_workers(int threads) {
  rlimit stack{};
  const bool known = ::getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur != RLIM_INFINITY;
  const std::uint64_t each = known ? stack.rlim_cur : kUsualStack;
  return kBlasBuffer * workers(threads) + each * (workers(threads) - 1);
}

void expect_address_space(int threads) {
  const Pages pages = pages_in_use();
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  struct Kind {
    decltype(RLIMIT_AS) resource;
    unsigned long used;
    const char* what;
  };
  for (const Kind& kind : {Kind{RLIMIT_AS, pages.all, "the address space is limited to {} MiB (ulimit -v)"},
                           {RLIMIT_DATA, pages.data, "data are limited to {} MiB (ulimit -d)"}}) {
    rlimit limit{};
    if (::getrlimit(kind.resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) continue;
    const std::uint64_t needs = kind.used * page + address_space_of_workers(threads);
    if (needs > limit.rlim_cur)
      throw ResourceError(fmt::format(
          "{}, {} threads need {} MiB of it before any data: raise the limit, or lower --threads",
          fmt::format(fmt::runtime(kind.what), limit.rlim_cur >> 20), workers(threads), (needs >> 20) + 1));
  }
}

void return_freed_memory() noexcept {
#ifdef __GLIBC__
  (void)malloc_trim(0);
#endif
}

}  // namespace aloft
