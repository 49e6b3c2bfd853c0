#include "pipeline/recipes/offset.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "host/error.hpp"
#include "pipeline/position_offsets.hpp"
#include "pipeline/recipes/offset_heads.hpp"
#include "pipeline/recipes/usual_init.hpp"

// Coordinates of the residual stream (offset/layout.hpp): source | constant | padding | position | log p |
// output. A token's embedding is [S_i | 1 | padding | 0 | log p | own]; padding makes all rows equally long,
// so that the norm before a block cannot distort S. Designed heads look at one distance each (their queries
// and keys read the constant coordinate, or the position table, alone), carry S, and write S G_n into the
// output coordinates, which no block reads. An untied head reads them with U and log p from the constant
// coordinate. A tied head's embedding itself holds τU there: heads of layer 0 that look at the token itself
// write −1 × its own part, and the final norm's gain selects the coordinates.

namespace aloft::recipes {
namespace {

constexpr double kBackground2 = 1.5;  // bound on what undesigned heads add, before attention averages it
constexpr double kRecency = 4;        // profiles/training.md
constexpr double kCode = 0.5;         // induction: norm of the copied code of the token before
constexpr double kFoundLogit = 0.7;   // induction: what a token that a head finds gains, on average

class OffsetDesign {
 public:
  OffsetDesign(Context& ctx, const ComposeParams& params, const OffsetParams& offset, OffsetPart part,
               const Architecture& arch, const ModelShape& shape, const OffsetLayout& layout,
               const LagFactors& f, const Matching& matching)
      : ctx_(ctx),
        params_(params),
        o_(offset),
        part_(part),
        arch_(arch),
        s_(shape),
        at_(layout),
        f_(f),
        m_(matching) {
    expects(f.d_s == layout.d_s && f.d_o == layout.d_o && f.lags >= lags(), "factors of the layout's sizes");
    written2_ = lags() > 0 ? o_.write_norm * o_.write_norm : 0;
    epsilon_ = o_.write_norm / std::max(f.written_norm, 1e-12);
    double largest2 = 0;
    for (std::int64_t j = 0; j < f.vocab; ++j)
      largest2 = std::max(largest2, squared(&f.target[size(j * f.d_o)], f.d_o));
    tau_ = o_.own_norm / std::sqrt(std::max(largest2, 1e-24));
    for (const double b : bias()) top_bias_ = std::max(top_bias_, std::abs(b));
    const bool constant = at_.constant >= 0;
    token2_ = 1 + (constant ? 1 : 0);
    if (arch.tied_head) token2_ += o_.own_norm * o_.own_norm + o_.bias_norm * o_.bias_norm;
    position2_ = at_.position >= 0 ? 0.5 : 0;
    gain_ = std::sqrt(static_cast<double>(s_.d_model) / (token2_ + position2_));
    look_.emplace(s_, at_, gain_, amplitude());
  }

  Composition run() {
    Composition out;
    for (std::int64_t layer = 0; layer < s_.layers; ++layer) {
      ctx_.check_interrupt();
      out.weights.layers.push_back(heads(layer));
      LayerComposition figures;
      for (std::int32_t n = 0; n < lags(); ++n)
        if (at_.lag_layers[size(n)] == layer) describe(n, figures);
      out.layers.push_back(std::move(figures));
    }
    out.weights.embedding = embedding();
    if (!arch_.tied_head) out.weights.head = head();
    if (at_.position >= 0) out.weights.position = position_table();
    if (arch_.tied_head) final_norm(out.weights);
    return out;
  }

 private:
  static std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }
  template <class T>
  static double squared(const T* x, std::int64_t n) {
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    return sum;
  }
  [[nodiscard]] std::int32_t lags() const {
    if (part_ == OffsetPart::all) return at_.lags;
    return part_ == OffsetPart::lag_one || part_ == OffsetPart::induction ? 1 : 0;
  }
  [[nodiscard]] double recency() const {
    return o_.recency.value_or(part_ == OffsetPart::all ? kRecency : 0);
  }
  /// What a token's logit is without evidence. The estimator's own bias is made for the evidence of heads.
  [[nodiscard]] const std::vector<double>& bias() const { return lags() > 0 ? f_.bias : f_.log_p; }
  /// What a token's log p coordinate counts in the final residual before the norm's gain.
  [[nodiscard]] double final_rms() const {
    double norm2 = token2_ + position2_ + written2_ + kRandomPart2;
    if (arch_.tied_head) {  // half the tokens' own parts, roughly, are shorter than the longest; all are
                            // erased
      norm2 -= kRandomPart2 + 0.5 * o_.own_norm * o_.own_norm;
      if (at_.drives_log_p) norm2 += o_.constant * o_.constant;
    }
    return std::sqrt(norm2 / static_cast<double>(s_.d_model));
  }

  // ---- attention

  LayerHeads heads(std::int64_t layer) {
    LayerHeads out = background(layer);
    if (o_.zero_outputs) std::fill(out.output.begin(), out.output.end(), 0.0F);
    if (o_.prior_sharpness > 0)
      for (std::int64_t g = 0; g < s_.kv_heads; ++g)
        look_->look_back(g, prior_offset(layer, g), o_.prior_sharpness, out);
    if (recency() > 0 && s_.context > 1)
      for (std::int64_t g = 0; g < s_.kv_heads; ++g) look_->look_near(layer, g, recency(), out);
    for (std::int32_t n = 0; n < lags(); ++n)
      if (at_.lag_layers[size(n)] == layer) carry(n, out);
    if (layer == 0 && arch_.tied_head && part_ != OffsetPart::unigram) erase(out);
    if (layer == 0 && at_.drives_log_p) drive_log_p(out);
    if (layer == at_.copy_layer) copy_code(out);
    if (layer == at_.match_layer) predict_found(out);
    return out;
  }

  /// Output projections are scaled down where a wide or deep model's usual init would add more to the
  /// residual stream than kBackground2 in all: the head reads what is written there through 1/ε, and takes
  /// noise for evidence.
  LayerHeads background(std::int64_t layer) {
    LayerHeads out = usual_heads(layer);
    double added2 = 0;  // E‖Σ_h O_h V_h x‖² for independent O, V and x of length √d
    const std::int64_t block = s_.head_dim * s_.d_model;
    for (std::int64_t h = 0; h < s_.heads; ++h)
      added2 += squared(&out.output[size(h * block)], block) *
                squared(&out.value[size(h / look_->per_group() * block)], block) /
                static_cast<double>(s_.head_dim);
    const double allowed2 = kBackground2 / static_cast<double>(s_.layers);
    if (added2 > allowed2)
      for (float& x : out.output) x *= static_cast<float>(std::sqrt(allowed2 / added2));
    return out;
  }

  LayerHeads usual_heads(std::int64_t layer) {
    const RecipeInput in{params_, s_, nullptr};
    switch (o_.background) {
      case Background::random:
        return design_random(ctx_, in, layer).heads;
      case Background::zero:
        return design_zero_proj(ctx_, in, layer).heads;
      case Background::orthogonal:
        return design_orthogonal(ctx_, in, layer).heads;
      case Background::mimetic:
        return design_mimetic(ctx_, in, layer).heads;
      case Background::invariants:
        return design_invariants(ctx_, in, layer).heads;
    }
    throw Error("internal error: unknown background");
  }

  /// 1, 2, 4, ... over the groups of all layers in turn, within half the context.
  [[nodiscard]] std::int64_t prior_offset(std::int64_t layer, std::int64_t group) const {
    std::int64_t powers = 1;
    while ((std::int64_t{2} << powers) <= s_.context) ++powers;
    return std::min(s_.context - 1, std::int64_t{1} << ((layer * s_.kv_heads + group) % powers));
  }

  /// Size of one position coordinate.
  [[nodiscard]] double amplitude() const {
    if (at_.position < 0) return 0;
    return std::sqrt(position2_ / static_cast<double>(at_.frequencies.size()));
  }

  void carry(std::int32_t n, LayerHeads& w) const {
    const double share = 1.0 / static_cast<double>(look_->per_group());
    for (std::int64_t g = 0; g < at_.carrying; ++g) {
      const std::int64_t group = at_.lag_heads[size(n)] + g, first = g * s_.head_dim;
      const std::int64_t rows = std::clamp<std::int64_t>(at_.d_s - first, 0, s_.head_dim);
      look_->clear(group, w);
      look_->look_back(group, n, o_.sharpness, w);
      // V and O share the norm evenly
      const double value_norm = std::sqrt(static_cast<double>(rows)) / gain_;
      const double* core = &f_.cores[size((n * at_.d_s + std::min(first, at_.d_s - 1)) * at_.d_o)];
      const double output_norm =
          epsilon_ * share *
          std::sqrt(squared(core, rows * at_.d_o) * static_cast<double>(look_->per_group()));
      const double balance = rows > 0 && output_norm > 0 ? std::sqrt(value_norm / output_norm) : 1;
      for (std::int64_t r = 0; r < rows; ++r) {
        w.value[size(look_->row(group, r) + first + r)] = static_cast<float>(1 / gain_ / balance);
        for (std::int64_t h = group * look_->per_group(); h < (group + 1) * look_->per_group(); ++h)
          for (std::int64_t c = 0; c < at_.d_o; ++c)
            w.output[size(look_->row(h, r) + at_.output + c)] =
                static_cast<float>(core[r * at_.d_o + c] * epsilon_ * share * balance);
      }
    }
  }

  /// Induction, first half: a head that looks one token back writes that token's code into the match
  /// coordinates.
  void copy_code(LayerHeads& w) const {
    const std::int64_t group = at_.copy_head;
    look_->clear(group, w);
    look_->look_back(group, 1, o_.sharpness, w);
    write_map(
        group, m_.d_m, m_.code.data(), gain_, at_.match, m_.d_m,
        [&](std::int64_t r, std::int64_t c) { return r == c ? kCode : 0.0; }, w);
  }

  /// Second half: a head that finds the places after the current token's earlier occurrences predicts what
  /// stands there.
  void predict_found(LayerHeads& w) const {
    const std::int64_t group = at_.match_head;
    const double rms = final_rms();  // close to that of the layers between
    const double gain = 1 / std::sqrt(rms * rms + kCode * kCode / static_cast<double>(s_.d_model));
    look_->clear(group, w);
    look_->match(group, m_, o_.sharpness, kCode, gain, w);
    write_map(
        group, m_.rank, m_.value.data(), gain, at_.output, at_.d_o,
        [&](std::int64_t r, std::int64_t c) {
          return kFoundLogit * epsilon_ * m_.output[size(r * at_.d_o + c)];
        },
        w);
  }

  /// V = value [rows, d_s] of S as read through `gain`, O = output(r, c), c < width, at coordinate `to`; the
  /// two share the norm evenly, and the group's heads what is written.
  template <class Output>
  void write_map(std::int64_t group, std::int64_t rows, const double* value, double gain, std::int64_t to,
                 std::int64_t width, const Output& output, LayerHeads& w) const {
    const double share = 1.0 / static_cast<double>(look_->per_group());
    double output2 = 0;
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < width; ++c) output2 += output(r, c) * output(r, c);
    const double value_norm = std::sqrt(squared(value, rows * at_.d_s)) / gain,
                 output_norm = std::sqrt(output2 * share);
    const double balance = value_norm > 0 && output_norm > 0 ? std::sqrt(value_norm / output_norm) : 1;
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < at_.d_s; ++c)
        w.value[size(look_->row(group, r) + c)] = static_cast<float>(value[r * at_.d_s + c] / gain / balance);
      for (std::int64_t h = group * look_->per_group(); h < (group + 1) * look_->per_group(); ++h)
        for (std::int64_t c = 0; c < width; ++c)
          w.output[size(look_->row(h, r) + to + c)] = static_cast<float>(output(r, c) * share * balance);
    }
  }

  /// Heads of layer 0 that look at the token itself and subtract its own output coordinates, and its own log
  /// p where that is driven anew.
  void erase(LayerHeads& w) const {
    const double share = 1.0 / static_cast<double>(look_->per_group());
    const std::int64_t begin = at_.drives_log_p ? at_.log_p : at_.output, end = at_.output + at_.d_o;
    for (std::int64_t g = 0; g < at_.erasing; ++g) {
      const std::int64_t group = at_.erasing_head + g, first = begin + g * s_.head_dim;
      look_->clear(group, w);
      look_->look_back(group, 0, o_.sharpness, w);
      const double balance = std::sqrt(1 / gain_ / std::sqrt(share));
      for (std::int64_t r = 0; r < std::min(s_.head_dim, end - first); ++r) {
        w.value[size(look_->row(group, r) + first + r)] = static_cast<float>(1 / gain_ / balance);
        for (std::int64_t h = group * look_->per_group(); h < (group + 1) * look_->per_group(); ++h)
          w.output[size(look_->row(h, r) + first + r)] = static_cast<float>(-share * balance);
      }
    }
  }

  /// The last value row of heads that carry a lag in layer 0 holds the constant, and writes it where log p is
  /// read.
  void drive_log_p(LayerHeads& w) const {
    const std::int64_t group = at_.log_p_head, r = s_.head_dim - 1;
    bool carries = false;
    for (std::int32_t n = 0; n < lags(); ++n)
      carries |= at_.lag_layers[size(n)] == 0 && at_.lag_heads[size(n)] + at_.carrying - 1 == group;
    if (!carries) {  // nothing designed these heads: one that looks at the token itself
      look_->clear(group, w);
      look_->look_back(group, 0, o_.sharpness, w);
    }
    const double balance = std::sqrt(1 / gain_ / o_.constant);
    std::fill_n(w.value.begin() + look_->row(group, r), s_.d_model, 0.0F);
    w.value[size(look_->row(group, r) + at_.constant)] = static_cast<float>(1 / gain_ / balance);
    for (std::int64_t h = group * look_->per_group(); h < (group + 1) * look_->per_group(); ++h)
      w.output[size(look_->row(h, r) + at_.log_p)] =
          static_cast<float>(o_.constant * balance / static_cast<double>(look_->per_group()));
  }

  // ---- embedding, head, norm, positions

  std::vector<float> embedding() {
    const std::int64_t d = s_.d_model;
    std::vector<double> usual;
    if (part_ == OffsetPart::unigram)
      usual =
          normal(ctx_, s_.vocab, d, params_.seed, stream_of(recipes::Part::embedding, 0), params_.init_std);
    std::vector<double> out(size(s_.vocab * d));
    for (std::int64_t i = 0; i < s_.vocab; ++i) {
      double* e = &out[size(i * d)];
      const bool known = i < f_.vocab;
      if (part_ == OffsetPart::unigram)
        random_row(&usual[size(i * d)], e);
      else if (known)
        std::copy_n(&f_.source[size(i * at_.d_s)], at_.d_s, e);
      if (at_.constant >= 0) e[at_.constant] = 1;
      if (arch_.tied_head) {
        // ids that the corpus lacks are as unlikely as its rarest
        const double own = known ? bias()[size(i)] : *std::min_element(bias().begin(), bias().end());
        e[at_.log_p] = own / top_bias_ * o_.bias_norm;
        if (known && part_ != OffsetPart::unigram)
          for (std::int64_t c = 0; c < at_.d_o; ++c)
            e[at_.output + c] = f_.target[size(i * at_.d_o + c)] * tau_;
      }
      e[at_.padding] = std::sqrt(std::max(0.0, token2_ - squared(e, d)));
    }
    return to_f32(out);
  }

  /// unigram: the usual random numbers in place of S (and of U where tied), at unit length.
  void random_row(const double* usual, double* e) const {
    const double scale = 1 / (params_.init_std * std::sqrt(static_cast<double>(at_.d_s)));
    double norm2 = 0;
    for (std::int64_t c = 0; c < at_.d_s; ++c) norm2 += usual[c] * usual[c];
    const double most = 1 / std::sqrt(std::max(norm2, 1e-24));
    for (std::int64_t c = 0; c < at_.d_s; ++c) e[c] = usual[c] * std::min(scale, most);
  }

  std::vector<float> head() {
    const std::int64_t d = s_.d_model;
    std::vector<double> out;
    const double rms = final_rms(), lowest = *std::min_element(bias().begin(), bias().end());
    if (part_ == OffsetPart::unigram)
      out = normal(ctx_, s_.vocab, d, params_.seed, stream_of(recipes::Part::head, 0), params_.init_std);
    out.resize(size(s_.vocab * d));
    for (std::int64_t i = 0; i < s_.vocab; ++i) {
      double* u = &out[size(i * d)];
      u[at_.constant] = (i < f_.vocab ? bias()[size(i)] : lowest) * rms;
      if (part_ == OffsetPart::unigram || i >= f_.vocab) continue;
      for (std::int64_t c = 0; c < at_.d_o; ++c)
        u[at_.output + c] = f_.target[size(i * at_.d_o + c)] * rms / epsilon_;
    }
    return to_f32(out);
  }

  std::vector<float> position_table() const {
    std::vector<float> out(size(s_.context * s_.d_model));
    for (std::int64_t t = 0; t < s_.context; ++t)
      for (std::size_t i = 0; i < at_.frequencies.size(); ++i) {
        const double angle = static_cast<double>(t) * at_.frequencies[i];
        const auto to = size(t * s_.d_model + at_.position) + 2 * i;
        out[to] = static_cast<float>(amplitude() * std::cos(angle));
        out[to + 1] = static_cast<float>(amplitude() * std::sin(angle));
      }
    return out;
  }

  void final_norm(HeadWeights& w) const {
    // unigram: logits of the usual size, as if the rows were not of unit length
    const double other =
        part_ == OffsetPart::unigram ? params_.init_std * std::sqrt(static_cast<double>(s_.d_model)) : 0;
    w.final_norm.assign(size(s_.d_model), static_cast<float>(other));
    if (part_ != OffsetPart::unigram)
      for (std::int64_t c = 0; c < at_.d_o; ++c)
        w.final_norm[size(at_.output + c)] = static_cast<float>(final_rms() / (epsilon_ * tau_));
    const double needed = top_bias_ / o_.bias_norm;  // what the log p coordinate must be after the norm
    if (at_.drives_log_p) {
      w.final_norm[size(at_.log_p)] = static_cast<float>(final_rms() / o_.constant * needed);
    } else {
      w.final_norm[size(at_.log_p)] = 0;
      w.final_norm_bias.assign(size(s_.d_model), 0.0F);
      w.final_norm_bias[size(at_.log_p)] = static_cast<float>(needed);
    }
  }

  void describe(std::int32_t n, LayerComposition& figures) const {
    const OffsetPattern pattern = offset_pattern(at_.frequencies, n, s_.context);
    const std::string lag = "lag" + std::to_string(n + 1) + "_";
    figures.measures.emplace_back(lag + "margin", pattern.margin);
    figures.measures.emplace_back(lag + "mass_on_offset",
                                  mass_on_offset(pattern, at_.frequencies, n, s_.context, o_.sharpness));
    figures.measures.emplace_back(lag + "participation_ratio", f_.participation[size(n)]);
  }

  Context& ctx_;
  const ComposeParams& params_;
  const OffsetParams& o_;
  OffsetPart part_;
  const Architecture& arch_;
  const ModelShape& s_;
  const OffsetLayout& at_;
  const LagFactors& f_;
  const Matching& m_;
  std::optional<HeadWriter> look_;  // once the norm's gain is known
  double written2_ = 0, epsilon_ = 1, tau_ = 1, top_bias_ = 1e-12, token2_ = 2, position2_ = 0, gain_ = 1;
};

}  // namespace

Composition design_offset(Context& ctx, const ComposeParams& params, const OffsetParams& offset,
                          OffsetPart part, const Architecture& arch, const ModelShape& shape,
                          const OffsetLayout& layout, const LagFactors& factors, const Matching& matching) {
  return OffsetDesign(ctx, params, offset, part, arch, shape, layout, factors, matching).run();
}

}  // namespace aloft::recipes
