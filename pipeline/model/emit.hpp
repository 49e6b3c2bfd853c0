#pragma once
#include <map>
#include <string>

#include "host/safetensors.hpp"
#include "pipeline/model/architecture.hpp"
#include "pipeline/model/model.hpp"

namespace aloft {

/// Names, dtype and shapes of what emit() would write, in file order. Throws UsageError when the weights hold
/// a part that the architecture does not name.
[[nodiscard]] std::vector<TensorInfo> emitted_tensors(const Architecture& arch, const ModelShape& shape,
                                                      const HeadWeights& weights, DType dtype);

/// Writes `weights` as the checkpoint tensors of `arch` (atomically). dtype: F32, F16 or BF16. `metadata` is
/// added to `format: pt`; nothing in the file depends on time, path or thread count.
void emit(const std::string& path, const Architecture& arch, const ModelShape& shape,
          const HeadWeights& weights, DType dtype, const std::map<std::string, std::string>& metadata);

/// The canonical form itself: layer{l}.query [H,d_h,d], .key, .value [KV,d_h,d], .output [H,d_h,d] in F32,
/// and `embedding` when there is one.
void save_heads(const std::string& path, const ModelShape& shape, const HeadWeights& weights,
                const std::map<std::string, std::string>& metadata);

}  // namespace aloft
