#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>

#include "host/cuda_check.hpp"
#include "host/cuda_device.hpp"
#include "kernels/cuda/vendor.hpp"
#include "tests/simt/engine.hpp"

namespace aloft::cuda {

/// The stand-ins need no handle; this one only takes memory as NVIDIA's solver does, when first used and with
/// cudaMalloc.
struct Vendor::Handles {
  Handles() = default;
  ~Handles() { (void)cudaFree(own_); }
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;
  void solver() {
    if (own_ == nullptr) check(cudaMalloc(&own_, 4096));
  }

 private:
  void* own_ = nullptr;
};

/// A library's call as the stand-in runtime sees it: work() waits on the device's stream for its turn, like a
/// kernel, and is refused like one when the runtime is told to fail. What it captures must outlive it.
/// pointers: something with all addresses it uses, by value.
template <class Work, class Pointers>
void queue_call(CudaDevice& device, Work work, Pointers pointers) {
  simt::Arguments arguments;
  arguments.add(pointers);
  check(simt::defer(device.stream(), arguments, [work = std::move(work)]() -> cudaError_t {
    try {
      work();
      return cudaSuccess;
    } catch (const std::exception&) {
      return cudaErrorUnknown;
    }
  }));
}
template <class Work>
void queue_call(CudaDevice& device, Work work) {
  queue_call(device, work, work);
}

/// To be told within such a call: the library has written p [count], which the race checker cannot see.
template <class T>
void wrote(T* p, std::int64_t count) {
  simt::hooks->written(p, static_cast<std::size_t>(count) * sizeof(T));
}

}  // namespace aloft::cuda
