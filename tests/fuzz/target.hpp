#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/model/architecture.hpp"

// A fuzz target: a reader of the program as a function of bytes. Any bytes must end in a return or in one of
// the errors a user may meet for a file (InputError, UsageError, ResourceError); anything else, and whatever
// the sanitizers say, is a defect.

namespace aloft::fuzz {

using Seeds = std::vector<std::string>;

struct Target {
  std::string_view name;
  void (*read)(std::string_view data);
  Seeds (*seeds)();                ///< sound inputs, and what once was a finding
  std::vector<std::string> words;  ///< pieces that a mutation may put in
};

[[nodiscard]] const std::vector<Target>& targets();

/// One file's targets: json_targets.cpp and so on.
[[nodiscard]] std::vector<Target> json_targets();
[[nodiscard]] std::vector<Target> tensor_targets();
[[nodiscard]] std::vector<Target> corpus_targets();
[[nodiscard]] std::vector<Target> run_targets();

/// The path of a regular file that holds `data`, until the next call with this number (0 to 3).
[[nodiscard]] const std::string& file_with(std::string_view data, int number = 0);

/// A folder of this process, in memory where there is one.
[[nodiscard]] const std::string& own_folder();

/// Those of tools/architectures/.
[[nodiscard]] const std::vector<Architecture>& built_in_architectures();

/// Fails the run, saying why, unless `ok`.
void require(bool ok, const char* what);

/// Takes options from the front of an input.
class Options {
 public:
  explicit Options(std::string_view& data) : data_(data) {}
  /// 0 to n - 1.
  [[nodiscard]] std::size_t choice(std::size_t n) {
    if (data_.empty()) return 0;
    const auto byte = static_cast<unsigned char>(data_.front());
    data_.remove_prefix(1);
    return byte % n;
  }

 private:
  std::string_view& data_;
};

template <class T>
[[nodiscard]] std::string little_endian(const std::vector<T>& values) {
  std::string out(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(out.data(), values.data(), out.size());
  return out;
}

}  // namespace aloft::fuzz
