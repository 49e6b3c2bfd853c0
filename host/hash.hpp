#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace aloft {

/// Streaming XXH3-128.
class Hash {
 public:
  Hash();
  ~Hash();
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;
  void update(const void* data, std::size_t bytes);
  [[nodiscard]] std::string hex() const;  ///< 32 lower-case digits, of all so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

[[nodiscard]] std::string hash_of(std::string_view text);
/// Of a file's bytes, read in blocks. Throws InputError if it cannot be read.
[[nodiscard]] std::string hash_of_file(const std::string& path);

}  // namespace aloft
