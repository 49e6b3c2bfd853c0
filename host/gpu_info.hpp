#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace aloft {

/// A GPU as the CUDA runtime lists it, without having started it.
struct GpuInfo {
  int index = 0;     ///< CUDA's: by default the fastest is 0, and CUDA_VISIBLE_DEVICES numbers anew
  std::string uuid;  ///< as nvidia-smi prints it: GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx
  std::string name;
  int major = 0, minor = 0;  ///< compute capability
  std::uint64_t memory = 0;  ///< bytes in all
};

/// The GPU that `wanted` names: its index, or its UUID or so much of one as only it has; "": the first.
/// Throws UsageError.
[[nodiscard]] const GpuInfo& choose_gpu(std::span<const GpuInfo> gpus, std::string_view wanted);

}  // namespace aloft
