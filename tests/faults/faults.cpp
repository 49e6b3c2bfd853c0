// A library for LD_PRELOAD that makes one call of a program fail, be short, or end the process. The program
// is as it is.
//
//   ALOFT_FAULT       OPERATION:N:WHAT, the N-th call (from 1) of OPERATION after main() began: alloc, open,
//   read, write,
//                     fsync, rename, unlink, mkdir, flock, stat, list, close; `file` counts all of them but
//                     alloc. WHAT: an errno's name; the same with + (that call and all after it); short (one
//                     byte is read or written); kill (SIGKILL before the call); gone (flock alone: the file
//                     is removed just before). Without it calls are only
//                     counted.
//   ALOFT_FAULT_ROOT  calls on files are those on paths below this folder; others go by
//   ALOFT_FAULT_LOG   a file that gets, at exit, a line `OPERATION CALLS` for each, and `hit` if the
//   fault was
//
// Allocations are the C library's, which `operator new` uses. Only the process that has these variables is
// concerned.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
}

namespace {

enum Operation {
  kAlloc,
  kOpen,
  kRead,
  kWrite,
  kFsync,
  kRename,
  kUnlink,
  kMkdir,
  kFlock,
  kStat,
  kList,
  kClose,
  kFile
};
constexpr const char* kNames[] = {"alloc", "open",  "read", "write", "fsync", "rename", "unlink",
                                  "mkdir", "flock", "stat", "list",  "close", "file"};
constexpr int kOperations = sizeof kNames / sizeof *kNames;
enum What { kNothing, kError, kShort, kKill, kGone };

struct Errno {
  const char* name;
  int value;
};
constexpr Errno kErrors[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO},       {"EMFILE", EMFILE}, {"ENOMEM", ENOMEM},
                             {"EACCES", EACCES}, {"EINTR", EINTR},   {"EDQUOT", EDQUOT}, {"EROFS", EROFS},
                             {"EFBIG", EFBIG},   {"ENOLCK", ENOLCK}, {"EAGAIN", EAGAIN}};

std::atomic<bool> armed{false}, hit{false};
std::atomic<long> calls[kOperations];
std::atomic<long> before_files{0};  // allocations before the first call on a file
Operation fault_operation = kFile;
What fault_what = kNothing;
int fault_errno = 0;
long fault_number = 0;
bool fault_sticks = false;
char root[4096];
size_t root_length = 0;
std::atomic<bool> watched[1 << 16];  // descriptors of files below the root

bool strikes(Operation operation, long number) {
  return operation == fault_operation && (fault_sticks ? number >= fault_number : number == fault_number);
}

/// What is to happen to this call.
What next(Operation operation) {
  if (!armed.load(std::memory_order_relaxed)) return kNothing;
  if (operation != kAlloc && calls[kFile] == 0) before_files = calls[kAlloc].load();
  bool now = strikes(operation, ++calls[operation]);
  if (operation != kAlloc) now = strikes(kFile, ++calls[kFile]) || now;
  if (!now || fault_what == kNothing) return kNothing;
  hit = true;
  if (fault_what == kKill) syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
  return fault_what;
}

/// True: the call fails, and errno says how.
bool fails(Operation operation) {
  const int before = errno;
  const What what = next(operation);
  errno = what == kError ? fault_errno : before;
  return what == kError;
}

bool is_below_root(int folder, const char* path) {
  if (!armed.load(std::memory_order_relaxed) || root_length == 0) return false;
  char whole[8192];
  if (path[0] != '/') {
    if (folder == AT_FDCWD) {
      if (getcwd(whole, 4096) == nullptr) return false;
    } else {
      return folder >= 0 && folder < (1 << 16) && watched[folder];
    }
    size_t n = strlen(whole);
    whole[n++] = '/';
    strncpy(whole + n, path, sizeof whole - n - 1);
    whole[sizeof whole - 1] = 0;
    path = whole;
  }
  return strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || path[root_length] == 0);
}

bool is_watched(int fd) { return fd >= 0 && fd < (1 << 16) && watched[fd]; }

int remember(int fd, bool below) {
  if (fd >= 0 && fd < (1 << 16)) watched[fd] = below;
  return fd;
}

template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

void configure() {
  if (const char* text = getenv("ALOFT_FAULT_ROOT")) {
    strncpy(root, text, sizeof root - 1);
    root_length = strlen(root);
  }
  const char* text = getenv("ALOFT_FAULT");
  if (text == nullptr) return;
  char operation[32] = {}, what[32] = {};
  if (sscanf(text, "%31[a-z]:%ld:%31s", operation, &fault_number, what) != 3) abort();
  bool known = false;
  for (int k = 0; k < kOperations; ++k)
    if (strcmp(operation, kNames[k]) == 0) fault_operation = static_cast<Operation>(k), known = true;
  size_t length = strlen(what);
  fault_sticks = what[length - 1] == '+';
  if (fault_sticks) what[length - 1] = 0;
  if (strcmp(what, "short") == 0) fault_what = kShort;
  if (strcmp(what, "kill") == 0) fault_what = kKill;
  if (strcmp(what, "gone") == 0) fault_what = kGone;
  for (const Errno& e : kErrors)
    if (strcmp(what, e.name) == 0) fault_what = kError, fault_errno = e.value;
  if (!known || fault_what == kNothing) abort();
}

void report() {
  const char* path = getenv("ALOFT_FAULT_LOG");
  if (path == nullptr) return;
  const int fd = static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0666));
  char line[64];
  for (int k = 0; k < kOperations; ++k) {
    const int n = snprintf(line, sizeof line, "%s %ld\n", kNames[k], calls[k].load());
    syscall(SYS_write, fd, line, n);
  }
  const int n = snprintf(line, sizeof line, "start %ld\n", before_files.load());
  syscall(SYS_write, fd, line, n);
  if (hit) syscall(SYS_write, fd, "hit 1\n", 6);
  syscall(SYS_close, fd);
}

int (*real_main)(int, char**, char**);

int main_with_faults(int argc, char** argv, char** environment) {
  configure();
  atexit([] {
    armed = false;
    report();
  });
  armed = true;
  return real_main(argc, argv, environment);
}

}  // namespace

extern "C" {

int __libc_start_main(int (*main)(int, char**, char**), int argc, char** argv, void (*init)(), void (*fini)(),
                      void (*rtld_fini)(), void* stack_end) {
  real_main = main;
  const auto start =
      real<int (*)(int (*)(int, char**, char**), int, char**, void (*)(), void (*)(), void (*)(), void*)>(
          "__libc_start_main");
  return start(main_with_faults, argc, argv, init, fini, rtld_fini, stack_end);
}

// ---- memory

void* malloc(size_t bytes) { return fails(kAlloc) ? nullptr : __libc_malloc(bytes); }
void* calloc(size_t n, size_t bytes) { return fails(kAlloc) ? nullptr : __libc_calloc(n, bytes); }
void* realloc(void* p, size_t bytes) { return fails(kAlloc) ? nullptr : __libc_realloc(p, bytes); }
void* memalign(size_t alignment, size_t bytes) {
  return fails(kAlloc) ? nullptr : __libc_memalign(alignment, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void** out, size_t alignment, size_t bytes) {
  void* p = memalign(alignment, bytes);
  if (p == nullptr) return ENOMEM;
  *out = p;
  return 0;
}

// ---- opening and closing

#define OPEN(NAME)                                                        \
  int NAME(const char* path, int flags, ...) {                            \
    va_list more;                                                         \
    va_start(more, flags);                                                \
    const mode_t mode = va_arg(more, mode_t);                             \
    va_end(more);                                                         \
    const bool below = is_below_root(AT_FDCWD, path);                     \
    if (below && fails(kOpen)) return -1;                                 \
    static const auto call = real<int (*)(const char*, int, ...)>(#NAME); \
    return remember(call(path, flags, mode), below);                      \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(NAME)                                                           \
  int NAME(int folder, const char* path, int flags, ...) {                     \
    va_list more;                                                              \
    va_start(more, flags);                                                     \
    const mode_t mode = va_arg(more, mode_t);                                  \
    va_end(more);                                                              \
    const bool below = is_below_root(folder, path);                            \
    if (below && fails(kOpen)) return -1;                                      \
    static const auto call = real<int (*)(int, const char*, int, ...)>(#NAME); \
    return remember(call(folder, path, flags, mode), below);                   \
  }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(NAME)                                                            \
  FILE* NAME(const char* path, const char* mode) {                             \
    const bool below = is_below_root(AT_FDCWD, path);                          \
    if (below && fails(kOpen)) return nullptr;                                 \
    static const auto call = real<FILE* (*)(const char*, const char*)>(#NAME); \
    FILE* file = call(path, mode);                                             \
    if (file != nullptr) remember(fileno(file), below);                        \
    return file;                                                               \
  }
FOPEN(fopen)
FOPEN(fopen64)

int close(int fd) {
  if (is_watched(fd)) {
    next(kClose);  // a point to be killed at; what fails here is lost by no one, for fsync came before
    watched[fd] = false;
  }
  return static_cast<int>(syscall(SYS_close, fd));
}

// ---- reading and writing

#define TRANSFER(NAME, OPERATION, DATA, ...)    \
  if (is_watched(fd)) {                         \
    const int before = errno;                   \
    const What what = next(OPERATION);          \
    errno = before;                             \
    if (what == kError) {                       \
      errno = fault_errno;                      \
      return -1;                                \
    }                                           \
    if (what == kShort && bytes > 1) bytes = 1; \
  }                                             \
  static const auto call = real<ssize_t (*)(int, DATA, size_t, ##__VA_ARGS__)>(#NAME)

ssize_t read(int fd, void* data, size_t bytes) {
  TRANSFER(read, kRead, void*);
  return call(fd, data, bytes);
}
ssize_t pread(int fd, void* data, size_t bytes, off_t at) {
  TRANSFER(pread, kRead, void*, off_t);
  return call(fd, data, bytes, at);
}
ssize_t pread64(int fd, void* data, size_t bytes, off_t at) {
  TRANSFER(pread64, kRead, void*, off_t);
  return call(fd, data, bytes, at);
}
ssize_t write(int fd, const void* data, size_t bytes) {
  TRANSFER(write, kWrite, const void*);
  return call(fd, data, bytes);
}
ssize_t pwrite(int fd, const void* data, size_t bytes, off_t at) {
  TRANSFER(pwrite, kWrite, const void*, off_t);
  return call(fd, data, bytes, at);
}
ssize_t writev(int fd, const iovec* parts, int n) {
  if (is_watched(fd) && fails(kWrite)) return -1;
  static const auto call = real<ssize_t (*)(int, const iovec*, int)>("writev");
  return call(fd, parts, n);
}

// ---- one call, one path or descriptor

#define ON_DESCRIPTOR(NAME, OPERATION)                  \
  int NAME(int fd) {                                    \
    if (is_watched(fd) && fails(OPERATION)) return -1;  \
    static const auto call = real<int (*)(int)>(#NAME); \
    return call(fd);                                    \
  }
ON_DESCRIPTOR(fsync, kFsync)
ON_DESCRIPTOR(fdatasync, kFsync)

int flock(int fd, int operation) {
  const What what = is_watched(fd) ? next(kFlock) : kNothing;
  if (what == kError) {
    errno = fault_errno;
    return -1;
  }
  if (what == kGone) {  // as when who had it locked has just removed it
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
      path[length] = 0;
      syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    }
  }
  return static_cast<int>(syscall(SYS_flock, fd, operation));
}
int ftruncate(int fd, off_t bytes) {
  if (is_watched(fd) && fails(kWrite)) return -1;
  return static_cast<int>(syscall(SYS_ftruncate, fd, bytes));
}

#define ON_PATH(NAME, OPERATION)                                      \
  int NAME(const char* path) {                                        \
    if (is_below_root(AT_FDCWD, path) && fails(OPERATION)) return -1; \
    static const auto call = real<int (*)(const char*)>(#NAME);       \
    return call(path);                                                \
  }
ON_PATH(unlink, kUnlink)
ON_PATH(rmdir, kUnlink)
ON_PATH(remove, kUnlink)

int unlinkat(int folder, const char* path, int flags) {
  if (is_below_root(folder, path) && fails(kUnlink)) return -1;
  return static_cast<int>(syscall(SYS_unlinkat, folder, path, flags));
}
int mkdir(const char* path, mode_t mode) {
  if (is_below_root(AT_FDCWD, path) && fails(kMkdir)) return -1;
  return static_cast<int>(syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}
int mkdirat(int folder, const char* path, mode_t mode) {
  if (is_below_root(folder, path) && fails(kMkdir)) return -1;
  return static_cast<int>(syscall(SYS_mkdirat, folder, path, mode));
}
int rename(const char* from, const char* to) {
  if (is_below_root(AT_FDCWD, to) && fails(kRename)) return -1;
  return static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}
int renameat(int from_folder, const char* from, int to_folder, const char* to) {
  if (is_below_root(to_folder, to) && fails(kRename)) return -1;
  return static_cast<int>(syscall(SYS_renameat2, from_folder, from, to_folder, to, 0));
}

#define STAT(NAME, TYPE)                                               \
  int NAME(const char* path, TYPE* out) {                              \
    if (is_below_root(AT_FDCWD, path) && fails(kStat)) return -1;      \
    static const auto call = real<int (*)(const char*, TYPE*)>(#NAME); \
    return call(path, out);                                            \
  }
STAT(stat, struct stat)
STAT(lstat, struct stat)
STAT(stat64, struct stat64)
STAT(lstat64, struct stat64)

#define FSTAT(NAME, TYPE)                                      \
  int NAME(int fd, TYPE* out) {                                \
    if (is_watched(fd) && fails(kStat)) return -1;             \
    static const auto call = real<int (*)(int, TYPE*)>(#NAME); \
    return call(fd, out);                                      \
  }
FSTAT(fstat, struct stat)
FSTAT(fstat64, struct stat64)

void* opendir(const char* path) {
  if (is_below_root(AT_FDCWD, path) && fails(kList)) return nullptr;
  static const auto call = real<void* (*)(const char*)>("opendir");
  return call(path);
}

}  // extern "C"
