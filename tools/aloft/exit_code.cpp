#include "tools/aloft/exit_code.hpp"

#include <filesystem>
#include <new>

#include "host/error.hpp"

namespace aloft {

ExitCode exit_code_of(const std::exception& error) {
  if (dynamic_cast<const UsageError*>(&error) != nullptr) return ExitCode::usage;
  if (dynamic_cast<const InputError*>(&error) != nullptr) return ExitCode::bad_input;
  if (dynamic_cast<const std::filesystem::filesystem_error*>(&error) != nullptr) return ExitCode::bad_input;
  if (dynamic_cast<const ResourceError*>(&error) != nullptr) return ExitCode::resources;
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return ExitCode::resources;
  if (dynamic_cast<const Interrupted*>(&error) != nullptr) return ExitCode::interrupted;
  return ExitCode::failure;
}

}  // namespace aloft
