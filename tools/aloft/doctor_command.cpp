#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "host/error.hpp"
#include "host/json_build.hpp"
#include "kernels/ops.hpp"
#include "pipeline/base/memory_limit.hpp"
#include "pipeline/run/plan.hpp"
#include "tools/aloft/build_info.hpp"
#include "tools/aloft/builtin_architectures.hpp"
#include "tools/aloft/commands.hpp"
#include "tools/aloft/options.hpp"
#include "tools/aloft/output.hpp"

namespace aloft {
namespace {

class DoctorCommand final : public Command {
 public:
  explicit DoctorCommand(CLI::App& program)
      : app_(
            *program.add_subcommand("doctor", "What this program was built with and what this machine has")) {
    add_output_options(app_, output_);
    add_device_option(app_, gpu_);
  }
  CLI::App& app() override { return app_; }

  void run() override {
    const BuildInfo& b = build_info();
    nlohmann::ordered_json out{{"version", b.version},    {"commit", b.commit},
                               {"compiler", b.compiler},  {"build_type", b.build_type},
                               {"cuda_toolkit", b.cuda},  {"cuda_architectures", b.cuda_architectures},
                               {"libraries", b.libraries}};
    std::vector<BackendInfo> all = backends();
    const std::vector<Gpu> gpus = look_at_gpus(all.back());
    if (!gpus.empty()) expect_it_starts(all.back());
    for (const BackendInfo& backend : all)
      object_in(out, "backends")[backend.name] = {
          {"compiled", backend.compiled}, {"usable", backend.usable}, {"detail", backend.detail}};
    out["backend_auto"] = choose_backend(all.back()).name;
    out["gpus"] = nlohmann::ordered_json::array();
    for (const Gpu& gpu : gpus) array_in(out, "gpus").push_back(json_of(gpu));
    for (const auto& a : builtin_architectures()) array_in(out, "model_architectures").push_back(a.name);
    const MemoryLimit memory = memory_limit(0);
    out["memory_available_bytes"] = memory.bytes;
    out["memory_limit"] = memory.holder;
    out["disk_free_bytes"] = free_disk(".");
    if (output_.json) {
      print_json(out);
      return;
    }
    const auto line = [](const std::string& name, const std::string& value) {
      std::fputs(fmt::format("{:<22}{}\n", name, value).c_str(), stdout);
    };
    line("aloft", b.version + " (" + b.commit + ")");
    line("compiler", b.compiler + ", " + b.build_type);
    line("CUDA toolkit", b.cuda + (b.cuda_architectures.empty() ? "" : " for " + b.cuda_architectures));
    line("libraries", b.libraries);
    for (const BackendInfo& backend : all)
      line("backend " + backend.name, (backend.usable ? "ok: " : "not usable: ") + backend.detail);
    const AutoChoice automatic = choose_backend(all.back());
    line("backend auto", std::string(automatic.name) + (automatic.note.empty() ? "" : ": " + automatic.note));
    for (const Gpu& gpu : gpus)
      line(fmt::format("GPU {}{}", gpu.info.index, gpu.chosen ? " (used)" : ""), text_of(gpu));
    line("memory available", fmt::format("{:.1f} GiB, limited by {}",
                                         static_cast<double>(memory.bytes) / (1u << 30), memory.holder));
    line("disk free here", fmt::format("{:.1f} GiB", static_cast<double>(free_disk(".")) / (1u << 30)));
  }

 private:
  /// A GPU is not all that a backend needs: its libraries are opened when it is made.
  void expect_it_starts(BackendInfo& cuda) const {
    try {
      (void)make_backend("cuda", 0, gpu_);
    } catch (const Error& e) {
      cuda.usable = false;
      cuda.detail = e.what();
    }
  }
  struct Gpu {
    GpuInfo info;
    std::optional<std::uint64_t> free;  ///< bytes; nothing where the GPU could not be started
    bool chosen = false;
  };

  [[nodiscard]] std::vector<Gpu> look_at_gpus(const BackendInfo& cuda) const {
    if (cuda.gpus.empty() && gpu_.empty()) return {};
    const int chosen = choose_gpu(cuda.gpus, gpu_).index;
    std::vector<Gpu> out;
    for (const GpuInfo& gpu : cuda.gpus)
      out.push_back({gpu, gpu_free_memory(gpu.index), gpu.index == chosen});
    return out;
  }
  static nlohmann::ordered_json json_of(const Gpu& gpu) {
    nlohmann::ordered_json out{{"index", gpu.info.index},
                               {"name", gpu.info.name},
                               {"uuid", gpu.info.uuid},
                               {"compute_capability", fmt::format("{}.{}", gpu.info.major, gpu.info.minor)},
                               {"memory_total_bytes", gpu.info.memory},
                               {"memory_free_bytes", nullptr},
                               {"used", gpu.chosen}};
    if (gpu.free) out["memory_free_bytes"] = *gpu.free;
    return out;
  }
  static std::string text_of(const Gpu& gpu) {
    const auto gib = [](std::uint64_t bytes) { return static_cast<double>(bytes) / (1u << 30); };
    const std::string memory =
        gpu.free ? fmt::format("{:.1f} of {:.1f} GiB free", gib(*gpu.free), gib(gpu.info.memory))
                 : fmt::format("{:.1f} GiB, cannot be started", gib(gpu.info.memory));
    return fmt::format("{}, {}, compute capability {}.{}, {}", gpu.info.name, gpu.info.uuid, gpu.info.major,
                       gpu.info.minor, memory);
  }

  CLI::App& app_;
  std::string gpu_;
  OutputOptions output_;
};

}  // namespace

std::unique_ptr<Command> make_doctor_command(CLI::App& program) {
  return std::make_unique<DoctorCommand>(program);
}

}  // namespace aloft
