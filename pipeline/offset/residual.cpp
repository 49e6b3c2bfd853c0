#include "pipeline/offset/residual.hpp"

#include <algorithm>
#include <cmath>

#include "pipeline/base/host_matrix.hpp"

namespace aloft::offset {
namespace {

constexpr double kPosition2 = 0.5;

double token_norm2(const OffsetParams& p, const Architecture& arch, const OffsetLayout& layout) {
  double out = 1 + (layout.constant >= 0 ? 1 : 0);
  if (arch.tied_head) out += p.own_norm * p.own_norm + p.bias_norm * p.bias_norm;
  return out;
}

/// Of the final residual, where each part of the stream adds its own.
double final_norm2(const OffsetRequest& r, const ResidualBudget& b) {
  const double written2 = designed_lags(r.part, r.layout) > 0 ? r.params.write_norm * r.params.write_norm : 0;
  double norm2 = b.token2 + b.position2 + written2 + r.undesigned2;
  if (r.arch
          .tied_head) {  // half the tokens' own parts, roughly, are shorter than the longest; all are erased
    norm2 -= r.undesigned2 + 0.5 * r.params.own_norm * r.params.own_norm;
    if (r.layout.drives_log_p) norm2 += r.params.constant * r.params.constant;
  }
  return norm2;
}

}  // namespace

double stream_norm2(const OffsetParams& p, const Architecture& arch, const OffsetLayout& layout) {
  return token_norm2(p, arch, layout) + (layout.position >= 0 ? kPosition2 : 0);
}

std::int32_t designed_lags(OffsetPart part, const OffsetLayout& layout) {
  if (part == OffsetPart::all) return layout.lags;
  return part == OffsetPart::lag_one || part == OffsetPart::induction ? 1 : 0;
}

const std::vector<double>& bias_of(const OffsetRequest& request) {
  return designed_lags(request.part, request.layout) > 0 ? request.factors.bias : request.factors.log_p;
}

ResidualBudget residual_budget(const OffsetRequest& r) {
  const LagFactors& f = r.factors;
  const auto width = static_cast<double>(r.shape.d_model);
  ResidualBudget b;
  b.token2 = token_norm2(r.params, r.arch, r.layout);
  if (r.layout.position >= 0) {
    b.position2 = kPosition2;
    b.amplitude = std::sqrt(b.position2 / static_cast<double>(r.layout.frequencies.size()));
  }
  b.gain = std::sqrt(width / (b.token2 + b.position2));
  b.epsilon = r.params.write_norm / std::max(f.written_norm, 1e-12);

  double largest2 = 0;
  const HostView<const double> target(f.target, f.d_o);
  for (std::int64_t j = 0; j < f.vocab; ++j)
    largest2 = std::max(largest2, squared_norm(target.row(j), f.d_o));
  b.tau = r.params.own_norm / std::sqrt(std::max(largest2, 1e-24));

  b.top_bias = 1e-12;
  for (const double x : bias_of(r)) b.top_bias = std::max(b.top_bias, std::abs(x));
  b.final_rms = std::sqrt(final_norm2(r, b) / width);
  return b;
}

}  // namespace aloft::offset
