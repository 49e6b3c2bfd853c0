#include <thrust/iterator/constant_iterator.h>
#include <algorithm>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_reduce.cuh>
#include <cub/device/device_scan.cuh>
#include <cuda/std/functional>

#include "host/cuda_check.hpp"
#include "kernels/cuda/vendor.hpp"

// CUB's part of the door. Each of its calls is made twice: asked for the bytes it needs, then with them.

namespace aloft::cuda {
namespace {

template <class Call>
void with_workspace(CudaDevice& device, const char* name, const Call& call) {
  std::size_t bytes = 0;
  check(call(nullptr, bytes));
  Buffer<unsigned char> workspace(device, bytes == 0 ? 1 : bytes);  // null would ask for the size again
  const cudaError_t code = call(static_cast<void*>(workspace.data()), bytes);
  if (cuda_sync) wait_for(name, code, device.stream());
  check(code);
}

template <class Values>
std::int64_t reduce_runs(CudaDevice& device, const std::uint64_t* keys, Values values, std::int64_t n,
                         std::uint64_t* unique, std::uint64_t* sums) {
  if (n == 0) return 0;
  Buffer<std::int64_t> runs(device, 1);
  with_workspace(device, "cub::DeviceReduce::ReduceByKey", [&](void* workspace, std::size_t& bytes) {
    return cub::DeviceReduce::ReduceByKey(workspace, bytes, keys, unique, values, sums, runs.data(),
                                          ::cuda::std::plus<>{}, n, device.stream());
  });
  return to_host(runs)[0];
}

}  // namespace

std::uint64_t* Vendor::sort_keys(std::uint64_t* keys, std::uint64_t* alternate, std::int64_t n, int begin_bit,
                                 int end_bit) {
  if (n == 0) return keys;
  cub::DoubleBuffer<std::uint64_t> buffers(keys, alternate);
  with_workspace(device_, "cub::DeviceRadixSort::SortKeys", [&](void* workspace, std::size_t& bytes) {
    return cub::DeviceRadixSort::SortKeys(workspace, bytes, buffers, n, begin_bit, end_bit, device_.stream());
  });
  return buffers.Current();
}

Footprint Vendor::sort_keys_scratch(std::int64_t n) const {
  std::size_t bytes = 0;
  cub::DoubleBuffer<std::uint64_t> buffers;
  check(cub::DeviceRadixSort::SortKeys(nullptr, bytes, buffers, std::max<std::int64_t>(n, 1), 0, 64,
                                       device_.stream()));
  return on_device(bytes);
}

void Vendor::sort_pairs(const std::uint64_t* keys, std::uint64_t* keys_out, const std::uint64_t* values,
                        std::uint64_t* values_out, std::int64_t n, int begin_bit, int end_bit) {
  if (n == 0) return;
  with_workspace(device_, "cub::DeviceRadixSort::SortPairs", [&](void* workspace, std::size_t& bytes) {
    return cub::DeviceRadixSort::SortPairs(workspace, bytes, keys, keys_out, values, values_out, n, begin_bit,
                                           end_bit, device_.stream());
  });
}

Footprint Vendor::sort_pairs_scratch(std::int64_t n) const {
  std::size_t bytes = 0;
  const std::uint64_t* const in = nullptr;
  std::uint64_t* const out = nullptr;
  check(cub::DeviceRadixSort::SortPairs(nullptr, bytes, in, out, in, out, std::max<std::int64_t>(n, 1), 0, 64,
                                        device_.stream()));
  return on_device(bytes);
}

void Vendor::exclusive_sum(const std::uint64_t* in, std::uint64_t* out, std::int64_t n) {
  if (n == 0) return;
  with_workspace(device_, "cub::DeviceScan::ExclusiveSum", [&](void* workspace, std::size_t& bytes) {
    return cub::DeviceScan::ExclusiveSum(workspace, bytes, in, out, n, device_.stream());
  });
}

// Not DeviceRunLengthEncode, which counts in int: a run's length is a sum of ones.
std::int64_t Vendor::run_lengths(const std::uint64_t* keys, std::int64_t n, std::uint64_t* unique,
                                 std::uint64_t* lengths) {
  return reduce_runs(device_, keys, thrust::constant_iterator<std::uint64_t>(1), n, unique, lengths);
}

Footprint Vendor::run_lengths_scratch(std::int64_t n) const {
  std::size_t bytes = 0;
  std::uint64_t* const keys = nullptr;
  std::int64_t* const runs = nullptr;
  check(cub::DeviceReduce::ReduceByKey(
      nullptr, bytes, keys, keys, thrust::constant_iterator<std::uint64_t>(1), keys, runs,
      ::cuda::std::plus<>{}, std::max<std::int64_t>(n, 1), device_.stream()));
  return on_device(bytes + sizeof *runs);
}

std::int64_t Vendor::sum_by_key(const std::uint64_t* keys, const std::uint64_t* values, std::int64_t n,
                                std::uint64_t* unique, std::uint64_t* sums) {
  return reduce_runs(device_, keys, values, n, unique, sums);
}

}  // namespace aloft::cuda
