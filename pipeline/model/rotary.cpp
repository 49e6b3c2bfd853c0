#include "pipeline/model/rotary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "host/error.hpp"

namespace aloft {
namespace {

double original_context(const RopeScaling& s, const ModelShape& shape) {
  return static_cast<double>(s.original_context > 0 ? s.original_context : shape.context);
}

/// Slow pairs are slowed further, fast ones left, those between interpolated.
void scale_llama3(const RopeScaling& s, const ModelShape& shape, std::vector<double>& theta) {
  const double context = original_context(s, shape);
  for (double& t : theta) {
    const double turns = context * t / (2 * std::numbers::pi);  // within the original context
    const double kept =
        s.high_freq_factor > s.low_freq_factor
            ? std::clamp((turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor), 0.0, 1.0)
            : (turns > s.low_freq_factor ? 1.0 : 0.0);
    t *= (1 - kept) / s.factor + kept;
  }
}

void scale_yarn(const RopeScaling& s, const ModelShape& shape, std::vector<double>& theta) {
  const auto dim = static_cast<double>(2 * theta.size());
  const auto pair_of = [&](double turns) {
    return dim * std::log(original_context(s, shape) / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(shape.rope_base));
  };
  double low = pair_of(s.beta_fast), high = pair_of(s.beta_slow);
  if (s.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  for (std::size_t i = 0; i < theta.size(); ++i) {
    const double slowed = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    theta[i] *= slowed / s.factor + 1 - slowed;
  }
}

double yarn_amplitude(const RopeScaling& s) {
  const auto sharpened = [&](double m) { return s.factor <= 1 ? 1.0 : 0.1 * m * std::log(s.factor) + 1; };
  const bool both = s.mscale.value_or(0) != 0 && s.mscale_all_dim.value_or(0) != 0;
  return both ? sharpened(*s.mscale) / sharpened(*s.mscale_all_dim) : sharpened(1);
}

void scale_longrope(const RopeScaling& s, const ModelShape& shape, std::vector<double>& theta) {
  const bool beyond = static_cast<double>(shape.context) > original_context(s, shape);
  const std::vector<double>& factors = beyond ? s.long_factor : s.short_factor;
  if (factors.size() != theta.size())
    throw UsageError(fmt::format("rope_scaling: {} has {} numbers, {} pairs of a head rotate",
                                 beyond ? "long_factor" : "short_factor", factors.size(), theta.size()));
  for (std::size_t i = 0; i < factors.size(); ++i) theta[i] /= factors[i];
}

}  // namespace

std::vector<double> rope_frequencies(std::int64_t rotary_dim, double base) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < rotary_dim / 2; ++i)
    out.push_back(std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim)));
  return out;
}

std::vector<double> rotary_frequencies(const Architecture& arch, const ModelShape& shape) {
  std::vector<double> out = rope_frequencies(rotary_dim(arch, shape), shape.rope_base);
  const RopeScaling& s = arch.rope_scaling;
  if (s.type == "linear")
    for (double& t : out) t /= s.factor;
  else if (s.type == "llama3")
    scale_llama3(s, shape, out);
  else if (s.type == "yarn")
    scale_yarn(s, shape, out);
  else if (s.type == "longrope")
    scale_longrope(s, shape, out);
  else if (s.type != "none" && s.type != "dynamic")
    throw UsageError(fmt::format(
        "RoPE scaling '{}' is not one of: linear, llama3, yarn, longrope, dynamic; no head can be "
        "designed for frequencies that are not known",
        s.type));
  return out;
}

double rotary_amplitude(const Architecture& arch, const ModelShape& shape) {
  const RopeScaling& s = arch.rope_scaling;
  if (arch.position != Architecture::Position::rope) return 1;
  if (s.type == "yarn") return s.attention_factor.value_or(yarn_amplitude(s));
  if (s.type != "longrope") return 1;
  return s.attention_factor.value_or(
      s.factor <= 1 ? 1 : std::sqrt(1 + std::log(s.factor) / std::log(original_context(s, shape))));
}

}  // namespace aloft
