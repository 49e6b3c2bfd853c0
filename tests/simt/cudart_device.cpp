#include <algorithm>
#include <cstdio>
#include <cstring>

#include "tests/simt/cudart_state.hpp"
#include "tests/simt/symbols.hpp"

// The made-up devices: the limits of compute capability 9.0, but few multiprocessors and little cache, so
// that grids sized by them stay small and every path that depends on them is taken.

namespace {

constexpr int kL2Bytes = 1 << 20;
constexpr int kVersion = CUDART_VERSION;
thread_local int current = 0;

}  // namespace

namespace simt {
namespace {

int shared_per_multiprocessor() { return static_cast<int>(config.max_shared_opt_in + kSharedReserved); }
bool exists(int device) { return device >= 0 && device < runtime.devices; }

}  // namespace

int current_device() { return current; }

cudaError_t context() {
  if (!exists(current)) return done(cudaErrorNoDevice);
  return (runtime.busy >> current & 1u) != 0 ? done(cudaErrorDevicesUnavailable) : cudaSuccess;
}

}  // namespace simt

using namespace simt;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  const auto lock = lock_runtime();
  *count = runtime.devices;
  return runtime.devices == 0 ? done(cudaErrorNoDevice) : gate(cudaErrorNoDevice);
}
cudaError_t cudaGetDevice(int* device) {
  const auto lock = lock_runtime();
  *device = current;
  return gate();
}
cudaError_t cudaSetDevice(int device) {
  const auto lock = lock_runtime();
  if (!exists(device)) return done(cudaErrorInvalidDevice);
  if (const cudaError_t code = gate(); code != cudaSuccess) return code;
  current = device;
  return context();  // it starts the device, since CUDA 12
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
  if (!exists(device)) return done(cudaErrorInvalidDevice);
  cudaDeviceProp p{};
  std::snprintf(p.name, sizeof p.name, "SIMT shim (kernels executed on the CPU)");
  for (int byte = 0; byte < 16; ++byte) p.uuid.bytes[byte] = static_cast<char>(0xa0 + byte);
  p.uuid.bytes[1] = static_cast<char>(0x10 + device);
  p.major = 9;
  p.minor = 0;
  p.totalGlobalMem = runtime.capacity;
  p.sharedMemPerBlock = config.max_shared_default;
  p.sharedMemPerBlockOptin = config.max_shared_opt_in;
  p.sharedMemPerMultiprocessor = static_cast<std::size_t>(shared_per_multiprocessor());
  p.reservedSharedMemPerBlock = kSharedReserved;
  p.regsPerBlock = p.regsPerMultiprocessor = 65536;
  p.warpSize = 32;
  p.maxThreadsPerBlock = p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024;
  p.maxThreadsDim[2] = 64;
  p.maxGridSize[0] = 0x7fffffff;
  p.maxGridSize[1] = p.maxGridSize[2] = 65535;
  p.totalConstMem = 65536;
  p.multiProcessorCount = kMultiprocessors;
  p.maxThreadsPerMultiProcessor = static_cast<int>(kThreadsPerMultiprocessor);
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
  if (!exists(device)) return done(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = kMultiprocessors;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = static_cast<int>(kThreadsPerMultiprocessor);
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
      *value = shared_per_multiprocessor();
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

cudaError_t cudaFuncGetName(const char** name, const void* kernel) {
  const auto lock = lock_runtime();
  *name = mangled_name(kernel);
  return gate();
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* kernel,
                                                                   int threads, std::size_t shared_bytes,
                                                                   unsigned) {
  const auto lock = lock_runtime();
  if (threads <= 0 || threads > 1024) return done(cudaErrorInvalidValue);
  *blocks = static_cast<int>(blocks_at_once(kernel, static_cast<std::size_t>(threads), shared_bytes));
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
    case cudaErrorDevicesUnavailable:
      return "cudaErrorDevicesUnavailable (another process keeps the device)";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle (another device is current)";
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
