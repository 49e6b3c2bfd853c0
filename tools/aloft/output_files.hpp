#pragma once
#include <string>
#include <vector>

namespace aloft {

/// Whether two paths lead to one file, which need not be there yet: other spellings, links of both kinds; "-"
/// is what stdin reads.
[[nodiscard]] bool same_file(const std::string& a, const std::string& b);

/// A file that a command is to write.
struct OutputFile {
  std::string path;
  bool replace = false;  ///< what is there
};
/// Before hours of work: throws UsageError when the output is a folder, is there and not to be replaced, or
/// is one of `inputs`, which this command reads; InputError when it cannot be written. Removes what a killed
/// process left of it.
void check_output(const OutputFile& output, const std::vector<std::string>& inputs);

}  // namespace aloft
