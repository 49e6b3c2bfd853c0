#pragma once
#include <exception>

namespace aloft {

/// The program's exit codes, as `aloft --help` and the README list them.
enum class ExitCode { ok = 0, failure = 1, usage = 2, bad_input = 3, resources = 4, interrupted = 5 };

/// The one place where exceptions become exit codes.
[[nodiscard]] ExitCode exit_code_of(const std::exception& error);

}  // namespace aloft
