#include <fmt/format.h>

#include <algorithm>

#include "host/error.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/ops.hpp"
#ifdef ALOFT_CUDA
#include "host/cuda_device.hpp"
#include "kernels/cuda/backend.hpp"
#endif

namespace aloft {
namespace {

BackendInfo cuda_info() {
#ifdef ALOFT_CUDA
  return cuda::info();
#else
  return {"cuda", false, false, "not compiled in: no CUDA toolkit was found when this program was built", {}};
#endif
}

Backend make_cuda_backend([[maybe_unused]] int index) {
#ifdef ALOFT_CUDA
  return cuda::make_backend(index);
#else
  throw Error("the CUDA backend is not compiled in");
#endif
}

}  // namespace

std::vector<BackendInfo> backends() { return {{"cpu", true, true, cpu::describe(), {}}, cuda_info()}; }

std::vector<std::string> available_backends() {
  std::vector<std::string> out;
  for (const BackendInfo& b : backends())
    if (b.usable) out.push_back(b.name);
  return out;
}

std::optional<std::uint64_t> gpu_free_memory([[maybe_unused]] int index) {
#ifdef ALOFT_CUDA
  return cuda_free_memory(index);
#else
  return std::nullopt;
#endif
}

AutoChoice choose_backend(const BackendInfo& cuda, bool measured) {
  if (!cuda.usable) return {"cpu", ""};
  if (measured) return {"cuda", ""};
  return {"cpu", fmt::format(
                     "there is a GPU ({}), but this program has not been measured on one yet; --backend cuda "
                     "asks for it",
                     cuda.gpus.front().name)};
}

Backend make_backend(std::string_view name, int threads, std::string_view gpu) {
  if (name != "auto" && name != "cpu" && name != "cuda")
    throw UsageError(fmt::format("no backend is called '{}': use auto, cpu or cuda", name));
  if (name == "cpu" && !gpu.empty())
    throw UsageError(
        fmt::format("--device {} names a GPU, --backend cpu uses none: leave one of them out", gpu));
  if (name == "cpu") return cpu::make_backend(threads);
  const BackendInfo cuda = cuda_info();
  const AutoChoice choice = name == "auto" && gpu.empty() ? choose_backend(cuda) : AutoChoice{"cuda", ""};
  if (choice.name == "cuda") {
    if (!cuda.usable)
      throw UsageError(
          fmt::format("{} cannot be used: {}; leave it out to run on the CPU, `aloft doctor` says more",
                      gpu.empty() ? "--backend cuda" : fmt::format("--device {}", gpu), cuda.detail));
    return make_cuda_backend(choose_gpu(cuda.gpus, gpu).index);
  }
  Backend out = cpu::make_backend(threads);
  if (!choice.note.empty()) out.note = "note: running on the CPU: " + choice.note;
  return out;
}

}  // namespace aloft
