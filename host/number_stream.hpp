#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "host/error.hpp"
#include "host/input_file.hpp"
#include "host/token_format.hpp"

namespace aloft {

/// A row of little-endian numbers somewhere in a file, one after the other.
template <class T>
class NumberStream {
 public:
  NumberStream(InputFile& file, std::uint64_t offset) : stream_(file.open(offset)) {}

  /// Throws InputError at the file's end.
  [[nodiscard]] T next() {
    if (at_ == have_) {
      have_ = stream_->read(block_) / sizeof(T);
      at_ = 0;
      if (have_ == 0) throw InputError(stream_->name() + ": ends before its ids do");
    }
    return load_number<T>(block_.data() + at_++ * sizeof(T));
  }

 private:
  static constexpr std::size_t kBlockBytes = std::size_t{1} << 16;
  std::unique_ptr<InputStream> stream_;
  std::vector<char> block_ = std::vector<char>(kBlockBytes);
  std::size_t at_ = 0, have_ = 0;
};

}  // namespace aloft
