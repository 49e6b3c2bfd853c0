#include "tools/aloft/output_files.hpp"

#include <filesystem>

#include "host/atomic_file.hpp"
#include "host/error.hpp"

namespace aloft {
namespace {

namespace fs = std::filesystem;

std::string of_stdin(const std::string& path) { return path == "-" ? "/dev/stdin" : path; }

}  // namespace

bool same_file(const std::string& a, const std::string& b) {
  std::error_code unknown;  // then the two are not the same file
  if (a.empty() || b.empty()) return false;
  if (fs::equivalent(of_stdin(a), of_stdin(b), unknown)) return true;
  const fs::path first = fs::weakly_canonical(fs::absolute(a), unknown);
  return !unknown && first == fs::weakly_canonical(fs::absolute(b), unknown) && !unknown;
}

void check_output(const OutputFile& output, const std::vector<std::string>& inputs) {
  const std::string& path = output.path;
  if (path == "-") throw UsageError("-: this command writes a file; give its name");
  for (const std::string& input : inputs)
    if (same_file(path, input))
      throw UsageError(path + ": is read by this run; give the output another name");
  if (fs::is_directory(path)) throw UsageError(path + ": is a folder; a file is written, give its name");
  if (!output.replace && fs::exists(fs::symlink_status(path)))
    throw UsageError(path + ": already exists; use --force to replace it");
  const fs::path folder = fs::path(path).parent_path();
  if (!folder.empty() && !fs::is_directory(folder))
    throw InputError(path + ": there is no folder " + folder.string() + "; make it first");
  expect_can_be_written(path);
}

}  // namespace aloft
