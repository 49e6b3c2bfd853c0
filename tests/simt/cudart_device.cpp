#include <algorithm>
#include <cstdio>
#include <cstring>

#include "tests/simt/cudart_state.hpp"

// The made-up device: the limits of compute capability 9.0, but few multiprocessors and little cache, so that
// grids sized by them stay small and every path that depends on them is taken.

namespace {

constexpr int kMultiprocessors = 4;
constexpr int kThreadsPerMultiprocessor = 2048;
constexpr int kSharedPerMultiprocessor = 233472;
constexpr int kSharedReserved = 1024;  // per block, by the system
constexpr int kL2Bytes = 1 << 20;
constexpr int kVersion = CUDART_VERSION;

}  // namespace

using namespace simt;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  const auto lock = lock_runtime();
  *count = 1;
  return gate(cudaErrorNoDevice);
}
cudaError_t cudaGetDevice(int* device) {
  const auto lock = lock_runtime();
  *device = 0;
  return gate();
}
cudaError_t cudaSetDevice(int device) {
  const auto lock = lock_runtime();
  return device == 0 ? gate() : done(cudaErrorInvalidDevice);
}
cudaError_t cudaDriverGetVersion(int* version) {
  const auto lock = lock_runtime();
  *version = kVersion;
  return gate();
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  const auto lock = lock_runtime();
  *version = kVersion;
  return gate();
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* out, int device) {
  const auto lock = lock_runtime();
  if (device != 0) return done(cudaErrorInvalidDevice);
  cudaDeviceProp p{};
  std::snprintf(p.name, sizeof p.name, "SIMT shim (kernels executed on the CPU)");
  p.major = 9;
  p.minor = 0;
  p.totalGlobalMem = runtime.capacity;
  p.sharedMemPerBlock = config.max_shared_default;
  p.sharedMemPerBlockOptin = config.max_shared_opt_in;
  p.sharedMemPerMultiprocessor = kSharedPerMultiprocessor;
  p.reservedSharedMemPerBlock = kSharedReserved;
  p.regsPerBlock = p.regsPerMultiprocessor = 65536;
  p.warpSize = 32;
  p.maxThreadsPerBlock = p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024;
  p.maxThreadsDim[2] = 64;
  p.maxGridSize[0] = 0x7fffffff;
  p.maxGridSize[1] = p.maxGridSize[2] = 65535;
  p.totalConstMem = 65536;
  p.multiProcessorCount = kMultiprocessors;
  p.maxThreadsPerMultiProcessor = kThreadsPerMultiprocessor;
  p.maxBlocksPerMultiProcessor = 32;
  p.l2CacheSize = kL2Bytes;
  p.memoryBusWidth = 5120;
  p.asyncEngineCount = 2;
  p.concurrentKernels = p.canMapHostMemory = p.unifiedAddressing = p.memoryPoolsSupported = 1;
  p.cooperativeLaunch = 1;
  *out = p;
  return gate();
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  const auto lock = lock_runtime();
  if (device != 0) return done(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = kMultiprocessors;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = kThreadsPerMultiprocessor;
      break;
    case cudaDevAttrMaxThreadsPerBlock:
      *value = 1024;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(config.max_shared_default);
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(config.max_shared_opt_in);
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = kSharedPerMultiprocessor;
      break;
    case cudaDevAttrL2CacheSize:
      *value = kL2Bytes;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
    case cudaDevAttrWarpSize:
      *value = 32;
      break;
    case cudaDevAttrMemoryPoolsSupported:
    case cudaDevAttrCooperativeLaunch:
      *value = 1;
      break;
    default:  // teach it here what the product asks for next
      return done(cudaErrorInvalidValue);
  }
  return gate();
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = gate(); code != cudaSuccess) return code;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;  // hints
  return done(value < 0 ? cudaErrorInvalidValue : allow_shared(kernel, static_cast<std::size_t>(value)));
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int threads,
                                                                   std::size_t shared_bytes, unsigned) {
  const auto lock = lock_runtime();
  if (threads <= 0 || threads > 1024) return done(cudaErrorInvalidValue);
  const int by_threads = kThreadsPerMultiprocessor / ((threads + 31) / 32 * 32);
  const auto by_shared = static_cast<int>(kSharedPerMultiprocessor / (shared_bytes + kSharedReserved));
  *blocks = std::min({by_threads, by_shared, 32});
  return gate();
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int threads,
                                                          std::size_t shared_bytes) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, kernel, threads, shared_bytes, 0);
}

const char* cudaGetErrorName(cudaError_t code) {
  switch (code) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorLaunchTimeout:
      return "cudaErrorLaunchTimeout (streams wait for each other)";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    default:
      return "another CUDA error";
  }
}
const char* cudaGetErrorString(cudaError_t code) {
  const auto lock = lock_runtime();
  static std::string text;
  text = cudaGetErrorName(code);
  if (code != cudaSuccess && !last_error.empty()) text += ": " + last_error;
  return text.c_str();
}

}  // extern "C"
