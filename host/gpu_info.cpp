#include "host/gpu_info.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <vector>

#include "host/error.hpp"

namespace aloft {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

}  // namespace

const GpuInfo& choose_gpu(std::span<const GpuInfo> gpus, std::string_view wanted) {
  if (gpus.empty()) throw UsageError("no GPU can be used (`aloft doctor` says why)");
  if (wanted.empty()) return gpus.front();
  const std::string text = lower(wanted);
  const bool number = text.find_first_not_of("0123456789") == std::string::npos;
  if (!number && !text.starts_with("gpu-"))
    throw UsageError(
        fmt::format("--device {}: neither an index nor a UUID (GPU-...); `aloft doctor` lists both", wanted));
  std::vector<const GpuInfo*> found;
  for (const GpuInfo& gpu : gpus)
    if (number ? std::to_string(gpu.index) == text : lower(gpu.uuid).starts_with(text)) found.push_back(&gpu);
  if (found.size() > 1)
    throw UsageError(
        fmt::format("--device {}: {} GPUs here have such a UUID, give more of it", wanted, found.size()));
  if (found.empty())
    throw UsageError(
        fmt::format("--device {}: no such GPU; `aloft doctor` lists the {} here", wanted, gpus.size()));
  return *found.front();
}

}  // namespace aloft
