#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "kernels/ops.hpp"
#include "pipeline/run_plan.hpp"
#include "tools/aloft/build_info.hpp"
#include "tools/aloft/builtin_architectures.hpp"
#include "tools/aloft/commands.hpp"
#include "tools/aloft/options.hpp"

namespace aloft {
namespace {

class DoctorCommand final : public Command {
 public:
  explicit DoctorCommand(CLI::App& program)
      : app_(
            *program.add_subcommand("doctor", "What this program was built with and what this machine has")) {
    add_output_options(app_, output_);
  }
  CLI::App& app() override { return app_; }

  void run() override {
    const BuildInfo& b = build_info();
    nlohmann::ordered_json out{{"version", b.version},    {"commit", b.commit},
                               {"compiler", b.compiler},  {"build_type", b.build_type},
                               {"cuda_toolkit", b.cuda},  {"cuda_architectures", b.cuda_architectures},
                               {"libraries", b.libraries}};
    for (const BackendInfo& backend : backends())
      out["backends"][backend.name] = {
          {"compiled", backend.compiled}, {"usable", backend.usable}, {"detail", backend.detail}};
    for (const auto& a : builtin_architectures()) out["model_architectures"].push_back(a.name);
    out["memory_available_bytes"] = available_memory();
    out["disk_free_bytes"] = free_disk(".");
    if (output_.json) {
      std::fputs((out.dump(1) + "\n").c_str(), stdout);
      return;
    }
    const auto line = [](const std::string& name, const std::string& value) {
      std::fputs(fmt::format("{:<22}{}\n", name, value).c_str(), stdout);
    };
    line("aloft", b.version + " (" + b.commit + ")");
    line("compiler", b.compiler + ", " + b.build_type);
    line("CUDA toolkit", b.cuda + (b.cuda_architectures.empty() ? "" : " for " + b.cuda_architectures));
    line("libraries", b.libraries);
    for (const BackendInfo& backend : backends())
      line("backend " + backend.name, (backend.usable ? "ok: " : "not usable: ") + backend.detail);
    line("memory available", fmt::format("{:.1f} GiB", static_cast<double>(available_memory()) / (1u << 30)));
    line("disk free here", fmt::format("{:.1f} GiB", static_cast<double>(free_disk(".")) / (1u << 30)));
  }

 private:
  CLI::App& app_;
  OutputOptions output_;
};

}  // namespace

std::unique_ptr<Command> make_doctor_command(CLI::App& program) {
  return std::make_unique<DoctorCommand>(program);
}

}  // namespace aloft
