#include <cmath>

#include "host/error.hpp"
#include "tests/compose_helpers.hpp"
#include "tests/offset_recipe_helpers.hpp"

// What the emitted heads do: where they look, what they carry, what they erase; and what the parts of the
// embedding are.

namespace aloft {
namespace {

std::vector<Host> recipe_hosts() {
  return {host_model("llama", 2, 4, 4, 16), host_model("llama", 2, 8, 4, 16),
          host_model("neox", 2, 4, 4, 32),  host_model("nanogpt-rope", 2, 4, 4, 16),
          host_model("gpt2", 2, 4, 4, 16),  host_model("nanogpt", 2, 4, 4, 16)};
}
bool table(const Host& m) { return m.arch.position == Architecture::Position::learned; }

TEST_F(OffsetRecipe, DesignedHeadsPutThePromisedMassOnTheirOffset) {
  for (const Host& m : recipe_hosts())
    for (const double sharpness : {15.0, 40.0}) {
      SCOPED_TRACE(m.name + " " + std::to_string(m.shape.heads));
      OffsetParams p;
      p.lag_layers = {0, 0};  // layer 0 sees embeddings alone, so that the promise is exact there
      p.source_dims = m.shape.head_dim - 1;
      p.sharpness = sharpness;
      const Designed d = design(m, p);
      const ForwardPass pass = forward(m.arch, m.shape, d.w, sample(m.shape));
      const std::int64_t per = m.shape.heads / m.shape.kv_heads, last = m.shape.context - 1;
      for (std::int64_t n = 0; n < 2; ++n) {
        const OffsetPattern pattern = offset_pattern(d.at.frequencies, n, m.shape.context);
        const double mass = mass_on_offset(pattern, d.at.frequencies, n, m.shape.context, sharpness);
        for (std::int64_t h = d.at.lag_heads[static_cast<std::size_t>(n)] * per,
                          end = h + d.at.carrying * per;
             h < end; ++h) {
          const Rows& a = pass.attention[0][static_cast<std::size_t>(h)];
          EXPECT_NEAR(a(last, last - n), mass, 1e-4) << "lag " << n + 1 << " head " << h;
          for (Eigen::Index t = n; t <= last; ++t) EXPECT_GE(a(t, t - n), mass - 1e-4);
        }
        const auto& measures = d.figures[0].measures;
        const std::string name = "lag" + std::to_string(n + 1) + "_mass_on_offset";
        const auto said =
            std::find_if(measures.begin(), measures.end(), [&](const auto& x) { return x.first == name; });
        ASSERT_NE(said, measures.end());
        EXPECT_EQ(said->second, mass);
      }
    }
}

TEST_F(OffsetRecipe, DeeperLayersLookAtTheirOffsetToo) {
  for (const Host& m : recipe_hosts()) {
    SCOPED_TRACE(m.name);
    OffsetParams p;
    p.lag_layers = {0, 1};
    p.background = Background::zero;
    p.zero_outputs = true;
    const Designed d = design(m, p);
    const auto text = sample(m.shape);
    for (const bool subtract_mean : {false, m.arch.norm == Architecture::Norm::layernorm}) {
      const ForwardPass pass = forward(m.arch, m.shape, d.w, text, subtract_mean);
      const Rows& a = pass.attention[1][static_cast<std::size_t>(d.at.lag_heads[1])];
      for (Eigen::Index t = 1; t < a.rows(); ++t)
        // what layer 0 wrote takes a share of the norm; neox and heads of 8 rows have few frequencies
        EXPECT_GT(a(t, t - 1), m.name == "neox" || m.shape.head_dim < 16 ? 0.5 : 0.7) << t;
    }
  }
}

TEST_F(OffsetRecipe, DesignedHeadsCarryTheCores) {
  for (const Host& m : recipe_hosts()) {
    SCOPED_TRACE(m.name);
    const Designed d = design(m);
    for (std::int64_t n = 0; n < d.at.lags; ++n) {
      const auto layer = static_cast<std::size_t>(d.at.lag_layers[static_cast<std::size_t>(n)]);
      const std::int64_t first = d.at.lag_heads[static_cast<std::size_t>(n)];
      const Rows moved = output_value(d.w.layers[layer], m.shape, first, d.at.carrying);
      const Rows wanted = d.written / d.gain * core(d.f, n).transpose();
      const double size = wanted.norm();
      EXPECT_LT((moved.block(d.at.output, 0, d.at.d_o, d.at.d_s) - wanted).norm(), 1e-5 * size);
      Rows rest = moved;
      rest.block(d.at.output, 0, d.at.d_o, d.at.d_s).setZero();
      if (d.at.drives_log_p && layer == 0 && d.at.log_p_head >= first &&
          d.at.log_p_head < first + d.at.carrying) {
        EXPECT_NEAR(rest(d.at.log_p, d.at.constant), OffsetParams{}.constant / d.gain, 1e-6);
        rest(d.at.log_p, d.at.constant) = 0;
      }
      EXPECT_EQ(rest.norm(), 0) << "nothing else is read or written";
    }
  }
}

TEST_F(OffsetRecipe, ValuesAndOutputsShareTheNormEvenly) {
  for (const Host& m : recipe_hosts()) {
    const Designed d = design(m);
    const LayerHeads& w = d.w.layers[static_cast<std::size_t>(d.at.lag_layers[1])];
    const Rows v = as_rows(w.value, m.shape.d_model), o = as_rows(w.output, m.shape.d_model);
    const std::int64_t per = m.shape.heads / m.shape.kv_heads, rows = m.shape.head_dim;
    for (std::int64_t g = d.at.lag_heads[1]; g < d.at.lag_heads[1] + d.at.carrying; ++g) {
      const double value = v.middleRows(g * rows, rows).norm(),
                   output = o.middleRows(g * per * rows, per * rows).norm();
      EXPECT_NEAR(value, output, 1e-4 * value) << m.name;
      EXPECT_GT(value, 0.01);
      EXPECT_LT(value, 10);
    }
  }
}

TEST_F(OffsetRecipe, ErasingHeadsSubtractATokensOwnOutput) {
  int tied = 0;
  for (const Host& m : recipe_hosts()) {
    if (!m.arch.tied_head) continue;
    SCOPED_TRACE(m.name);
    ++tied;
    const Designed d = design(m);
    const Rows moved = output_value(d.w.layers[0], m.shape, d.at.erasing_head, d.at.erasing);
    Rows wanted = Rows::Zero(m.shape.d_model, m.shape.d_model);
    const std::int64_t from = d.at.drives_log_p ? d.at.log_p : d.at.output;  // log p is driven anew
    for (std::int64_t c = from; c < d.at.output + d.at.d_o; ++c) wanted(c, c) = -1 / d.gain;
    EXPECT_LT((moved - wanted).norm(), 1e-5 * wanted.norm());
    const ForwardPass pass = forward(m.arch, m.shape, d.w, sample(m.shape));
    for (std::int64_t h = d.at.erasing_head; h < d.at.erasing_head + d.at.erasing; ++h)
      for (Eigen::Index t = 0; t < m.shape.context; ++t)
        EXPECT_GT(pass.attention[0][static_cast<std::size_t>(h)](t, t), 0.8);
  }
  EXPECT_EQ(tied, 3);
}

TEST_F(OffsetRecipe, EveryRowOfTheEmbeddingHasTheSameNorm) {
  for (const Host& m : recipe_hosts()) {
    SCOPED_TRACE(m.name);
    Host padded = m;
    padded.shape.vocab = kOffsetVocab + 7;
    const Designed d = design(padded);
    const Rows e = as_rows(d.w.embedding, m.shape.d_model);
    ASSERT_EQ(e.rows(), kOffsetVocab + 7);
    const Rows s = Eigen::Map<const Rows>(d.f.source.data(), d.f.vocab, d.f.d_s);
    EXPECT_LT((e.topLeftCorner(kOffsetVocab, d.f.d_s) - s).norm(), 1e-5);
    EXPECT_EQ(e.block(kOffsetVocab, 0, 7, d.f.d_s).norm(), 0);
    for (Eigen::Index i = 1; i < e.rows(); ++i) EXPECT_NEAR(e.row(i).norm(), e.row(0).norm(), 1e-5) << i;
    if (d.at.constant >= 0) {
      EXPECT_EQ(e.col(d.at.constant).minCoeff(), 1);
      EXPECT_EQ(e.col(d.at.constant).maxCoeff(), 1);
    }
    if (!m.arch.tied_head) {
      EXPECT_EQ(e.middleCols(d.at.output, d.at.d_o).norm(), 0);
      EXPECT_EQ(as_rows(d.w.head, m.shape.d_model).rows(), kOffsetVocab + 7);
    } else {
      EXPECT_TRUE(d.w.head.empty());
      const Rows own = e.block(0, d.at.output, kOffsetVocab, d.at.d_o);
      EXPECT_NEAR(own.rowwise().norm().maxCoeff(), 1, 1e-5);
      EXPECT_NEAR(e.col(d.at.log_p).head(kOffsetVocab).cwiseAbs().maxCoeff(), 0.1, 1e-6);
    }
    EXPECT_EQ(d.w.position.empty(), !table(m));
    EXPECT_EQ(d.w.final_norm.empty(), !m.arch.tied_head);
    EXPECT_EQ(d.w.final_norm_bias.empty(), m.arch.final_norm_bias.empty() || !m.arch.tied_head);
  }
}

// ---- what is not designed ----

TEST_F(OffsetRecipe, UndesignedHeadsAreTheBackground) {
  const Host m = host_model("llama", 2, 4, 4, 16);
  OffsetParams p;
  p.source_dims = 16;  // one head a lag
  p.recency = 0;
  const auto others = [&](const std::vector<float>& x, std::int64_t layer_heads) {
    return as_rows(x, m.shape.d_model).bottomRows(layer_heads * m.shape.head_dim).eval();
  };
  const auto usual = compose(
      ctx,
      [] {
        ComposeParams c;
        c.recipe = "random";
        c.seed = 3;
        return c;
      }(),
      m.shape, nullptr, nullptr);
  const LayerHeads random = design(m, p).w.layers[1];
  EXPECT_EQ(others(random.query, 3), others(usual.weights.layers[1].query, 3));
  EXPECT_EQ(others(random.output, 3), others(usual.weights.layers[1].output, 3));
  for (const Background b :
       {Background::zero, Background::orthogonal, Background::mimetic, Background::invariants}) {
    p.background = b;
    const Designed d = design(m, p);
    const LayerHeads& w = d.w.layers[1];
    const Rows designed = as_rows(random.output, m.shape.d_model).topRows(16);
    EXPECT_EQ(as_rows(w.output, m.shape.d_model).topRows(16), designed) << "the design itself is the same";
    EXPECT_TRUE((others(w.output, 3) - others(random.output, 3)).norm() > 0 ||
                (others(w.query, 3) - others(random.query, 3)).norm() > 0);
    EXPECT_EQ(others(w.output, 3).norm() == 0, b == Background::zero);
    EXPECT_GT(others(w.query, 3).norm(), 0);
  }
}

TEST_F(OffsetRecipe, WhatUndesignedHeadsAddIsBounded) {
  const Host m = host_model("llama", 2, 4, 4, 16);
  OffsetParams p;
  p.lags = 1;
  p.source_dims = 15;
  const auto added2 = [&](double std) {  // by layer 1, where nothing is designed
    params.init_std = std;
    const LayerHeads w = design(m, p, OffsetPart::lag_one).w.layers[1];
    return output_value(w, m.shape, 0, 4).squaredNorm();
  };
  const double usual = added2(0.02);
  EXPECT_LT(usual, 0.75);                               // 1.5 over two layers: left as it is ...
  EXPECT_NEAR(added2(0.01), usual / 16, 1e-3 * usual);  // ... so it grows with the fourth power
  for (const double std : {0.1, 0.3}) EXPECT_NEAR(added2(std), 0.75, 0.15) << std;
}

TEST_F(OffsetRecipe, ZeroOutputsSilenceWhatIsNotDesigned) {
  const Host m = host_model("llama", 2, 4, 4, 16);
  OffsetParams p;
  p.source_dims = 16;
  p.zero_outputs = true;
  const Rows o = as_rows(design(m, p).w.layers[0].output, m.shape.d_model);
  EXPECT_GT(o.topRows(16).norm(), 0);
  EXPECT_EQ(o.bottomRows(48).norm(), 0);
}

TEST_F(OffsetRecipe, PriorsMakeOtherHeadsLeanToOffsetsOfTheirOwn) {
  for (const char* name : {"llama", "gpt2"}) {
    const Host m = host_model(name, 2, 4, 4, 16);
    OffsetParams p;
    p.lags = 1;
    p.source_dims = 15;
    p.prior_sharpness = 20;
    const Designed d = design(m, p, OffsetPart::lag_one);
    const ForwardPass pass = forward(m.arch, m.shape, d.w, sample(m.shape));
    const Eigen::Index last = m.shape.context - 1;
    const Eigen::Index offsets[] = {1, 2, 4, 8, 16};  // dealt to the heads of all layers in turn
    for (std::int64_t h = 0; h < 4; ++h) {
      const Rows& a = pass.attention[1][static_cast<std::size_t>(h)];
      Eigen::Index most = 0;
      a.row(last).maxCoeff(&most);
      EXPECT_EQ(last - most, offsets[(4 + h) % 5]) << name << " head " << h;
    }
  }
}

TEST_F(OffsetRecipe, RecencyIsTheDefaultOfTheWholeRecipeAlone) {
  const Host m = host_model("llama", 2, 4, 4, 16);
  OffsetParams four, none;
  four.recency = 4;
  none.recency = 0;
  const auto queries = [&](const OffsetParams& p, OffsetPart part) {
    return design(m, p, part).w.layers[1].query;
  };
  EXPECT_EQ(queries({}, OffsetPart::all), queries(four, OffsetPart::all));
  EXPECT_NE(queries({}, OffsetPart::all), queries(none, OffsetPart::all));
  for (const OffsetPart part : {OffsetPart::lag_one, OffsetPart::embedding, OffsetPart::unigram}) {
    EXPECT_EQ(queries({}, part), queries(none, part));
    EXPECT_NE(queries({}, part), queries(four, part));
  }
}

TEST_F(OffsetRecipe, RecencyMakesScoresOfOtherHeadsFallWithDistance) {
  for (const char* name : {"llama", "gpt2"}) {
    const Host m = host_model(name, 3, 4, 4, 16);
    OffsetParams p;
    p.lags = 1;
    p.source_dims = 15;
    p.recency = 6;
    const Designed d = design(m, p, OffsetPart::lag_one);
    const ForwardPass pass = forward(m.arch, m.shape, d.w, sample(m.shape));
    const Eigen::Index last = m.shape.context - 1, half = m.shape.context / 2;
    for (std::size_t layer = 1; layer < 3; ++layer) {
      // what earlier layers wrote shortens what the norm leaves of the constant and of the positions
      const Rows& x = pass.inputs[layer];
      const double left = static_cast<double>(m.shape.d_model) / (d.gain * d.gain) /
                          (x.row(last).norm() * x.rowwise().norm().mean());
      for (std::size_t h = 0; h < 4; ++h) {
        const auto a = pass.attention[layer][h].row(last).array().log();
        const double fall = a(last) - a.head(m.shape.context - half).mean();
        const double wanted = (layer == 1 ? 6 : 4) * left;  // 2/3 of it in the last layer
        EXPECT_NEAR(fall, wanted, 0.25 * wanted) << name << " layer " << layer << " head " << h;
      }
    }
  }
}

TEST_F(OffsetRecipe, SameSeedSameBits) {
  const Host m = host_model("nanogpt-rope", 2, 4, 4, 16);
  const Designed a = design(m), b = design(m);
  EXPECT_EQ(a.w.embedding, b.w.embedding);
  for (std::size_t l = 0; l < 2; ++l) {
    EXPECT_EQ(a.w.layers[l].query, b.w.layers[l].query);
    EXPECT_EQ(a.w.layers[l].output, b.w.layers[l].output);
  }
  params.seed = 4;
  EXPECT_NE(design(m).w.layers[1].query, a.w.layers[1].query);
}

}  // namespace
}  // namespace aloft
