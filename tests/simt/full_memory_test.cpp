#include "tests/full_memory.hpp"

#include "host/cuda_device.hpp"
#include "tests/simt/cudart.hpp"

// tests/full_memory_test.cpp on a device with 4 MiB, whose pool keeps from cudaMalloc what it may keep.

namespace aloft::conformance {
namespace {

TEST(CudaFullMemory, IsThereForSolversOnceItIsFree) {
  simt::runtime.capacity = 4 << 20;
  Backend backend = make_backend("cuda");
  fill_and_free(*backend.device, 256);
  EXPECT_EQ(simt::runtime.bytes, 0u);
  EXPECT_GT(simt::runtime.peak_bytes, simt::runtime.capacity - 2048) << "it was not full";
  decompose_each_way(backend, 40);
}

TEST(CudaFullMemory, ThePoolKeepsWhatASteadyRunAsksForAgain) {
  simt::runtime.capacity = 4 << 20;
  const auto device = make_cuda_device();
  const auto take_and_free = [&] {
    (void)Buffer<std::byte>(*device, 3 << 20);
    device->synchronize();
  };
  take_and_free();
  std::size_t free = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  EXPECT_EQ(total - free, std::size_t{3} << 20);
  EXPECT_EQ(device->memory().free, total) << "what the pool keeps is the run's";
}

}  // namespace
}  // namespace aloft::conformance
