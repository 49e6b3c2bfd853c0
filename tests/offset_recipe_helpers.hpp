#pragma once
#include <gtest/gtest.h>

#include <string>

#include "pipeline/offset/offset.hpp"
#include "pipeline/offset/position_offsets.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "tests/canonical_forward.hpp"
#include "tests/emit_helpers.hpp"
#include "tests/offset_helpers.hpp"

// What the tests of the offset recipe share: models that host it, and everything that was designed for one.

namespace aloft {

constexpr std::int64_t kOffsetVocab = 150;

struct Host {
  std::string name;
  Architecture arch;
  ModelShape shape;
};

inline Host host_model(const std::string& name, std::int64_t layers, std::int64_t heads, std::int64_t kv,
                       std::int64_t head_dim, std::int64_t vocab = kOffsetVocab) {
  Host out{name, architecture(name), {}};
  out.shape = {layers, heads, kv, head_dim, heads * head_dim, 32, vocab, out.arch.rope_base};
  out.shape.rotary_dim = rotary_dim(out.arch, out.shape);
  return out;
}

inline recipes::LayerFunction background_of(Background background) {
  return background == Background::zero         ? recipes::design_zero_proj
         : background == Background::orthogonal ? recipes::design_orthogonal
         : background == Background::mimetic    ? recipes::design_mimetic
         : background == Background::invariants ? recipes::design_invariants
                                                : recipes::design_random;
}

struct Designed {
  OffsetLayout at;
  LagFactors f;
  HeadWeights w;
  std::vector<LayerComposition> figures;
  double gain = 0;     ///< what the first norm multiplies by: √d over the norm of its input
  double written = 0;  ///< ε: what designed heads write is ε Σ S G
};

class OffsetRecipe : public testing::Test {
 protected:
  Backend backend = make_backend("cpu");
  NoProgress progress;
  Context ctx{backend, progress};
  ComposeParams params;
  std::vector<TokenId> ids = stages::dependent_text(6000, kOffsetVocab, 21);
  Counts counts = stages::counted(ctx, ids, kOffsetVocab, 4);

  OffsetRecipe() { params.seed = 3; }

  Designed design(const Host& m, const OffsetParams& p = {}, OffsetPart part = OffsetPart::all,
                  Estimator estimator = Estimator::tucker, double stream_scale = 1) {
    Designed out;
    out.at = plan_offset(m.arch, m.shape, p, 4, kOffsetVocab);
    FactorParams factors;
    factors.estimator = estimator;
    factors.lags = out.at.lags;
    factors.d_s = out.at.d_s;
    factors.d_o = out.at.d_o;
    out.f = fit_lag_factors(ctx, counts, factors);
    Matching matching;
    if (out.at.match >= 0) matching = fit_matching(ctx, out.f, out.at.match_dims, m.shape.head_dim);
    const recipes::RecipeInput input{params, m.shape};
    const auto background = [&](std::int64_t layer) {
      return background_of(p.background)(ctx, input, layer).heads;
    };
    Composition c = design_offset(ctx, {part, p, params, m.arch, m.shape, out.at, out.f, matching,
                                        stream_scale, p.zero_outputs ? 0 : kRandomPart2, background});
    out.w = std::move(c.weights);
    out.figures = std::move(c.layers);
    const Rows e = as_rows(out.w.embedding, m.shape.d_model);
    double norm2 = e.row(0).squaredNorm();
    if (!out.w.position.empty()) norm2 += as_rows(out.w.position, m.shape.d_model).row(0).squaredNorm();
    out.gain = std::sqrt(static_cast<double>(m.shape.d_model) / norm2);
    out.written = p.write_norm / out.f.written_norm;
    return out;
  }
  /// A stretch of the text as long as the context.
  [[nodiscard]] std::vector<std::uint32_t> sample(const ModelShape& s, std::size_t from = 100) const {
    return {ids.begin() + static_cast<std::ptrdiff_t>(from),
            ids.begin() + static_cast<std::ptrdiff_t>(from) + s.context};
  }
  /// Σ_h W_O,hᵀ W_V,g(h) over the heads of some key-value groups.
  static Rows output_value(const LayerHeads& w, const ModelShape& s, std::int64_t first,
                           std::int64_t groups) {
    const Rows v = as_rows(w.value, s.d_model), o = as_rows(w.output, s.d_model);
    Rows out = Rows::Zero(s.d_model, s.d_model);
    const std::int64_t per = s.heads / s.kv_heads;
    for (std::int64_t h = first * per; h < (first + groups) * per; ++h)
      out += o.middleRows(h * s.head_dim, s.head_dim).transpose() *
             v.middleRows(h / per * s.head_dim, s.head_dim);
    return out;
  }
  /// G_n [d_s, d_o].
  static Rows core(const LagFactors& f, std::int64_t n) {
    return Eigen::Map<const Rows>(f.cores.data() + n * f.d_s * f.d_o, f.d_s, f.d_o);
  }
  /// What the heads of lag n add to the output coordinates is this times S G_n, S as the norm lets them see
  /// it.
  static double carried(const Designed& d, const ModelShape& s, std::int64_t n) {
    const auto at = static_cast<std::size_t>(n);
    const Rows moved = output_value(d.w.layers[static_cast<std::size_t>(d.at.lag_layers[at])], s,
                                    d.at.lag_heads[at], d.at.carrying);
    return moved.block(d.at.output, 0, d.at.d_o, d.at.d_s).norm() / core(d.f, n).norm();
  }
  /// The same evidence where each layer sees S through the norm of a residual that has grown: what sharp
  /// heads write, read by U.
  static Rows evidence_through(const Designed& d, const ModelShape& shape, const std::vector<Rows>& inputs,
                               const std::vector<std::uint32_t>& text, std::int64_t lags) {
    const Rows s = Eigen::Map<const Rows>(d.f.source.data(), d.f.vocab, d.f.d_s),
               u = Eigen::Map<const Rows>(d.f.target.data(), d.f.vocab, d.f.d_o);
    Rows out = Rows::Zero(static_cast<Eigen::Index>(text.size()), d.f.vocab);
    for (std::int64_t n = 0; n < lags; ++n) {
      const Rows& x = inputs[static_cast<std::size_t>(d.at.lag_layers[static_cast<std::size_t>(n)])];
      const double scale = carried(d, shape, n) / d.written * std::sqrt(static_cast<double>(shape.d_model));
      for (auto t = lags - 1; t < static_cast<std::int64_t>(text.size()); ++t)
        out.row(t) += scale / x.row(t - n).norm() * s.row(text[static_cast<std::size_t>(t - n)]) *
                      core(d.f, n) * u.transpose();
    }
    return out;
  }
  /// The additive model's evidence Σ_n S[id n places back] G_n Uᵀ at every position from lags − 1 on, without
  /// bias: [length, vocab]; zero before.
  static Rows evidence(const Designed& d, const std::vector<std::uint32_t>& text, std::int64_t lags) {
    const Rows s = Eigen::Map<const Rows>(d.f.source.data(), d.f.vocab, d.f.d_s),
               u = Eigen::Map<const Rows>(d.f.target.data(), d.f.vocab, d.f.d_o);
    Rows out = Rows::Zero(static_cast<Eigen::Index>(text.size()), d.f.vocab);
    for (auto t = static_cast<std::size_t>(lags - 1); t < text.size(); ++t)
      for (std::int64_t n = 0; n < lags; ++n)
        out.row(static_cast<Eigen::Index>(t)) +=
            s.row(text[t - static_cast<std::size_t>(n)]) * core(d.f, n) * u.transpose();
    return out;
  }
};

}  // namespace aloft
