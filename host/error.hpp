#pragma once
#include <stdexcept>
#include <string>
#include <string_view>

namespace aloft {

/// Every failure a user can meet is one of these; tools/aloft/exit_code.hpp maps them to exit codes.
/// what() is one line: what went wrong, where (file, key, byte), what to do about it.
struct Error : std::runtime_error {
  using runtime_error::runtime_error;
};
struct UsageError : Error {  // a flag or a combination of flags: exit 2
  using Error::Error;
};
struct InputError : Error {  // a file's content: exit 3
  using Error::Error;
};
struct ResourceError : Error {  // would exceed the memory or disk allowed: exit 4
  using Error::Error;
};
struct Interrupted : Error {  // Ctrl-C or SIGTERM; finished stages are kept: exit 5
  using Error::Error;
};
struct DeviceError : Error {  // the CUDA runtime said no: exit 1
  using Error::Error;
};
struct NumericError : Error {  // no convergence, NaN: exit 1
  using Error::Error;
};

[[nodiscard]] inline std::string at_line(const char* file, int line, std::string_view what) {
  return std::string(file) + ':' + std::to_string(line) + ": " + std::string(what);
}

/// Precondition on a caller's argument (a bug when it fails, not a user's mistake); stays on in release
/// builds.
/// The built-ins name the caller's line, as std::source_location would; clang-tidy 14 cannot read
/// libstdc++'s.
inline void expects(bool ok, std::string_view what, const char* file = __builtin_FILE(),
                    int line = __builtin_LINE()) {
  if (!ok) throw Error("internal error: " + at_line(file, line, what));
}

}  // namespace aloft
