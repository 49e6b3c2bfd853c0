#include <cstdint>

#include "tests/simt/race.hpp"

// The functions that g++'s -fsanitize=thread instrumentation calls, by the names it expects.

using simt::checked_access;
using simt::kAtomic;
using simt::kRead;
using simt::kWrite;

#define PLACE reinterpret_cast<std::uint64_t>(__builtin_return_address(0))

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_atomic_thread_fence(int) {}
void __tsan_atomic_signal_fence(int) {}
void __tsan_read_range(void* p, unsigned long n) { checked_access(p, n, kRead, PLACE); }
void __tsan_write_range(void* p, unsigned long n) { checked_access(p, n, kWrite, PLACE); }

#define PLAIN(n)                                                                 \
  void __tsan_read##n(void* p) { checked_access(p, n, kRead, PLACE); }           \
  void __tsan_write##n(void* p) { checked_access(p, n, kWrite, PLACE); }         \
  void __tsan_unaligned_read##n(void* p) { checked_access(p, n, kRead, PLACE); } \
  void __tsan_unaligned_write##n(void* p) { checked_access(p, n, kWrite, PLACE); }
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

#define FETCH(n, T, name, expression)                      \
  T __tsan_atomic##n##_##name(T* p, T v, int) {            \
    checked_access(p, sizeof(T), kWrite | kAtomic, PLACE); \
    const T old = *p;                                      \
    *p = static_cast<T>(expression);                       \
    return old;                                            \
  }
#define ATOMIC(n, T)                                                                   \
  T __tsan_atomic##n##_load(const T* p, int) {                                         \
    checked_access(p, sizeof(T), kRead | kAtomic, PLACE);                              \
    return *p;                                                                         \
  }                                                                                    \
  void __tsan_atomic##n##_store(T* p, T v, int) {                                      \
    checked_access(p, sizeof(T), kWrite | kAtomic, PLACE);                             \
    *p = v;                                                                            \
  }                                                                                    \
  FETCH(n, T, exchange, v)                                                             \
  FETCH(n, T, fetch_add, old + v)                                                      \
  FETCH(n, T, fetch_sub, old - v)                                                      \
  FETCH(n, T, fetch_and, old& v)                                                       \
  FETCH(n, T, fetch_or, old | v)                                                       \
  FETCH(n, T, fetch_xor, old ^ v)                                                      \
  int __tsan_atomic##n##_compare_exchange_strong(T* p, T* expected, T v, int, int) {   \
    checked_access(p, sizeof(T), kWrite | kAtomic, PLACE);                             \
    const bool equal = *p == *expected;                                                \
    (equal ? *p : *expected) = equal ? v : *p;                                         \
    return equal;                                                                      \
  }                                                                                    \
  int __tsan_atomic##n##_compare_exchange_weak(T* p, T* expected, T v, int a, int b) { \
    return __tsan_atomic##n##_compare_exchange_strong(p, expected, v, a, b);           \
  }
ATOMIC(8, std::uint8_t)
ATOMIC(16, std::uint16_t)
ATOMIC(32, std::uint32_t)
ATOMIC(64, std::uint64_t)

}  // extern "C"
