#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "host/error.hpp"
#include "tools/aloft/commands.hpp"

namespace aloft {
namespace {

/// What the interpreter is given: the package's own command, or a line where it is not there.
constexpr const char* kHandOver =
    "import sys\n"
    "try:\n"
    "    from aloft.__main__ import main\n"
    "except ModuleNotFoundError as error:\n"
    "    print(f'aloft: report: {sys.executable} has no package {error.name}: pip install "
    "\"tools/python[report]\" in a '\n"
    "          'virtual environment; ALOFT_PYTHON names another interpreter', file=sys.stderr)\n"
    "    sys.exit(1)\n"
    "sys.exit(main(sys.argv[1:]))\n";

/// Pages are the Python package's (plots, templates): this hands over to it.
class ReportCommand final : public Command {
 public:
  explicit ReportCommand(CLI::App& program)
      : app_(
            *program.add_subcommand("report", "One page of what init, analyze or a trial left in a folder")) {
    app_.add_option("folder", folder_, "What to report on")->type_name("FOLDER");
    app_.add_option("--output", output_, "File to write (default: FOLDER/report.html)")->type_name("FILE");
  }
  CLI::App& app() override { return app_; }

  void run() override {
    if (folder_.empty())
      throw UsageError("report: which folder? One that init, analyze or a trial has written");
    if (!std::filesystem::exists(folder_)) throw InputError(folder_ + ": no such folder");
    const char* chosen = std::getenv("ALOFT_PYTHON");
    const std::string python = chosen != nullptr && *chosen != '\0' ? chosen : "python3";
    std::vector<std::string> words{python, "-c", kHandOver, "report", folder_};
    if (!output_.empty()) words.insert(words.end(), {"--output", output_});
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    ::execvp(python.c_str(), arguments.data());
    throw Error(
        python + ": " + std::strerror(errno) +
        "; pages are made by the Python package: pip install 'tools/python[report]' (ALOFT_PYTHON names "
        "another interpreter)");
  }

 private:
  CLI::App& app_;
  std::string folder_, output_;
};

}  // namespace

std::unique_ptr<Command> make_report_command(CLI::App& program) {
  return std::make_unique<ReportCommand>(program);
}

}  // namespace aloft
