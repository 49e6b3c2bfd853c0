#include "pipeline/offset/layer_heads.hpp"

#include <algorithm>
#include <cmath>

namespace aloft::offset {
namespace {

// Bound on what undesigned heads add to a stream of scale 1, before attention averages it.
constexpr double kBackground2 = 1.5;
constexpr double kRecency = 4;       // profiles/training.md
constexpr double kCode = 0.5;        // induction: norm of the copied code of the token before
constexpr double kFoundLogit = 0.7;  // induction: what a token that a head finds gains, on average

/// What V has to be divided and O multiplied by for the two to have the same norm.
double balance_of(double value_norm, double output_norm) {
  return value_norm > 0 && output_norm > 0 ? std::sqrt(value_norm / output_norm) : 1;
}

}  // namespace

LayerHeads HeadDesigner::layer(std::int64_t layer) const {
  const OffsetLayout& layout = request_.layout;
  LayerHeads out = background(layer);
  if (request_.params.zero_outputs) std::fill(out.output.begin(), out.output.end(), 0.0F);
  lean(layer, out);
  for (std::int32_t lag = 0; lag < designed_lags(request_.part, layout); ++lag)
    if (at(layout.lag_layers, lag) == layer) carry(lag, out);
  if (layer == 0 && request_.arch.tied_head && request_.part != OffsetPart::unigram) erase(out);
  if (layer == 0 && layout.drives_log_p) drive_log_p(out);
  if (layer == layout.copy_layer) copy_code(out);
  if (layer == layout.match_layer) predict_found(out);
  return out;
}

/// Output projections are scaled down where a wide or deep model's usual init would add more to the residual
/// stream than kBackground2 in all: the head reads what is written there through 1/ε, and takes noise for
/// evidence.
LayerHeads HeadDesigner::background(std::int64_t layer) const {
  const ModelShape& shape = request_.shape;
  LayerHeads out = request_.background(layer);
  double added2 = 0;  // E‖Σ_h O_h V_h x‖² for independent O, V and x of length √d
  const std::int64_t block = shape.head_dim * shape.d_model;
  for (std::int64_t h = 0; h < shape.heads; ++h)
    added2 += squared_norm(out.output.data() + h * block, block) *
              squared_norm(out.value.data() + h / write_.per_group() * block, block) /
              static_cast<double>(shape.head_dim);
  const double allowed2 =
      kBackground2 * request_.stream_scale * request_.stream_scale / static_cast<double>(shape.layers);
  if (added2 > allowed2)
    for (float& x : out.output) x *= static_cast<float>(std::sqrt(allowed2 / added2));
  return out;
}

/// 1, 2, 4, ... over the groups of all layers in turn, within half the context.
std::int64_t HeadDesigner::prior_offset(std::int64_t layer, std::int64_t group) const {
  const ModelShape& shape = request_.shape;
  std::int64_t powers = 1;
  while ((std::int64_t{2} << powers) <= shape.context) ++powers;
  return std::min(shape.context - 1, std::int64_t{1} << ((layer * shape.kv_heads + group) % powers));
}

/// Undesigned heads lean towards an offset of their own, or towards what is near, where they know positions.
void HeadDesigner::lean(std::int64_t layer, LayerHeads& w) const {
  if (!rotates(request_.arch, layer)) return;
  const OffsetParams& params = request_.params;
  if (params.prior_sharpness > 0)
    for (std::int64_t g = 0; g < request_.shape.kv_heads; ++g)
      write_.look_back(g, prior_offset(layer, g), params.prior_sharpness, w);
  const double recency = params.recency.value_or(request_.part == OffsetPart::all ? kRecency : 0);
  if (recency > 0 && request_.shape.context > 1)
    for (std::int64_t g = 0; g < request_.shape.kv_heads; ++g) write_.look_near(layer, g, recency, w);
}

/// Heads that look `lag` tokens back carry S and write ε S G into the output coordinates, a share of S each.
void HeadDesigner::carry(std::int32_t lag, LayerHeads& w) const {
  const OffsetLayout& layout = request_.layout;
  const std::int64_t head_dim = request_.shape.head_dim;
  const double share = 1.0 / static_cast<double>(write_.per_group());
  const HostView<const double> cores(request_.factors.cores, layout.d_o);
  for (std::int64_t g = 0; g < layout.carrying; ++g) {
    const std::int64_t group = at(layout.lag_heads, lag) + g, first = g * head_dim;
    const std::int64_t count = std::clamp<std::int64_t>(layout.d_s - first, 0, head_dim);
    write_.clear(group, w);
    write_.look_back(group, lag, request_.params.sharpness, w);
    const HostView<const double> core = cores.block(lag * layout.d_s + first, 0, count, layout.d_o);
    const double value_norm = std::sqrt(static_cast<double>(count)) / budget_.gain;
    const double output_norm =
        budget_.epsilon * share *
        std::sqrt(squared_norm(core.row(0), count * layout.d_o) * static_cast<double>(write_.per_group()));
    const double balance = balance_of(value_norm, output_norm);
    for (std::int64_t r = 0; r < count; ++r)
      write_.write_row(
          group, r, first + r, 1 / budget_.gain / balance, layout.output, layout.d_o,
          [&](std::int64_t c) { return core(r, c) * budget_.epsilon * share * balance; }, w);
  }
}

/// Induction, first half: a head that looks one token back writes that token's code into the match
/// coordinates.
void HeadDesigner::copy_code(LayerHeads& w) const {
  const Matching& m = request_.matching;
  const std::int64_t group = request_.layout.copy_head;
  write_.clear(group, w);
  write_.look_back(group, 1, request_.params.sharpness, w);
  write_map(
      group, {m.code.data(), m.d_m, request_.layout.d_s}, budget_.gain, request_.layout.match, m.d_m,
      [](std::int64_t r, std::int64_t c) { return r == c ? kCode : 0.0; }, w);
}

/// Second half: a head that finds the places after the current token's earlier occurrences predicts what is
/// there.
void HeadDesigner::predict_found(LayerHeads& w) const {
  const Matching& m = request_.matching;
  const OffsetLayout& layout = request_.layout;
  const double rms = budget_.final_rms;  // close to that of the layers between
  const double gain = 1 / std::sqrt(rms * rms + kCode * kCode / static_cast<double>(request_.shape.d_model));
  write_.clear(layout.match_head, w);
  write_.match(layout.match_head, m, request_.params.sharpness, kCode, gain, w);
  const HostView<const double> output(m.output, layout.d_o);
  write_map(
      layout.match_head, {m.value.data(), m.rank, layout.d_s}, gain, layout.output, layout.d_o,
      [&](std::int64_t r, std::int64_t c) { return kFoundLogit * budget_.epsilon * output(r, c); }, w);
}

/// V = value [rows, d_s] of S as read through `gain`, O = output(r, c), c < width, at coordinate `to`; the
/// two share the norm evenly, and the group's heads what is written.
template <class Output>
void HeadDesigner::write_map(std::int64_t group, HostView<const double> value, double gain, std::int64_t to,
                             std::int64_t width, const Output& output, LayerHeads& w) const {
  const double share = 1.0 / static_cast<double>(write_.per_group());
  double output2 = 0;
  for (std::int64_t r = 0; r < value.rows(); ++r)
    for (std::int64_t c = 0; c < width; ++c) output2 += output(r, c) * output(r, c);
  const double balance = balance_of(std::sqrt(squared_norm(value.row(0), value.rows() * value.cols())) / gain,
                                    std::sqrt(output2 * share));
  const HostView<float> values = write_.rows(w.value);
  for (std::int64_t r = 0; r < value.rows(); ++r) {
    for (std::int64_t c = 0; c < value.cols(); ++c)
      values(write_.row(group, r), c) = static_cast<float>(value(r, c) / gain / balance);
    write_.write_outputs(
        group, r, to, width, [&](std::int64_t c) { return output(r, c) * share * balance; }, w);
  }
}

/// Heads of layer 0 that look at the token itself and subtract its own output coordinates, and its own log p
/// where that is driven anew.
void HeadDesigner::erase(LayerHeads& w) const {
  const OffsetLayout& layout = request_.layout;
  const std::int64_t head_dim = request_.shape.head_dim;
  const double share = 1.0 / static_cast<double>(write_.per_group());
  const double balance = std::sqrt(1 / budget_.gain / std::sqrt(share));
  const std::int64_t begin = layout.drives_log_p ? layout.log_p : layout.output,
                     end = layout.output + layout.d_o;
  for (std::int64_t g = 0; g < layout.erasing; ++g) {
    const std::int64_t group = layout.erasing_head + g, first = begin + g * head_dim;
    write_.clear(group, w);
    write_.look_back(group, 0, request_.params.sharpness, w);
    for (std::int64_t r = 0; r < std::min(head_dim, end - first); ++r)
      write_.write_row(
          group, r, first + r, 1 / budget_.gain / balance, first + r, 1,
          [&](std::int64_t) { return -share * balance; }, w);
  }
}

/// The last value row of heads that carry a lag in layer 0 holds the constant, and writes it where log p is
/// read.
void HeadDesigner::drive_log_p(LayerHeads& w) const {
  const OffsetLayout& layout = request_.layout;
  const std::int64_t group = layout.log_p_head, r = request_.shape.head_dim - 1;
  bool carries = false;
  for (std::int32_t lag = 0; lag < designed_lags(request_.part, layout); ++lag)
    carries |= at(layout.lag_layers, lag) == 0 && at(layout.lag_heads, lag) + layout.carrying - 1 == group;
  if (!carries) {  // nothing designed these heads: one that looks at the token itself
    write_.clear(group, w);
    write_.look_back(group, 0, request_.params.sharpness, w);
  }
  const double constant = request_.params.constant, balance = std::sqrt(1 / budget_.gain / constant);
  std::fill_n(write_.rows(w.value).row(write_.row(group, r)), request_.shape.d_model, 0.0F);
  write_.write_row(
      group, r, layout.constant, 1 / budget_.gain / balance, layout.log_p, 1,
      [&](std::int64_t) { return constant * balance / static_cast<double>(write_.per_group()); }, w);
}

}  // namespace aloft::offset
