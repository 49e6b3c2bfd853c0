#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace aloft {

/// One subcommand: its flags are added on construction, run() does the work after they were parsed.
class Command {
 public:
  Command() = default;
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  virtual ~Command() = default;
  [[nodiscard]] virtual CLI::App& app() = 0;
  virtual void run() = 0;
};

[[nodiscard]] std::unique_ptr<Command> make_init_command(CLI::App& program);
[[nodiscard]] std::unique_ptr<Command> make_count_command(CLI::App& program);
[[nodiscard]] std::unique_ptr<Command> make_plan_command(CLI::App& program);
[[nodiscard]] std::unique_ptr<Command> make_inspect_command(CLI::App& program);
[[nodiscard]] std::unique_ptr<Command> make_analyze_command(CLI::App& program);
[[nodiscard]] std::unique_ptr<Command> make_report_command(CLI::App& program);
[[nodiscard]] std::unique_ptr<Command> make_doctor_command(CLI::App& program);

/// The whole program: parses, runs, prints one line for an error. Takes what main() is given, for to copy the
/// words may already fail. Returns the exit code.
int run_program(int argc, const char* const* argv);

}  // namespace aloft
