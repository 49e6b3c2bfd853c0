#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "host/safetensors.hpp"
#include "kernels/matrix.hpp"

namespace aloft {

/// One saved value: its tensors and a few small facts, in a safetensors file whose metadata name the kind of
/// value, the key of what it was made from and an XXH3-128 over all of it, so that a damaged file is not
/// taken for a result.
class ArtifactWriter {
 public:
  ArtifactWriter(std::string kind, const std::string& key);

  void fact(const std::string& name, const std::string& value) { metadata_[name] = value; }
  void fact(const std::string& name, std::uint64_t value) { metadata_[name] = std::to_string(value); }
  /// Keeps the values until write().
  template <class T>
  void tensor(const std::string& name, DType dtype, std::vector<std::int64_t> shape, std::vector<T> values) {
    auto kept = std::make_shared<std::vector<T>>(std::move(values));
    tensors_.push_back({{name, dtype, std::move(shape)}, std::as_bytes(std::span(*kept)), kept});
  }
  void matrix(const std::string& name, const Matrix& m);  ///< F64 [batch, rows, cols]
  void write(const std::string& path);                    ///< atomically

 private:
  struct Tensor {
    TensorInfo info;
    std::span<const std::byte> bytes;
    std::shared_ptr<void> owner;
  };
  std::map<std::string, std::string> metadata_;
  std::vector<Tensor> tensors_;
};

class ArtifactReader {
 public:
  /// Nothing if there is no such file or its key differs (an empty key accepts any). Throws InputError if the
  /// file is not a whole artifact of this kind.
  [[nodiscard]] static std::optional<ArtifactReader> open(const std::string& path, const std::string& kind,
                                                          const std::string& key);

  [[nodiscard]] std::string fact(const std::string& name) const;
  [[nodiscard]] std::int64_t number(const std::string& name) const;  ///< a fact >= 0
  template <class T>
  [[nodiscard]] std::vector<T> read(const std::string& name, std::vector<std::int64_t> shape) const {
    return file_.read<T>(name, std::move(shape));
  }
  [[nodiscard]] Matrix matrix(Device& device, const std::string& name) const;
  [[nodiscard]] std::vector<std::int64_t> shape(const std::string& name, std::size_t dimensions) const;
  /// Throws InputError "PATH: reason" if not ok.
  void require(bool ok, const std::string& reason) const;

 private:
  ArtifactReader(std::string path, SafetensorsReader file) : path_(std::move(path)), file_(std::move(file)) {}
  std::string path_;
  SafetensorsReader file_;
};

}  // namespace aloft
