#pragma once
#include <type_traits>

#include "host/cuda_check.hpp"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/launch.cuh"

// Kernels that do one thing to every element, written as what happens to one of them:
//
//   /// Of element e: y += alpha·x.
//   __device__ void add_scaled_element(std::int64_t e, double alpha, ConstMatrixView x, MatrixView y) {
//     y.element(e) += alpha * x.element(e);
//   }
//   for_each_element<add_scaled_element>(stream, n, alpha, x, y);
//
// The function is part of the kernel's name, in a profile and in what a failed launch says; the tables of
// kernels (tests/README.md) list it like one.

namespace aloft::cuda {

template <auto element, class... P>
__global__ __launch_bounds__(kElementThreads) void each_element(std::int64_t n, P... parameters) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) element(i, parameters...);
}

template <auto element, class... P>
__global__ __launch_bounds__(kElementThreads) void each_element_of_batch(std::int64_t batch, std::int64_t n,
                                                                         P... parameters) {
  for (std::int64_t item = blockIdx.y; item < batch; item += gridDim.y)
    for (std::int64_t i = first_element(); i < n; i += element_stride()) element(item, i, parameters...);
}

/// A stream, and the line that names it: for errors.
struct StreamAt {
  StreamAt(cudaStream_t on, const char* in = __builtin_FILE(), int at = __builtin_LINE())  // NOLINT: implicit
      : stream(on), file(in), line(at) {}
  cudaStream_t stream;
  const char* file;
  int line;
};

/// element(i, arguments...) for every i in [0, n), in any order; asynchronous on the stream. The arguments
/// are what a kernel's may be: pointers to device memory, views and numbers, by value.
template <auto element, class... A>
void for_each_element(StreamAt on, std::int64_t n, A... arguments) {
  static_assert((std::is_trivially_copyable_v<A> && ...));
  if (n == 0) return;  // an empty grid is a launch error
  check(launch(each_element<element, A...>, element_grid(n), kElementThreads, 0, on.stream, n, arguments...),
        on.file, on.line);
}

/// element(item, i, arguments...) for every item in [0, batch) and i in [0, n).
template <auto element, class... A>
void for_each_element_of_batch(StreamAt on, std::int64_t batch, std::int64_t n, A... arguments) {
  static_assert((std::is_trivially_copyable_v<A> && ...));
  if (batch == 0 || n == 0) return;
  check(launch(each_element_of_batch<element, A...>, element_grid(n, batch), kElementThreads, 0, on.stream,
               batch, n, arguments...),
        on.file, on.line);
}

}  // namespace aloft::cuda
