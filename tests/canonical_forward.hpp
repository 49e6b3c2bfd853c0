#pragma once
#include <cmath>
#include <vector>

#include "pipeline/model/architecture.hpp"
#include "tests/recipe_helpers.hpp"

// A transformer's forward pass over the canonical form in double, written down from its description
// (LayerHeads): embedding, position table, attention with RoPE, final norm, head. MLPs are silent.

namespace aloft {

struct ForwardPass {
  Rows logits;                               ///< [length, vocab]
  Rows residual;                             ///< [length, d] before the final norm
  std::vector<Rows> inputs;                  ///< [layers] of [length, d]: the residual before each layer
  std::vector<std::vector<Rows>> attention;  ///< [layers][heads] of [query, key]
};

inline Rows normalised(const Rows& x, bool subtract_mean) {
  Rows out = x;
  for (Eigen::Index t = 0; t < x.rows(); ++t) {
    if (subtract_mean) out.row(t).array() -= x.row(t).mean();
    out.row(t) /= std::sqrt(out.row(t).squaredNorm() / static_cast<double>(x.cols()));
  }
  return out;
}

/// Rows i and i + r/2 of one head [length, head_dim] turned by position · θ_i.
inline void rotate(Rows& x, std::int64_t rotary, double base) {
  const std::int64_t half = rotary / 2;
  for (Eigen::Index t = 0; t < x.rows(); ++t)
    for (std::int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(t) *
                           std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(rotary)),
                   a = x(t, i), b = x(t, i + half);
      x(t, i) = a * std::cos(angle) - b * std::sin(angle);
      x(t, i + half) = b * std::cos(angle) + a * std::sin(angle);
    }
}

inline ForwardPass forward(const Architecture& arch, const ModelShape& s, const HeadWeights& w,
                           const std::vector<std::uint32_t>& ids, bool subtract_mean = false) {
  const auto length = static_cast<Eigen::Index>(ids.size());
  const Rows embedding = as_rows(w.embedding, s.d_model);
  Rows x(length, s.d_model);
  for (Eigen::Index t = 0; t < length; ++t) x.row(t) = embedding.row(ids[static_cast<std::size_t>(t)]);
  if (!w.position.empty()) x += as_rows(w.position, s.d_model).topRows(length);
  ForwardPass out;
  for (const LayerHeads& layer : w.layers) {
    out.inputs.push_back(x);
    const Rows h = normalised(x, subtract_mean), q = as_rows(layer.query, s.d_model),
               k = as_rows(layer.key, s.d_model), v = as_rows(layer.value, s.d_model),
               o = as_rows(layer.output, s.d_model);
    out.attention.emplace_back();
    for (std::int64_t head = 0; head < s.heads; ++head) {
      const std::int64_t at = head * s.head_dim, shared = head / (s.heads / s.kv_heads) * s.head_dim;
      Rows queries = h * q.middleRows(at, s.head_dim).transpose(),
           keys = h * k.middleRows(shared, s.head_dim).transpose();
      if (arch.position == Architecture::Position::rope) {
        rotate(queries, s.rotary_dim, s.rope_base);
        rotate(keys, s.rotary_dim, s.rope_base);
      }
      Rows p = queries * keys.transpose() / std::sqrt(static_cast<double>(s.head_dim));
      for (Eigen::Index t = 0; t < length; ++t) {
        p.row(t).tail(length - t - 1).setZero();
        auto seen = p.row(t).head(t + 1);
        seen = (seen.array() - seen.maxCoeff()).exp().matrix().eval();
        seen /= seen.sum();
      }
      x += p * (h * v.middleRows(shared, s.head_dim).transpose()) * o.middleRows(at, s.head_dim);
      out.attention.back().push_back(std::move(p));
    }
  }
  out.residual = x;
  Rows last = normalised(x, subtract_mean);
  if (!w.final_norm.empty()) last = last * as_rows(w.final_norm, s.d_model).row(0).asDiagonal();
  if (!w.final_norm_bias.empty()) last.rowwise() += as_rows(w.final_norm_bias, s.d_model).row(0);
  out.logits = last * (arch.tied_head ? embedding : as_rows(w.head, s.d_model)).transpose();
  return out;
}

}  // namespace aloft
