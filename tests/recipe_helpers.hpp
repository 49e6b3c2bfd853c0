#pragma once
#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "pipeline/model/model.hpp"

// What the tests of the recipes share: the float weights as Eigen matrices, summed head by head.

namespace aloft {

using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// x [n, d] in double.
inline Rows as_rows(const std::vector<float>& x, std::int64_t d) {
  return Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(
             x.data(), static_cast<Eigen::Index>(x.size()) / d, d)
      .cast<double>();
}

/// Σ_h W_Q,hᵀ W_K,g(h) [d, d].
inline Rows attention_kernel(const LayerHeads& w, const ModelShape& s) {
  const Rows q = as_rows(w.query, s.d_model), k = as_rows(w.key, s.d_model);
  Rows m = Rows::Zero(s.d_model, s.d_model);
  for (std::int64_t h = 0; h < s.heads; ++h)
    m += q.middleRows(h * s.head_dim, s.head_dim).transpose() *
         k.middleRows(h / (s.heads / s.kv_heads) * s.head_dim, s.head_dim);
  return m;
}

}  // namespace aloft
