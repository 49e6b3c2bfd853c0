#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "host/safetensors.hpp"
#include "pipeline/model/emit.hpp"
#include "tests/emit_helpers.hpp"

// The attention of a model that pairs, turns and scales in its own way, run on the emitted rows, against the
// canonical formula.

namespace {

using namespace aloft;

using Complex = std::complex<double>;

/// Score of head `h` between x at position t and y at position u, from the emitted q_proj and k_proj, as a
/// model with these conventions computes it.
double model_score(const SafetensorsReader& file, const Architecture& a, const ModelShape& s, std::int64_t h,
                   const std::vector<double>& x, double t, const std::vector<double>& y, double u) {
  const auto project = [&](const char* name, std::int64_t head, const std::vector<double>& in) {
    const auto w = file.read_real(name, {-1, s.d_model});
    std::vector<double> out(static_cast<std::size_t>(s.head_dim));
    for (std::size_t r = 0; r < out.size(); ++r)
      for (std::size_t c = 0; c < in.size(); ++c)
        out[r] += w[(static_cast<std::size_t>(head * s.head_dim) + r) * in.size() + c] * in[c];
    return out;
  };
  const auto rotary =
      static_cast<std::size_t>(std::floor(static_cast<double>(s.head_dim) * a.rotary_fraction));
  const auto turn = [&](std::vector<double> v, double position) {
    for (std::size_t i = 0; i < rotary / 2; ++i) {
      const bool interleaved = a.pairing == Architecture::Pairing::interleaved;
      const std::size_t first = interleaved ? 2 * i : i, second = interleaved ? 2 * i + 1 : i + rotary / 2;
      const double theta = std::pow(a.rope_base, -2.0 * static_cast<double>(i) / static_cast<double>(rotary));
      const Complex z = Complex(v[first], v[second]) * std::polar(a.rope_scaling.attention_factor.value_or(1),
                                                                  a.rope_sign * position * theta);
      v[first] = z.real();
      v[second] = z.imag();
    }
    return v;
  };
  const auto q = turn(project("model.layers.0.self_attn.q_proj.weight", h, x), t);
  const auto k = turn(project("model.layers.0.self_attn.k_proj.weight", h / (s.heads / s.kv_heads), y), u);
  double dot = 0;
  for (std::size_t r = 0; r < q.size(); ++r) dot += q[r] * k[r];
  return dot * a.score_scale.value_or(1 / std::sqrt(static_cast<double>(s.head_dim)));
}

/// The same from the canonical form: pairs (i, i + R/2), turning by +θ, scores over √head_dim.
double canonical_score(const LayerHeads& layer, const Architecture& a, const ModelShape& s, std::int64_t h,
                       const std::vector<double>& x, double t, const std::vector<double>& y, double u) {
  const auto d = static_cast<std::size_t>(s.d_model), dh = static_cast<std::size_t>(s.head_dim);
  const auto rotary =
      static_cast<std::size_t>(std::floor(static_cast<double>(s.head_dim) * a.rotary_fraction));
  const auto g = static_cast<std::size_t>(h / (s.heads / s.kv_heads));
  const auto row = [&](const std::vector<float>& w, std::size_t head, std::size_t r,
                       const std::vector<double>& in) {
    double sum = 0;
    for (std::size_t c = 0; c < d; ++c) sum += static_cast<double>(w[(head * dh + r) * d + c]) * in[c];
    return sum;
  };
  double score = 0;
  for (std::size_t i = 0; i < rotary / 2; ++i) {
    const double theta = std::pow(a.rope_base, -2.0 * static_cast<double>(i) / static_cast<double>(rotary));
    const Complex q(row(layer.query, static_cast<std::size_t>(h), i, x),
                    row(layer.query, static_cast<std::size_t>(h), i + rotary / 2, x));
    const Complex k(row(layer.key, g, i, y), row(layer.key, g, i + rotary / 2, y));
    score += (std::conj(q) * k * std::polar(1.0, (u - t) * theta)).real();
  }
  for (std::size_t r = rotary; r < dh; ++r)
    score += row(layer.query, static_cast<std::size_t>(h), r, x) * row(layer.key, g, r, y);
  return score / std::sqrt(static_cast<double>(dh));
}

TEST_F(Emit, ModelsThatPairTurnAndScaleInTheirOwnWayComputeTheCanonicalScore) {
  const ModelShape s{1, 4, 2, 8, 24, 64, 11, 10000};
  const HeadWeights w = random_heads(s, false);
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  int compared = 0;
  for (const auto pairing : {Architecture::Pairing::half, Architecture::Pairing::interleaved})
    for (const int sign : {1, -1})
      for (const double fraction : {1.0, 0.5})
        for (const std::optional<double> scale :
             {std::optional<double>(), std::optional<double>(1.0), std::optional<double>(0.07)}) {
          Architecture a = architecture("llama");
          if (scale == 1.0) {  // enlarges what it turns, and turns it as far as without (a factor of 1)
            a.rope_scaling.type = "yarn";
            a.rope_scaling.attention_factor = 1.2;
          }
          a.pairing = pairing;
          a.rope_sign = sign;
          a.rotary_fraction = fraction;
          a.score_scale = scale;
          emit(path_, a, s, w, DType::f32, {});
          const SafetensorsReader file(path_);
          Architecture other = a;  // a model of the other sign must not agree
          other.rope_sign = -sign;
          double worst_other = 0;
          for (std::int64_t h = 0; h < s.heads; ++h)
            for (int trial = 0; trial < 4; ++trial) {
              std::vector<double> x(24), y(24);
              for (double& v : x) v = normal(random);
              for (double& v : y) v = normal(random);
              const double t = static_cast<double>(random() % 64),
                           u = t - 1 - static_cast<double>(random() % 20);
              const double expected = canonical_score(w.layers[0], a, s, h, x, t, y, u);
              ASSERT_NEAR(model_score(file, a, s, h, x, t, y, u), expected, 1e-5 * (1 + std::abs(expected)));
              worst_other =
                  std::max(worst_other, std::abs(model_score(file, other, s, h, x, t, y, u) - expected));
              ++compared;
            }
          EXPECT_GT(worst_other, 1.0);
        }
  EXPECT_EQ(compared, 2 * 2 * 2 * 3 * 4 * 4);
}

// ---- the file as a whole
// ----------------------------------------------------------------------------------------

}  // namespace
