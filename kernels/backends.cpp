#include <algorithm>

#include "host/error.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/ops.hpp"
#ifdef ALOFT_CUDA
#include "kernels/cuda/backend.hpp"
#endif

namespace aloft {

std::vector<BackendInfo> backends() {
  std::vector<BackendInfo> out{{"cpu", true, true, cpu::describe()}};
#ifdef ALOFT_CUDA
  out.push_back(cuda::info());
#else
  out.push_back(
      {"cuda", false, false, "not compiled in: no CUDA toolkit was found when this program was built"});
#endif
  return out;
}

std::vector<std::string> available_backends() {
  std::vector<std::string> out;
  for (const BackendInfo& b : backends())
    if (b.usable) out.push_back(b.name);
  return out;
}

Backend make_backend(std::string_view name, int threads) {
  const auto all = backends();
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& b) { return b.name == name; });
  if (name != "auto" && found == all.end())
    throw UsageError("no backend is called '" + std::string(name) + "': use auto, cpu or cuda");
  if (name != "auto" && !found->usable)
    throw UsageError("backend " + found->name + " cannot be used: " + found->detail);
#ifdef ALOFT_CUDA
  if (name == "cuda") return cuda::make_backend();
#endif
  // `auto` stays the CPU, GPU or not, until a run on a GPU has been measured.
  return cpu::make_backend(threads);
}

}  // namespace aloft
