#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "host/tensor_files.hpp"
#include "pipeline/model/architecture.hpp"

namespace aloft {

/// How the names in a checkpoint differ from the architecture's.
struct CheckpointNames {
  std::string prefix;       ///< what they all begin with in the file: "_orig_mod.", "language_model."
  std::string dropped;      ///< what the architecture's begin with and the file's do not: "model."
  std::int64_t layers = 0;  ///< that the file holds, 0 to layers - 1

  /// The architecture's `name` as the file has it.
  [[nodiscard]] std::string of(const std::string& name) const;
};

/// Looks for the layers' queries under the architecture's names, with each of its optional prefixes (or two
/// of them, or that of a language model inside a larger one) before them, and without the base model's own
/// prefix, as Hugging Face saves base models. Throws InputError where there are none, and for a layer that is
/// missing among them.
[[nodiscard]] CheckpointNames find_names(const TensorFiles& files, const Architecture& arch);

/// "X.weight" -> "X.bias"; "" for a name that ends in another way.
[[nodiscard]] std::string bias_name(const std::string& weight);

}  // namespace aloft
