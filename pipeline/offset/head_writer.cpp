#include "pipeline/offset/head_writer.hpp"

#include <algorithm>
#include <cmath>

namespace aloft::offset {
namespace {

constexpr std::int64_t kReach = 16;   // the longest reach of a preference for what is near, in the context
constexpr double kLeastMargin = 0.1;  // of such a preference: bounds its weights where positions hardly turn

}  // namespace

void HeadWriter::clear(std::int64_t group, LayerHeads& w) const {
  const std::int64_t block = shape_.head_dim * shape_.d_model, queries = per_group() * block;
  std::fill_n(w.key.begin() + group * block, block, 0.0F);
  std::fill_n(w.value.begin() + group * block, block, 0.0F);
  std::fill_n(w.query.begin() + group * queries, queries, 0.0F);
  std::fill_n(w.output.begin() + group * queries, queries, 0.0F);
}

/// Keys hold the constant; queries hold it turned by the angle, as RoPE would have turned it over `offset`.
void HeadWriter::turn_rotary_pair(std::int64_t group, std::int64_t pair, double root, double angle,
                                  LayerHeads& w) const {
  const std::int64_t second = shape_.rotary_dim / 2;  // from a pair's first row to its other one
  const double one = root / gain_;
  rows(w.key)(row(group, pair), layout_.constant) += static_cast<float>(one);
  for (std::int64_t h = group * per_group(); h < (group + 1) * per_group(); ++h) {
    rows(w.query)(row(h, pair), layout_.constant) += static_cast<float>(one * std::cos(angle));
    rows(w.query)(row(h, pair + second), layout_.constant) += static_cast<float>(-one * std::sin(angle));
  }
}

/// Keys read a position's cos tθ and sin tθ; queries read them turned by the angle.
void HeadWriter::turn_table_pair(std::int64_t group, std::int64_t pair, double root, double angle,
                                 LayerHeads& w) const {
  const double one = root / (gain_ * amplitude_), c = std::cos(angle), s = std::sin(angle);
  const std::int64_t even = layout_.position + 2 * pair, odd = even + 1;
  const HostView<float> key = rows(w.key), query = rows(w.query);
  key(row(group, 2 * pair), even) += static_cast<float>(one);
  key(row(group, 2 * pair + 1), odd) += static_cast<float>(one);
  for (std::int64_t h = group * per_group(); h < (group + 1) * per_group(); ++h) {
    query(row(h, 2 * pair), even) += static_cast<float>(one * c);
    query(row(h, 2 * pair), odd) += static_cast<float>(one * s);
    query(row(h, 2 * pair + 1), even) += static_cast<float>(-one * s);
    query(row(h, 2 * pair + 1), odd) += static_cast<float>(one * c);
  }
}

void HeadWriter::look(std::int64_t group, std::int64_t offset, const OffsetPattern& pattern, double sharpness,
                      LayerHeads& w) const {
  const double scale = std::sqrt(sharpness * std::sqrt(static_cast<double>(shape_.head_dim)));
  const auto pairs = static_cast<std::int64_t>(layout_.frequencies.size());
  for (std::int64_t pair = 0; pair < pairs; ++pair) {
    const double root = std::sqrt(at(pattern.weights, pair)) * scale,
                 angle = static_cast<double>(offset) * at(layout_.frequencies, pair);
    if (layout_.position < 0)
      turn_rotary_pair(group, pair, root, angle, w);
    else
      turn_table_pair(group, pair, root, angle, w);
  }
}

void HeadWriter::look_back(std::int64_t group, std::int64_t offset, double sharpness, LayerHeads& w) const {
  look(group, offset, offset_pattern(layout_.frequencies, offset, shape_.context), sharpness, w);
}

void HeadWriter::look_near(std::int64_t layer, std::int64_t group, double recency, LayerHeads& w) const {
  std::int64_t reaches = 1;
  while ((kReach << reaches) <= shape_.context) ++reaches;
  const double range = std::exp2(static_cast<double>((layer + group) % reaches));
  const double depth =
      shape_.layers > 1 ? static_cast<double>(layer) / static_cast<double>(shape_.layers - 1) : 0.5;
  const OffsetPattern pattern = recency_pattern(layout_.frequencies, range, shape_.context);
  look(group, 0, pattern, recency * (4 - 2 * depth) / 3 / std::max(pattern.margin, kLeastMargin), w);
}

void HeadWriter::match(std::int64_t group, const Matching& m, double sharpness, double size, double gain,
                       LayerHeads& w) const {
  const double root = std::sqrt(sharpness * std::sqrt(static_cast<double>(shape_.head_dim))) / gain;
  const HostView<const double> code(m.code, layout_.d_s);
  const HostView<float> key = rows(w.key), query = rows(w.query);
  for (std::int64_t i = 0; i < m.d_m; ++i) {
    const std::int64_t r = at(layout_.still_rows, i);
    key(row(group, r), layout_.match + i) += static_cast<float>(root / size);
    for (std::int64_t h = group * per_group(); h < (group + 1) * per_group(); ++h)
      for (std::int64_t c = 0; c < layout_.d_s; ++c)
        query(row(h, r), c) += static_cast<float>(root * code(i, c));
  }
}

}  // namespace aloft::offset
