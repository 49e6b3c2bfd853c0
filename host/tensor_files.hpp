#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "host/safetensors.hpp"

namespace aloft {

/// The tensors of a checkpoint, in one file or spread over several: a .safetensors file; a folder with
/// model.safetensors, with Hugging Face's model.safetensors.index.json and its shards, with aloft's
/// init.safetensors, or with one .safetensors alone (looked for in this order); that index by itself.
/// Headers are read and validated at once, data when asked for.
class TensorFiles {
 public:
  /// Throws InputError in one line: nothing there, an empty file, a file of another kind (with what makes
  /// safetensors of it), a shard that is missing, lies outside the folder, or lacks a tensor of the index.
  explicit TensorFiles(const std::string& path);

  [[nodiscard]] const std::string& origin() const { return origin_; }  ///< the path, as errors call it
  [[nodiscard]] std::vector<std::string> names() const;                ///< sorted
  [[nodiscard]] bool contains(const std::string& name) const { return where_.contains(name); }
  /// InputError if absent: with the nearest names, or, where the tensor is there in quantised parts, saying
  /// so.
  [[nodiscard]] const TensorInfo& info(const std::string& name) const;
  /// The elements of a floating tensor (F64, F32, F16, BF16) of exactly this shape, as floats. InputError for
  /// another shape or type, and for a value that is not finite.
  [[nodiscard]] std::vector<float> read_float(const std::string& name,
                                              const std::vector<std::int64_t>& shape) const;

 private:
  void open_folder(const std::string& folder);
  void open_file(const std::string& path);
  void open_index(const std::string& path, const std::string& folder);
  [[nodiscard]] const SafetensorsReader& file_of(const std::string& name) const;

  std::string origin_;
  std::vector<std::unique_ptr<SafetensorsReader>> files_;
  std::vector<std::string> paths_;            ///< of files_
  std::map<std::string, std::size_t> where_;  ///< name -> which file
};

/// At most `most` of the candidates, nearest to `name` by edit distance first; those that have little in
/// common with it are left out.
[[nodiscard]] std::vector<std::string> nearest_names(const std::string& name,
                                                     const std::vector<std::string>& candidates,
                                                     std::size_t most);

}  // namespace aloft
