#pragma once
#include "tests/simt/engine.hpp"

// Exactly CUDA's overload set, so that what compiles here compiles under nvcc. One OS thread runs all fibers
// and none is pre-empted between the two halves: a plain read-modify-write is atomic.

namespace simt {

template <class T, class... U>
inline constexpr bool one_of = (std::is_same_v<T, U> || ...);

template <class T, class F>
SIMT_RAW T read_modify_write(T* p, F f, const char* file, int line) {
  atomic_point(p, sizeof(T), file, line);
  const T old = *p;
  *p = f(old);
  return old;
}

using ll = long long;
using ull = unsigned long long;

}  // namespace simt

#define SIMT_ATOMIC(name, expression, ...)                                                 \
  template <class T>                                                                       \
  requires simt::one_of<T, __VA_ARGS__> T name(T* p, std::type_identity_t<T> v, SIMT_AT) { \
    return simt::read_modify_write(                                                        \
        p, [v](T old) -> T { return expression; }, file, line);                            \
  }
SIMT_ATOMIC(atomicAdd, old + v, int, unsigned, simt::ull, float, double)
SIMT_ATOMIC(atomicSub, old - v, int, unsigned)
SIMT_ATOMIC(atomicExch, (static_cast<void>(old), v), int, unsigned, simt::ull, float)
SIMT_ATOMIC(atomicMin, v < old ? v : old, int, unsigned, simt::ll, simt::ull)
SIMT_ATOMIC(atomicMax, v > old ? v : old, int, unsigned, simt::ll, simt::ull)
SIMT_ATOMIC(atomicAnd, old& v, int, unsigned, simt::ull)
SIMT_ATOMIC(atomicOr, old | v, int, unsigned, simt::ull)
SIMT_ATOMIC(atomicXor, old ^ v, int, unsigned, simt::ull)
#undef SIMT_ATOMIC

template <class T>
requires simt::one_of<T, int, unsigned, simt::ull, unsigned short> T
atomicCAS(T* p, std::type_identity_t<T> compare, std::type_identity_t<T> v, SIMT_AT) {
  return simt::read_modify_write(
      p, [=](T old) -> T { return old == compare ? v : old; }, file, line);
}
