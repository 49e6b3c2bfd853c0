#include "pipeline/analysis/position_profile.hpp"

#include <algorithm>
#include <cmath>

#include "pipeline/analysis/corpus_views.hpp"
#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/model/rotary.hpp"

namespace aloft::analysis {
namespace {

using Position = Architecture::Position;

void softmax(double* x, std::int64_t n) {
  const double largest = *std::max_element(x, x + n);
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += x[i] = std::exp(x[i] - largest);
  for (std::int64_t i = 0; i < n; ++i) x[i] /= sum;
}

/// Rows of a group applied to every input, heads beside each other: [g][inputs, H·d_h], with the bias.
std::vector<double> applied(Context& ctx, const Matrix& rows, const Matrix& inputs,
                            const std::vector<LayerBias>& bias, std::vector<float> LayerBias::*part,
                            const std::vector<std::int64_t>& bias_row) {
  Matrix out(ctx.device(), inputs.rows, rows.rows, rows.batch);
  ctx.linear().gemm(1, Op::none, inputs.cview(), Op::transpose, rows.cview(), 0, out.view());
  std::vector<double> host = to_host(out);
  for (std::int64_t g = 0; g < rows.batch && !bias.empty(); ++g) {
    const std::vector<float>& b = at(bias, g).*part;
    if (b.empty()) continue;
    for (std::int64_t t = 0; t < inputs.rows; ++t)
      for (std::int64_t r = 0; r < rows.rows; ++r)
        at(host, (g * inputs.rows + t) * rows.rows + r) += static_cast<double>(at(b, at(bias_row, r)));
  }
  return host;
}

/// Scores of one head at every distance, from its query and key of the average token.
void rope_scores(const PositionSetup& setup, const ModelShape& s, const double* q, const double* k,
                 bool rotates, double scale, double* out) {
  const auto half = rotates ? std::ssize(setup.cosine) / setup.distances : 0;
  double still = 0;
  for (std::int64_t r = 2 * half; r < s.head_dim; ++r) still += q[r] * k[r];
  for (std::int64_t delta = 0; delta < setup.distances; ++delta) {
    double score = still;
    const double *const cosine = setup.cosine.data() + delta * half, *const sine =
                                                                         setup.sine.data() + delta * half;
    for (std::int64_t i = 0; i < half; ++i) {
      const double qa = q[i], qb = q[i + half], ka = k[i], kb = k[i + half];
      score += cosine[i] * (qa * ka + qb * kb) + sine[i] * (qa * kb - qb * ka);
    }
    out[delta] = scale * score;
  }
}

/// Mean mass by distance of queries in the second half of the window.
void learned_profile(const ModelShape& s, std::int64_t c, const double* q, const double* k, double scale,
                     double* out) {
  const std::int64_t ld = s.heads * s.head_dim;
  std::fill_n(out, c, 0.0);
  std::vector<double> row(static_cast<std::size_t>(c));
  const std::int64_t first = c / 2;
  for (std::int64_t t = first; t < c; ++t) {
    for (std::int64_t from = 0; from <= t; ++from) {
      double dot = 0;
      for (std::int64_t r = 0; r < s.head_dim; ++r) dot += q[t * ld + r] * k[from * ld + r];
      at(row, from) = scale * dot;
    }
    softmax(row.data(), t + 1);
    for (std::int64_t from = 0; from <= t; ++from)
      out[t - from] += at(row, from) / static_cast<double>(c - first);
  }
}

}  // namespace

std::optional<PositionSetup> position_setup(const Architecture& arch, const ModelShape& shape,
                                            const std::vector<double>& rows, const std::vector<double>& p,
                                            const std::vector<float>& positions) {
  const std::int64_t d = shape.d_model;
  PositionSetup out{arch.position, std::min(shape.context, kLongestProfile), {}, {}, {}};
  std::vector<double> mean = host_vector(d);
  const bool learned = arch.position == Position::learned;
  if (arch.position != Position::rope && !learned) return std::nullopt;
  if (learned && static_cast<std::int64_t>(positions.size()) < out.distances * d) return std::nullopt;
  const std::vector<double> inputs = learned ? rows : unit_rms_rows(rows, d);
  const HostView all(inputs, d);
  for (std::int64_t i = 0; i < all.rows(); ++i)
    for (std::int64_t j = 0; j < d; ++j) at(mean, j) += at(p, i) * all(i, j);
  if (!learned) {
    const auto frequencies = rotary_frequencies(arch, shape);
    for (std::int64_t delta = 0; delta < out.distances; ++delta)
      for (const double frequency : frequencies) {
        out.cosine.push_back(std::cos(static_cast<double>(delta) * frequency));
        out.sine.push_back(std::sin(static_cast<double>(delta) * frequency));
      }
    out.inputs = std::move(mean);
    return out;
  }
  for (std::int64_t t = 0; t < out.distances; ++t)
    for (std::int64_t j = 0; j < d; ++j)
      out.inputs.push_back(at(mean, j) + static_cast<double>(at(positions, t * d + j)));
  out.inputs = unit_rms_rows(out.inputs, d);
  return out;
}

HeadInputs head_inputs(Context& ctx, const PositionSetup& setup, const ModelShape& s, const LayerGroup& group,
                       const std::vector<bool>& rotating, const std::vector<LayerBias>& bias) {
  HeadInputs out;
  out.layers = group.layers();
  out.rows = static_cast<std::int64_t>(setup.inputs.size()) / s.d_model;
  out.rotating = rotating;
  std::vector<std::int64_t> own, of_group;
  for (std::int64_t h = 0; h < s.heads; ++h)
    for (std::int64_t r = 0; r < s.head_dim; ++r) {
      own.push_back(h * s.head_dim + r);
      of_group.push_back(h / (s.heads / s.kv_heads) * s.head_dim + r);
    }
  const Matrix inputs = matrix_from(ctx.device(), setup.inputs, out.rows, s.d_model);
  out.query = applied(ctx, group.query, inputs, bias, &LayerBias::query, own);
  out.key = applied(ctx, expanded(ctx, s, group.key), inputs, bias, &LayerBias::key, of_group);
  return out;
}

std::vector<double> position_profile(const PositionSetup& setup, const ModelShape& s, const HeadInputs& in,
                                     std::int64_t layer, std::int64_t head, double scale) {
  const std::int64_t c = setup.distances, width = s.heads * s.head_dim, at_head = head * s.head_dim;
  const double *const q = in.query.data() + layer * in.rows * width + at_head, *const k =
                                                                                   in.key.data() +
                                                                                   layer * in.rows * width +
                                                                                   at_head;
  const double unit = scale / std::sqrt(static_cast<double>(s.head_dim));
  std::vector<double> out = host_vector(c);
  if (setup.kind == Position::learned) {
    learned_profile(s, c, q, k, unit, out.data());
  } else {
    rope_scores(setup, s, q, k, in.rotating[static_cast<std::size_t>(layer)], unit, out.data());
    softmax(out.data(), c);
  }
  return out;
}

}  // namespace aloft::analysis
