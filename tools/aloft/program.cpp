#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <new>
#include <string_view>

#include "host/error.hpp"
#include "host/interrupt.hpp"
#include "host/printable.hpp"
#include "host/tidy_up.hpp"
#include "kernels/ops.hpp"
#include "tools/aloft/build_info.hpp"
#include "tools/aloft/commands.hpp"
#include "tools/aloft/config_file.hpp"
#include "tools/aloft/exit_code.hpp"
#include "tools/aloft/flag_kinds.hpp"

namespace aloft {
namespace {

constexpr const char* kFooter =
    "Exit codes: 0 ok, 1 failure, 2 usage, 3 bad input, 4 would exceed memory or disk, 5 interrupted but "
    "resumable.\n"
    "Results go to stdout; progress, notes and errors to stderr.";

std::string version_text() {
  const BuildInfo& b = build_info();
  std::string out = fmt::format(
      "aloft {} ({})\nbuilt with {}, {}\ncuda: {}{}\n", b.version, b.commit, b.compiler, b.build_type, b.cuda,
      b.cuda_architectures.empty() ? "" : ", architectures " + b.cuda_architectures);
  for (const BackendInfo& backend : backends())
    out += fmt::format("backend {}: {}\n", backend.name, backend.detail);
  out.pop_back();
  return out;
}

struct Program {
  CLI::App app{"aloft: corpus transitions -> layer-specific attention init tensors", "aloft"};
  std::vector<std::unique_ptr<Command>> commands;

  Program() {
    app.set_version_flag("--version", [] { return version_text(); });
    app.require_subcommand(1);
    for (const auto make : {make_init_command, make_count_command, make_analyze_command, make_report_command,
                            make_plan_command, make_inspect_command, make_doctor_command}) {
      commands.push_back(make(app));
      CLI::App& command = commands.back()->app();
      command.footer(command.get_footer() + kFooter);
      for (CLI::Option* option : command.get_options())
        if (option->get_items_expected_max() == 1)
          option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    }
    app.footer(kFooter);  // only now: commands begin with the footer that the program has
  }
  /// CLI11 only says that a subcommand is missing when it does not know the word.
  void expect_known(const std::string& word) const {
    std::string names;
    for (const auto& c : commands) {
      if (c->app().get_name() == word) return;
      names += " " + c->app().get_name();
    }
    if (word.rfind('-', 0) != 0)
      throw UsageError(fmt::format("unknown command '{}'; there are:{}", word, names));
  }
  Command* chosen() {
    for (const auto& c : commands)
      if (c->app().parsed()) return c.get();
    return nullptr;
  }
};

void parse(Program& program, std::vector<std::string> words) {
  std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
  program.app.parse(words);
}

// A value that no flag takes is a defect of the config, not of the command line.
void check_config(const std::string& path, const std::vector<std::string>& words) {
  Program alone;
  try {
    parse(alone, words);
  } catch (const CLI::ParseError& e) {
    throw InputError(fmt::format("{}: {}", path, e.what()));
  }
}

int fail(ExitCode code, const std::string& what) {
  interrupts_are_over();  // one line, from here or from there
  std::fprintf(stderr, "aloft: %s\n", printable_message(what).c_str());
  return static_cast<int>(code);
}

constexpr std::string_view kNoMemory = "aloft: out of memory; `aloft plan` says what a run needs\n";
std::atomic<bool> at_work = false;

/// Nothing is unwound, as after a kill, and the next run tidies up.
[[noreturn]] void end_without_memory() {
  if (::write(STDERR_FILENO, kNoMemory.data(), kNoMemory.size()) < 0) std::abort();
  ::_exit(static_cast<int>(ExitCode::resources));
}

std::atomic<bool> memory_ran_out = false;

[[noreturn]] void on_no_memory() {
  memory_ran_out = true;
  throw std::bad_alloc();
}

/// Where memory runs out in what may not fail: a library's noexcept function, a destructor.
[[noreturn]] void on_terminate() {
  if (memory_ran_out) end_without_memory();
  std::abort();
}

/// libgomp and OpenBLAS call exit() when they get no memory, with a line of their own.
void on_exit() {
  if (at_work) end_without_memory();
}

/// Between its beginning and its end, exit() is a library's.
class AtWork {
 public:
  AtWork() {
    static const int registered = std::atexit(on_exit);
    (void)registered;
    std::set_new_handler(on_no_memory);
    std::set_terminate(on_terminate);
    at_work = true;
  }
  ~AtWork() { at_work = false; }
  AtWork(const AtWork&) = delete;
  AtWork& operator=(const AtWork&) = delete;
};

}  // namespace

int run_program(int argc, const char* const* argv) {
  const AtWork from_here_on;
  std::vector<std::string> arguments;
  try {
    install_interrupt_handlers();
    arguments.assign(argv + std::min(argc, 1), argv + argc);
    auto program = std::make_unique<Program>();
    if (!arguments.empty()) program->expect_known(arguments.front());
    parse(*program, arguments);
    CLI::App& app = program->chosen()->app();
    // A config stands for flags: once it is known what the command line itself says, its words go in front.
    if (const CLI::Option* config = find_option(app, "--config"); config != nullptr && config->count() > 0) {
      const auto path = config->as<std::string>();
      std::vector<std::string> words = config_words(path, app);
      words.insert(words.begin(), app.get_name());
      check_config(path, words);
      words.insert(words.end(), arguments.begin() + 1, arguments.end());
      program = std::make_unique<Program>();
      parse(*program, words);
    }
    program->chosen()->run();
    interrupts_are_over();
    if (std::fflush(stdout) != 0) return fail(ExitCode::failure, "cannot write to stdout");
    return static_cast<int>(ExitCode::ok);
  } catch (const CLI::Success& e) {  // --help, --version
    Program program;
    try {
      parse(program, arguments);
    } catch (const CLI::ParseError& again) {
      return program.app.exit(again);
    }
    return 0;
  } catch (const CLI::ParseError& e) {
    return fail(ExitCode::usage, std::string(e.what()) + " (see aloft --help)");
  } catch (const std::bad_alloc&) {
    return fail(ExitCode::resources, "out of memory; `aloft plan` says what a run needs");
  } catch (const std::filesystem::filesystem_error& e) {  // a path on whose way there is no permission, say
    return fail(exit_code_of(e), e.path1().string() + ": " + e.code().message());
  } catch (const std::exception& e) {
    return fail(exit_code_of(e), e.what());
  }
}

}  // namespace aloft
