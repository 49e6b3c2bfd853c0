#include "pipeline/offset/tables.hpp"

#include <algorithm>
#include <cmath>

#include "pipeline/base/host_matrix.hpp"

namespace aloft::offset {
namespace {

/// unigram: the usual random numbers in place of S (and of U where tied), at unit length.
void write_random_row(const OffsetRequest& r, const double* usual, double* row) {
  const std::int64_t d_s = r.layout.d_s;
  const double scale = 1 / (embedding_std(r.usual) * std::sqrt(static_cast<double>(d_s)));
  const double most = 1 / std::sqrt(std::max(squared_norm(usual, d_s), 1e-24));
  for (std::int64_t c = 0; c < d_s; ++c) row[c] = usual[c] * std::min(scale, most);
}

/// Random numbers [shape.vocab, d] of the usual init, for unigram.
std::vector<double> usual_table(Context& ctx, const OffsetRequest& r, Part part) {
  const double std = part == Part::head ? head_std(r.usual) : embedding_std(r.usual);
  return normal(ctx, r.shape.vocab, r.shape.d_model, r.usual.seed, stream_of(part, 0), std);
}

/// Ids that the corpus lacks are as unlikely as its rarest.
double bias_of_token(const std::vector<double>& bias, double lowest, std::int64_t id) {
  return id < static_cast<std::int64_t>(bias.size()) ? at(bias, id) : lowest;
}

}  // namespace

std::vector<float> embedding_table(Context& ctx, const OffsetRequest& r, const ResidualBudget& budget) {
  const OffsetLayout& layout = r.layout;
  const LagFactors& f = r.factors;
  const bool unigram = r.part == OffsetPart::unigram;
  const std::int64_t d = r.shape.d_model;
  const std::vector<double> usual = unigram ? usual_table(ctx, r, Part::embedding) : std::vector<double>{};
  const std::vector<double>& bias = bias_of(r);
  const double lowest = *std::min_element(bias.begin(), bias.end());
  const HostView<const double> source(f.source, layout.d_s), target(f.target, layout.d_o);
  std::vector<double> out(static_cast<std::size_t>(r.shape.vocab * d));
  const HostView<double> rows(out, d);
  for (std::int64_t id = 0; id < r.shape.vocab; ++id) {
    double* row = rows.row(id);
    const bool known = id < f.vocab;
    if (unigram)
      write_random_row(r, &at(usual, id * d), row);
    else if (known)
      std::copy_n(source.row(id), layout.d_s, row);
    if (layout.constant >= 0) row[layout.constant] = 1;
    if (r.arch.tied_head) {
      row[layout.log_p] = bias_of_token(bias, lowest, id) / budget.top_bias * r.params.bias_norm;
      if (known && !unigram)
        for (std::int64_t c = 0; c < layout.d_o; ++c) row[layout.output + c] = target(id, c) * budget.tau;
    }
    row[layout.padding] = std::sqrt(std::max(0.0, budget.token2 - squared_norm(row, d)));
    for (std::int64_t c = 0; c < d; ++c) row[c] *= r.stream_scale;
  }
  return to_f32(out);
}

std::vector<float> head_table(Context& ctx, const OffsetRequest& r, const ResidualBudget& budget) {
  const OffsetLayout& layout = r.layout;
  const bool unigram = r.part == OffsetPart::unigram;
  const std::int64_t d = r.shape.d_model;
  const std::vector<double>& bias = bias_of(r);
  const double lowest = *std::min_element(bias.begin(), bias.end());
  const HostView<const double> target(r.factors.target, layout.d_o);
  std::vector<double> out = unigram ? usual_table(ctx, r, Part::head) : std::vector<double>{};
  out.resize(static_cast<std::size_t>(r.shape.vocab * d));
  const HostView<double> rows(out, d);
  for (std::int64_t id = 0; id < r.shape.vocab; ++id) {
    rows(id, layout.constant) = bias_of_token(bias, lowest, id) * budget.final_rms;
    if (unigram || id >= r.factors.vocab) continue;
    for (std::int64_t c = 0; c < layout.d_o; ++c)
      rows(id, layout.output + c) = target(id, c) * budget.final_rms / budget.epsilon;
  }
  return to_f32(out);
}

std::vector<float> position_table(const OffsetRequest& r, const ResidualBudget& budget) {
  std::vector<float> out(static_cast<std::size_t>(r.shape.context * r.shape.d_model));
  const HostView<float> rows(out, r.shape.d_model);
  const auto pairs = static_cast<std::int64_t>(r.layout.frequencies.size());
  const double amplitude = budget.amplitude * r.stream_scale;
  for (std::int64_t t = 0; t < r.shape.context; ++t)
    for (std::int64_t i = 0; i < pairs; ++i) {
      const double angle = static_cast<double>(t) * at(r.layout.frequencies, i);
      rows(t, r.layout.position + 2 * i) = static_cast<float>(amplitude * std::cos(angle));
      rows(t, r.layout.position + 2 * i + 1) = static_cast<float>(amplitude * std::sin(angle));
    }
  return out;
}

void write_final_norm(const OffsetRequest& r, const ResidualBudget& budget, HeadWeights& w) {
  const OffsetLayout& layout = r.layout;
  const auto width = static_cast<std::size_t>(r.shape.d_model);
  const bool unigram = r.part == OffsetPart::unigram;
  // unigram: logits of the usual size, as if the rows were not of unit length
  const double other = unigram ? r.usual.init_std * std::sqrt(static_cast<double>(width)) : 0;
  w.final_norm.assign(width, static_cast<float>(other));
  if (!unigram)
    std::fill_n(w.final_norm.begin() + layout.output, layout.d_o,
                static_cast<float>(budget.final_rms / (budget.epsilon * budget.tau)));
  const double needed = budget.top_bias / r.params.bias_norm;  // of the log p coordinate, after the norm
  if (layout.drives_log_p) {
    at(w.final_norm, layout.log_p) = static_cast<float>(budget.final_rms / r.params.constant * needed);
  } else {
    at(w.final_norm, layout.log_p) = 0;
    w.final_norm_bias.assign(width, 0.0F);
    at(w.final_norm_bias, layout.log_p) = static_cast<float>(needed);
  }
  // The embedding is the head as well.
  for (std::vector<float>* part : {&w.final_norm, &w.final_norm_bias})
    for (float& x : *part) x = static_cast<float>(x / r.stream_scale);
}

}  // namespace aloft::offset
