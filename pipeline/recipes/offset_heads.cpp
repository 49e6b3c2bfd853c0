#include "pipeline/recipes/offset_heads.hpp"

#include <algorithm>
#include <cmath>

namespace aloft::recipes {
namespace {

constexpr std::int64_t kReach = 16;   // the longest reach of a preference for what is near, in the context
constexpr double kLeastMargin = 0.1;  // of such a preference: bounds its weights where positions hardly turn

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

}  // namespace

void HeadWriter::clear(std::int64_t group, LayerHeads& w) const {
  const std::int64_t block = s_.head_dim * s_.d_model, queries = per_group() * block;
  std::fill_n(w.key.begin() + group * block, block, 0.0F);
  std::fill_n(w.value.begin() + group * block, block, 0.0F);
  std::fill_n(w.query.begin() + group * queries, queries, 0.0F);
  std::fill_n(w.output.begin() + group * queries, queries, 0.0F);
}

void HeadWriter::look(std::int64_t group, std::int64_t offset, const OffsetPattern& pattern, double sharpness,
                      LayerHeads& w) const {
  const double scale = std::sqrt(sharpness * std::sqrt(static_cast<double>(s_.head_dim)));
  const auto pairs = static_cast<std::int64_t>(at_.frequencies.size());
  const std::int64_t second = s_.rotary_dim / 2;  // from a pair's first row to its other one
  for (std::int64_t i = 0; i < pairs; ++i) {
    const double root = std::sqrt(pattern.weights[size(i)]) * scale,
                 angle = static_cast<double>(offset) * at_.frequencies[size(i)], c = std::cos(angle),
                 s = std::sin(angle);
    if (at_.position < 0) {
      const double one = root / gain_;
      w.key[size(row(group, i) + at_.constant)] += static_cast<float>(one);
      for (std::int64_t h = group * per_group(); h < (group + 1) * per_group(); ++h) {
        w.query[size(row(h, i) + at_.constant)] += static_cast<float>(one * c);
        w.query[size(row(h, i + second) + at_.constant)] += static_cast<float>(-one * s);
      }
    } else {
      const double one = root / (gain_ * amplitude_);
      const std::int64_t even = at_.position + 2 * i, odd = even + 1;  // coordinates cos tθ, sin tθ
      w.key[size(row(group, 2 * i) + even)] += static_cast<float>(one);
      w.key[size(row(group, 2 * i + 1) + odd)] += static_cast<float>(one);
      for (std::int64_t h = group * per_group(); h < (group + 1) * per_group(); ++h) {
        w.query[size(row(h, 2 * i) + even)] += static_cast<float>(one * c);
        w.query[size(row(h, 2 * i) + odd)] += static_cast<float>(one * s);
        w.query[size(row(h, 2 * i + 1) + even)] += static_cast<float>(-one * s);
        w.query[size(row(h, 2 * i + 1) + odd)] += static_cast<float>(one * c);
      }
    }
  }
}

void HeadWriter::look_back(std::int64_t group, std::int64_t offset, double sharpness, LayerHeads& w) const {
  look(group, offset, offset_pattern(at_.frequencies, offset, s_.context), sharpness, w);
}

void HeadWriter::look_near(std::int64_t layer, std::int64_t group, double recency, LayerHeads& w) const {
  std::int64_t reaches = 1;
  while ((kReach << reaches) <= s_.context) ++reaches;
  const double range = std::exp2(static_cast<double>((layer + group) % reaches));
  const double depth = s_.layers > 1 ? static_cast<double>(layer) / static_cast<double>(s_.layers - 1) : 0.5;
  const OffsetPattern pattern = recency_pattern(at_.frequencies, range, s_.context);
  look(group, 0, pattern, recency * (4 - 2 * depth) / 3 / std::max(pattern.margin, kLeastMargin), w);
}

void HeadWriter::match(std::int64_t group, const Matching& m, double sharpness, double size_of_code,
                       double gain, LayerHeads& w) const {
  const double root = std::sqrt(sharpness * std::sqrt(static_cast<double>(s_.head_dim))) / gain;
  for (std::int64_t i = 0; i < m.d_m; ++i) {
    const std::int64_t r = at_.still_rows[size(i)];
    w.key[size(row(group, r) + at_.match + i)] += static_cast<float>(root / size_of_code);
    for (std::int64_t h = group * per_group(); h < (group + 1) * per_group(); ++h)
      for (std::int64_t c = 0; c < at_.d_s; ++c)
        w.query[size(row(h, r) + c)] += static_cast<float>(root * m.code[size(i * at_.d_s + c)]);
  }
}

}  // namespace aloft::recipes
