#pragma once
#include <string>

#include "pipeline/model/checkpoint_names.hpp"
#include "pipeline/model/model_config.hpp"

namespace aloft {

/// A checkpoint's sizes, and that its first layer has them: see Checkpoint::shape.
[[nodiscard]] ModelShape checkpoint_shape(const TensorFiles& files, const Architecture& arch,
                                          const CheckpointNames& names, const ModelFlags& flags,
                                          const ModelConfig& config);

/// Throws InputError, with `because` behind it, where a tensor has another shape. Also where it is absent.
void expect_shape(const TensorFiles& files, const std::string& name, const std::vector<std::int64_t>& shape,
                  const std::string& because);

}  // namespace aloft
