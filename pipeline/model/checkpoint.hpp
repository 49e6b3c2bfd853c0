#pragma once
#include <optional>
#include <string>
#include <vector>

#include "host/tensor_files.hpp"
#include "pipeline/model/architecture.hpp"
#include "pipeline/model/checkpoint_names.hpp"
#include "pipeline/model/model_config.hpp"

namespace aloft {

/// One layer's attention in the canonical form, as it acts on what the norm before it leaves without gain and
/// bias: those are in it, where the file has them under the architecture's name.
struct CheckpointLayer {
  LayerHeads heads;
  // Added to the projections, in the same order of rows; empty where the file has none.
  std::vector<float> query_bias;            ///< [heads, head_dim]
  std::vector<float> key_bias, value_bias;  ///< [kv_heads, head_dim]
};

/// A trained (or written) checkpoint of an architecture, read back into the canonical form: emit.hpp's
/// inverse. Only names and shapes are read until something is asked for. Other norms, output biases and MLPs
/// are not read.
class Checkpoint {
 public:
  /// `path` as TensorFiles takes it. Throws InputError where its names are not the architecture's.
  Checkpoint(const std::string& path, const Architecture& arch);

  [[nodiscard]] const TensorFiles& files() const { return files_; }
  [[nodiscard]] std::int64_t layers() const { return names_.layers; }
  [[nodiscard]] bool has_embedding() const { return files_.contains(names_.of(arch_.embedding)); }

  /// Sizes from flags over `config` over what the tensors say; resolve_shape() has the rest. How many heads
  /// there are no tensor says: UsageError where neither flags nor config do. InputError where a size that was
  /// given contradicts the tensors, naming both.
  [[nodiscard]] ModelShape shape(const ModelFlags& flags, const ModelConfig& config) const;

  /// InputError for a tensor that is missing, of another shape or type, or not finite.
  [[nodiscard]] CheckpointLayer layer(const ModelShape& shape, std::int64_t l) const;
  /// [vocab, d], as it enters the stream: times the architecture's multiplier.
  [[nodiscard]] std::vector<float> embedding(const ModelShape& shape) const;
  /// [vocab, d]. The embedding where the architecture ties it, and where an untied one's file has no head:
  /// Hugging Face leaves a tied head out whatever the family.
  [[nodiscard]] std::vector<float> head(const ModelShape& shape) const;
  /// [context, d], of models with a learned table of positions.
  [[nodiscard]] std::optional<std::vector<float>> positions(const ModelShape& shape) const;

  /// There are gains of norms before attention, and they are in what layer() returns.
  [[nodiscard]] bool folds_norms() const;

  /// For people: what was read in another way than one might expect.
  [[nodiscard]] std::vector<std::string> notes() const;

 private:
  void fold_norm(const ModelShape& shape, std::int64_t l, CheckpointLayer& layer) const;
  [[nodiscard]] std::string head_name() const;
  [[nodiscard]] std::vector<float> read(const std::string& name, const std::vector<std::int64_t>& shape,
                                        const std::string& because) const;

  TensorFiles files_;
  Architecture arch_;
  CheckpointNames names_;
};

}  // namespace aloft
