#include "tools/aloft/before_libraries.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#include "tools/aloft/exit_code.hpp"

// No library is ready here: system calls and arithmetic alone, no locale, no allocation, no check of a
// sanitizer.
#define ALOFT_BARE __attribute__((no_sanitize("address", "undefined", "thread")))

namespace aloft {
namespace {

constexpr std::uint64_t kBuffer = std::uint64_t{128} << 20;  // of OpenBLAS, one for each of its threads
constexpr std::uint64_t kSlack = std::uint64_t{16} << 20;    // what other libraries allocate as they start

ALOFT_BARE bool is_digit(char c) { return c >= '0' && c <= '9'; }

ALOFT_BARE std::uint64_t number_at(const char* text) {
  std::uint64_t out = 0;
  for (; is_digit(*text); ++text) out = out * 10 + static_cast<std::uint64_t>(*text - '0');
  return out;
}

/// The number that a variable of the environment says; 0 without it.
ALOFT_BARE std::uint64_t number_of(char** environment, const char* name) {
  for (; *environment != nullptr; ++environment) {
    const char* at = *environment;
    const char* want = name;
    while (*want != 0 && *at == *want) ++at, ++want;
    if (*want == 0 && *at == '=') return number_at(at + 1);
  }
  return 0;
}

/// How many threads OpenBLAS will start with.
ALOFT_BARE std::uint64_t blas_threads(char** environment) {
  unsigned char mask[1024];
  const long bytes = ::syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
  std::uint64_t processors = 0;
  for (long i = 0; i < bytes; ++i)
    for (int bit = 0; bit < 8; ++bit) processors += (mask[i] >> bit) & 1;
  const char* const names[] = {"OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"};
  for (const char* name : names)
    if (const std::uint64_t asked = number_of(environment, name); asked > 0)
      return asked < processors ? asked : processors;
  return processors > 0 ? processors : 1;
}

/// Field `index` of /proc/self/statm, in bytes: 0 all addresses, 5 data and stacks.
ALOFT_BARE std::uint64_t in_use(int index) {
  char text[256] = {};
  const long file = ::syscall(SYS_openat, AT_FDCWD, "/proc/self/statm", O_RDONLY | O_CLOEXEC, 0);
  if (file < 0) return 0;
  (void)::syscall(SYS_read, file, text, sizeof text - 1);
  (void)::syscall(SYS_close, file);
  const char* at = text;
  for (; index > 0 && *at != 0; ++at)
    if (*at == ' ') --index;
  return number_at(at) * 4096;
}

ALOFT_BARE char* append(char* to, const char* text) {
  while (*text != 0) *to++ = *text++;
  return to;
}
ALOFT_BARE char* append(char* to, std::uint64_t number) {
  char digits[24];
  int n = 0;
  do digits[n++] = static_cast<char>('0' + number % 10);
  while ((number /= 10) > 0);
  while (n > 0) *to++ = digits[--n];
  return to;
}

[[noreturn]] ALOFT_BARE void refuse(const char* what, const char* flag, std::uint64_t limit,
                                    std::uint64_t needs) {
  char line[512];
  char* end = append(line, "aloft: ");
  end = append(end, what);
  end = append(end, " limited to ");
  end = append(end, limit >> 20);
  end = append(end, " MiB (");
  end = append(end, flag);
  end = append(end, "), its libraries need ");
  end = append(end, (needs >> 20) + 1);
  end = append(end, " MiB of it to start: raise the limit, or set OPENBLAS_NUM_THREADS=1\n");
  (void)::syscall(SYS_write, 2, line, static_cast<std::size_t>(end - line));
  for (;;) (void)::syscall(SYS_exit_group, static_cast<int>(ExitCode::resources));
}

ALOFT_BARE void check(int resource, int field, const char* what, const char* flag, std::uint64_t more) {
  struct {
    std::uint64_t now, most;
  } limit{};
  if (::syscall(SYS_prlimit64, 0, resource, nullptr, &limit) != 0 || limit.now == ~std::uint64_t{0}) return;
  const std::uint64_t needs = in_use(field) + more;
  if (needs > limit.now) refuse(what, flag, limit.now, needs);
}

}  // namespace

ALOFT_BARE void refuse_too_few_addresses(int, char**, char** environment) {
  struct {
    std::uint64_t now, most;
  } stack{};
  (void)::syscall(SYS_prlimit64, 0, static_cast<int>(RLIMIT_STACK), nullptr, &stack);
  const std::uint64_t each = stack.now == ~std::uint64_t{0} ? std::uint64_t{8} << 20 : stack.now;
  const std::uint64_t threads = blas_threads(environment);
  const std::uint64_t more = threads * kBuffer + (threads - 1) * each + kSlack;
  check(static_cast<int>(RLIMIT_AS), 0, "the address space is", "ulimit -v", more);
  check(static_cast<int>(RLIMIT_DATA), 5, "data are", "ulimit -d", more);
}

}  // namespace aloft
