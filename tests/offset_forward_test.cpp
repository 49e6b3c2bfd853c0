#include <cmath>

#include "host/error.hpp"
#include "tests/offset_recipe_helpers.hpp"

// A whole forward pass over the canonical form computes the additive model: with sharp heads and everything
// undesigned silent, exactly (up to the scale that the final norm gives a residual that is longer or shorter
// than expected); as designed, closely enough to keep its loss.

namespace aloft {
namespace {

OffsetParams silent(double sharpness) {
  OffsetParams p;
  p.background = Background::zero;
  p.zero_outputs = true;
  p.sharpness = sharpness;
  return p;
}
Rows centred(Rows x) {
  x.colwise() -= x.rowwise().mean().eval();
  return x;
}
Rows bias_of(const Designed& d) { return Eigen::Map<const Rows>(d.f.bias.data(), 1, d.f.vocab); }

/// Root mean square of the residual that the head was scaled for, read off the weights.
double expected_rms(const Host& m, const Designed& d) {
  if (m.arch.tied_head) {
    const Rows e = as_rows(d.w.embedding, m.shape.d_model),
               u = Eigen::Map<const Rows>(d.f.target.data(), d.f.vocab, d.f.d_o);
    const double tau = e.block(0, d.at.output, d.f.vocab, d.at.d_o).norm() / u.norm();
    return static_cast<double>(d.w.final_norm[static_cast<std::size_t>(d.at.output)]) * d.written * tau;
  }
  const Rows head = as_rows(d.w.head, m.shape.d_model);
  Eigen::Index at = 0;
  bias_of(d).row(0).cwiseAbs().maxCoeff(&at);
  return head(at, d.at.constant) / bias_of(d)(0, at);
}

std::vector<Host> hosts() {
  return {host_model("llama", 3, 4, 4, 16), host_model("llama", 3, 8, 4, 8),
          host_model("neox", 3, 4, 4, 64),  host_model("nanogpt-rope", 3, 4, 4, 16),
          host_model("gpt2", 3, 4, 4, 16),  host_model("nanogpt", 3, 4, 4, 16)};
}

TEST_F(OffsetRecipe, ASharpSilentModelIsTheAdditiveModel) {
  for (const Estimator e : {Estimator::discriminant, Estimator::tucker})
    for (const Host& m : hosts()) {
      SCOPED_TRACE(m.name + " " + std::to_string(m.shape.heads));
      const Designed d = design(m, silent(3000), OffsetPart::all, e);
      const auto text = sample(m.shape);
      const ForwardPass pass = forward(m.arch, m.shape, d.w, text);
      const Rows wanted = evidence_through(d, m.shape, pass.inputs, text, d.at.lags);
      const Rows ideal = evidence(d, text, d.at.lags);
      EXPECT_LT((wanted - ideal).norm(), 0.25 * ideal.norm()) << "what the norms between layers may change";
      const double expected = expected_rms(m, d);
      double mean = 0, worst = 0;
      for (Eigen::Index t = d.at.lags - 1; t < m.shape.context; ++t) {
        const double rms =
            std::sqrt(pass.residual.row(t).squaredNorm() / static_cast<double>(m.shape.d_model));
        mean += rms / static_cast<double>(m.shape.context - d.at.lags + 1);
        Rows found = pass.logits.row(t);
        Rows should = wanted.row(t) * expected / rms;
        // a norm's bias is not scaled by the norm
        should += bias_of(d) * (d.w.final_norm_bias.empty() ? expected / rms : 1);
        worst = std::max(worst, (centred(found) - centred(should)).norm() / centred(should).norm());
      }
      // heads of 8 rows have four frequencies, which leave other distances within reach of any sharpness
      EXPECT_LT(worst, m.shape.head_dim < 16 ? 3e-2 : 2e-3);
      EXPECT_NEAR(mean / expected, 1, 0.12) << "the residual is not of the size that the head was made for";
    }
}

/// Mean −log P(next) of logits [length, vocab] from `first` on.
double loss_of(const Rows& logits, const std::vector<std::uint32_t>& text, const std::vector<TokenId>& next,
               std::int64_t first) {
  double sum = 0;
  for (auto t = static_cast<std::size_t>(first); t < text.size(); ++t) {
    const auto row = logits.row(static_cast<Eigen::Index>(t));
    const double top = row.maxCoeff();
    sum += top + std::log((row.array() - top).exp().sum()) - row(next[t]);
  }
  return sum / static_cast<double>(text.size() - static_cast<std::size_t>(first));
}

TEST_F(OffsetRecipe, AsDesignedItKeepsTheLossOfTheAdditiveModel) {
  for (const Host& m : hosts()) {
    SCOPED_TRACE(m.name + " " + std::to_string(m.shape.heads));
    const Designed d = design(m);
    double of_model = 0, of_additive = 0, of_unigram = 0;
    const int samples = 40;
    for (int k = 0; k < samples; ++k) {
      const std::size_t from = 100 + 97 * static_cast<std::size_t>(k);
      const auto text = sample(m.shape, from), next = sample(m.shape, from + 1);
      const bool subtract_mean = m.arch.norm == Architecture::Norm::layernorm;
      const ForwardPass pass = forward(m.arch, m.shape, d.w, text, subtract_mean);
      of_model += loss_of(pass.logits, text, next, d.at.lags - 1) / samples;
      Rows additive = evidence(d, text, d.at.lags);
      additive.rowwise() += bias_of(d).row(0);
      of_additive += loss_of(additive, text, next, d.at.lags - 1) / samples;
      of_unigram += loss_of(bias_of(d).replicate(m.shape.context, 1), text, next, d.at.lags - 1) / samples;
    }
    EXPECT_LT(of_additive, of_unigram - 0.3);
    EXPECT_LT(of_model, of_additive + 0.3 * (of_unigram - of_additive));
  }
}

TEST_F(OffsetRecipe, BigramHeadCarriesLagOneAlone) {
  for (const Host& m : hosts()) {
    SCOPED_TRACE(m.name);
    OffsetParams p = silent(3000);
    p.lags = 1;
    const Designed d = design(m, p, OffsetPart::lag_one);
    const auto text = sample(m.shape);
    const ForwardPass pass = forward(m.arch, m.shape, d.w, text);
    const Rows wanted = evidence(d, text, 1);
    for (Eigen::Index t = 0; t < m.shape.context; ++t) {
      const double rms = std::sqrt(pass.residual.row(t).squaredNorm() / static_cast<double>(m.shape.d_model)),
                   scale = expected_rms(m, d) / rms;
      const Rows should = wanted.row(t) * scale + bias_of(d) * (d.w.final_norm_bias.empty() ? scale : 1);
      EXPECT_LT((centred(pass.logits.row(t)) - centred(should)).norm(), 2e-3 * centred(should).norm());
    }
    for (const std::size_t layer : {1ul, 2ul}) EXPECT_EQ(as_rows(d.w.layers[layer].output, 1).norm(), 0);
  }
}

TEST_F(OffsetRecipe, EmbeddingAloneBeginsAsTheUnigram) {
  for (const Host& m : hosts()) {
    SCOPED_TRACE(m.name);
    const Designed d = design(m, silent(3000), OffsetPart::embedding, Estimator::discriminant);
    const auto text = sample(m.shape);
    const ForwardPass pass = forward(m.arch, m.shape, d.w, text);
    Rows log_p(1, kOffsetVocab);
    for (std::int64_t i = 0; i < kOffsetVocab; ++i)
      log_p(0, i) = std::log(static_cast<double>(counts.unigram[static_cast<std::size_t>(i)]) + 0.5);
    for (Eigen::Index t = 0; t < m.shape.context; ++t) {
      const Rows found = centred(pass.logits.row(t)), should = centred(log_p);
      const double scale = (found * should.transpose())(0, 0) / should.squaredNorm();
      EXPECT_NEAR(scale, 1, 0.2);
      EXPECT_LT((found - scale * should).norm(), 2e-3 * should.norm());
    }
  }
}

TEST_F(OffsetRecipe, UnigramIsLogPAndTheUsualInit) {
  for (const Host& m : hosts()) {
    SCOPED_TRACE(m.name);
    const Designed d = design(m, {}, OffsetPart::unigram, Estimator::discriminant);
    double of_model = 0, of_unigram = 0;
    Rows log_p(1, kOffsetVocab);
    for (std::int64_t i = 0; i < kOffsetVocab; ++i)
      log_p(0, i) = std::log((static_cast<double>(counts.unigram[static_cast<std::size_t>(i)]) + 0.5) /
                             (static_cast<double>(counts.tokens) + 0.5 * kOffsetVocab));
    for (std::size_t k = 0; k < 40; ++k) {
      const auto text = sample(m.shape, 100 + 97 * k), next = sample(m.shape, 101 + 97 * k);
      const ForwardPass pass =
          forward(m.arch, m.shape, d.w, text, m.arch.norm == Architecture::Norm::layernorm);
      of_model += loss_of(pass.logits, text, next, 0) / 40;
      of_unigram += loss_of(log_p.replicate(m.shape.context, 1), text, next, 0) / 40;
    }
    EXPECT_NEAR(of_model, of_unigram, 0.1);
  }
}

}  // namespace
}  // namespace aloft
