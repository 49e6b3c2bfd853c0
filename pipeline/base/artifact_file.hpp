#pragma once
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "host/safetensors.hpp"
#include "kernels/matrix.hpp"

// What stages leave behind, as safetensors with a kind and a key. The key names what the artifact was made
// from (base/stage.hpp). Writing is atomic; files hold no time, path or thread count. Each room says beside
// its values how they are laid out: void save(path, const Value&, key), and load<Value>.

namespace aloft {

/// Nothing when the file is absent or was made under another key (an empty `key` accepts any). Throws
/// InputError when it claims to be whole but is not. Each room specialises this for its values.
template <class T>
[[nodiscard]] std::optional<T> load(Device& device, const std::string& path, const std::string& key);

/// The key that an artifact was made under; "" where it has none. InputError when it is no artifact of this
/// kind.
[[nodiscard]] std::string artifact_key(const std::string& path, std::string_view kind);

/// Opens an artifact. Nothing when the file is absent or its key differs (an empty `key` accepts any);
/// InputError when it is no artifact of this kind.
[[nodiscard]] std::optional<SafetensorsReader> open_artifact(const std::string& path, std::string_view kind,
                                                             const std::string& key);

/// Collects tensors, then writes them in that order.
class ArtifactFile {
 public:
  ArtifactFile(std::string_view kind, const std::string& key);
  void say(const std::string& name, const std::string& value) { metadata_[name] = value; }
  void add(const std::string& name, const Matrix& m);  ///< F64 [batch, rows, cols], downloaded
  template <class T>
  void add(const std::string& name, DType dtype, std::vector<std::int64_t> shape, std::vector<T> values) {
    const auto kept = std::make_shared<const std::vector<T>>(std::move(values));
    kept_.push_back(kept);
    data_.push_back(std::as_bytes(std::span<const T>(*kept)));
    infos_.push_back({name, dtype, std::move(shape)});
  }
  /// A buffer, downloaded; where its device shares the host's memory it is not copied and must live until
  /// write().
  template <class T>
  void add(const std::string& name, DType dtype, std::vector<std::int64_t> shape, const Buffer<T>& values) {
    if (values.size() == 0 || !values.device().shares_host_memory())
      return add(name, dtype, std::move(shape), to_host(values));
    data_.push_back(std::as_bytes(std::span<const T>(values.data(), values.size())));
    infos_.push_back({name, dtype, std::move(shape)});
  }
  /// `with`: another file, which appears together with this one.
  void write(const std::string& path, AtomicFile* with = nullptr) const;

 private:
  std::map<std::string, std::string> metadata_;
  std::vector<TensorInfo> infos_;
  std::vector<std::shared_ptr<const void>> kept_;
  std::vector<std::span<const std::byte>> data_;  // of what is kept
};

/// An F64 [batch, rows, cols] tensor with these extents (-1: any), uploaded.
[[nodiscard]] Matrix read_matrix(Device& device, const SafetensorsReader& file, const std::string& name,
                                 std::int64_t batch, std::int64_t rows, std::int64_t cols);
/// Metadata as an integer at least `least`. InputError otherwise.
[[nodiscard]] std::int64_t metadata_integer(const SafetensorsReader& file, const std::string& path,
                                            const std::string& name, std::int64_t least);

}  // namespace aloft
