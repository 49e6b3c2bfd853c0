#include "pipeline/recipes/stream_scale.hpp"

#include <cmath>
#include <map>

#include "host/error.hpp"
#include "pipeline/recipes/mlp_outputs.hpp"
#include "tests/offset_recipe_helpers.hpp"
#include "tests/paths.hpp"

// The residual stream at another scale: the same function, exactly, and every weight where it should be.

namespace aloft {
namespace {

std::vector<Host> hosts_of_every_kind() {
  return {host_model("llama", 3, 4, 4, 16),     host_model("llama", 3, 8, 4, 16),
          host_model("neox", 3, 4, 4, 32),      host_model("nanogpt-rope", 3, 4, 4, 16),
          host_model("gpt2", 3, 4, 4, 16),      host_model("nanogpt", 3, 4, 4, 16),
          host_model("starcoder2", 3, 4, 4, 16)};
}

double largest(const std::vector<float>& x) {
  double out = 0;
  for (const float v : x) out = std::max(out, std::abs(static_cast<double>(v)));
  return out;
}
/// Largest |a − factor · b| over the largest |a|.
double misfit(const std::vector<float>& a, const std::vector<float>& b, double factor) {
  if (a.size() != b.size()) return 1e9;
  double out = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    out = std::max(out, std::abs(a[i] - factor * static_cast<double>(b[i])));
  return out / std::max(largest(a), 1e-30);
}

// Everything undesigned is silent: then the function is the same to rounding.
TEST_F(OffsetRecipe, AStreamOfAnotherScaleIsTheSameFunction) {
  OffsetParams silent;
  silent.background = Background::zero;
  silent.zero_outputs = true;
  for (const Host& m : hosts_of_every_kind())
    for (const OffsetPart part : {OffsetPart::all, OffsetPart::lag_one, OffsetPart::embedding,
                                  OffsetPart::induction, OffsetPart::unigram}) {
      SCOPED_TRACE(m.name + " " + std::to_string(m.shape.heads) + " part " +
                   std::to_string(static_cast<int>(part)));
      OffsetParams p = silent;
      p.induction = part == OffsetPart::induction;
      if (p.induction && m.shape.head_dim < 32 && m.name != "llama") continue;  // no room for the code
      if (part != OffsetPart::all && m.name != "llama" && m.name != "nanogpt-rope" && m.name != "gpt2")
        continue;
      const Designed one = design(m, p, part);
      const std::vector<std::uint32_t> text = sample(m.shape);
      const bool subtract_mean = m.arch.norm == Architecture::Norm::layernorm;
      const Rows wanted = forward(m.arch, m.shape, one.w, text, subtract_mean).logits;
      for (const double c :
           part == OffsetPart::all ? std::vector<double>{0.25, 64} : std::vector<double>{7}) {
        const Designed other = design(m, p, part, Estimator::tucker, c);
        const Rows found = forward(m.arch, m.shape, other.w, text, subtract_mean).logits;
        EXPECT_LT((found - wanted).cwiseAbs().maxCoeff(), 1e-5 * std::max(1.0, wanted.cwiseAbs().maxCoeff()));
        EXPECT_LT(misfit(other.w.embedding, one.w.embedding, c), 1e-6);
        EXPECT_LT(misfit(other.w.position, one.w.position, c), 1e-6);
        EXPECT_LT(misfit(other.w.head, one.w.head, 1), 1e-6);
        EXPECT_LT(misfit(other.w.final_norm, one.w.final_norm, 1 / c), 1e-6);
        EXPECT_LT(misfit(other.w.final_norm_bias, one.w.final_norm_bias, 1 / c), 1e-6);
        for (std::size_t l = 0; l < one.w.layers.size(); ++l) {
          EXPECT_EQ(other.w.layers[l].query, one.w.layers[l].query);
          EXPECT_EQ(other.w.layers[l].key, one.w.layers[l].key);
          EXPECT_EQ(other.w.layers[l].value, one.w.layers[l].value);
          EXPECT_LT(misfit(other.w.layers[l].output, one.w.layers[l].output, c), 1e-6);
        }
      }
    }
}

// What is not designed keeps its size, and is c times quieter beside the design.
TEST_F(OffsetRecipe, WhatIsNotDesignedKeepsItsSize) {
  const Host m = host_model("llama", 3, 4, 4, 16);
  OffsetParams p;
  p.lag_layers = {0, 0};
  const Designed one = design(m, p, OffsetPart::all),
                 other = design(m, p, OffsetPart::all, Estimator::tucker, 8);
  EXPECT_EQ(other.w.layers[2].output, one.w.layers[2].output);
  EXPECT_GT(largest(one.w.layers[2].output), 0);
}

// Where the usual init would drown the design it is bounded; a larger stream has room for more.
TEST_F(OffsetRecipe, TheBoundOnTheBackgroundGrowsWithTheStream) {
  const Host m = host_model("llama", 3, 4, 4, 16);
  params.init_std = 0.5;
  OffsetParams p;
  p.lag_layers = {0, 0};
  const Designed one = design(m, p), other = design(m, p, OffsetPart::all, Estimator::tucker, 2);
  EXPECT_LT(misfit(other.w.layers[2].output, one.w.layers[2].output, 2), 1e-6);
}

// ---- what a whole run's recipe makes of a request

class StreamScale : public testing::Test {
 protected:
  Backend backend_ = make_backend("cpu");
  NoProgress progress_;
  Context ctx_{backend_, progress_};
  DesignParams params_;

  [[nodiscard]] DesignRequest request(const char* recipe, const Host& m) const {
    return {find_recipe(recipe), params_, m.arch, m.shape, 4, m.shape.vocab};
  }
};

// L · w · E|h| by hand: GELU at a small variance is z/2, SwiGLU z u/2.
TEST(MlpMoved, IsLayersTimesWidthTimesTheMeanSizeOfHiddenUnits) {
  ModelShape s{.layers = 3, .d_model = 64};
  UsualInit usual;
  usual.init_std = 1e-4;
  const double z = std::sqrt(2 / 3.14159265358979) * usual.init_std * 8;  // E|z|
  EXPECT_NEAR(recipes::mlp_moved(usual, s, recipes::Hidden::gelu, 10) / (3 * 10 * z / 2), 1, 1e-3);
  EXPECT_NEAR(recipes::mlp_moved(usual, s, recipes::Hidden::gated, 10) / (3 * 10 * z * z / 2), 1, 1e-3);
  EXPECT_NEAR(recipes::mlp_moved(usual, s, recipes::Hidden::relu2, 10) / (3 * 10 * 64e-8 / 2), 1, 1e-3);
  usual.residual_multiplier = 6;  // of all that is added to the stream
  EXPECT_NEAR(recipes::mlp_moved(usual, s, recipes::Hidden::gelu, 10) / (6 * 3 * 10 * z / 2), 1, 1e-3);
}

TEST_F(StreamScale, StandsTheFirstStepsWhereNobodySaysOtherwise) {
  const auto of_offset = [&](Host m, std::int64_t context, std::int64_t mlp_width) {
    m.shape.context = context;
    m.shape.mlp_width = mlp_width;
    return recipes::stream_scale(request("offset", m));
  };
  // docs/science.md, section 5.4, has these three
  EXPECT_EQ(of_offset(host_model("llama", 4, 4, 4, 32), 64, 336), 1);
  EXPECT_NEAR(of_offset(host_model("llama", 8, 8, 8, 32), 256, 680), 4, 0.1);
  EXPECT_EQ(of_offset(host_model("nanogpt-rope", 4, 4, 4, 32), 64, 512), std::sqrt(128.0));
  EXPECT_NEAR(of_offset(host_model("nanogpt-rope", 8, 8, 8, 32), 256, 1024), 19.3, 0.2);
  const Host wide = host_model("llama", 32, 32, 32, 128);  // bounded: coordinates of 4
  EXPECT_NEAR(of_offset(wide, 2048, 11008) * std::sqrt(2.0 / 4096), 4, 1e-9);
  for (const Recipe& r : all_recipes()) {
    const double c = recipes::stream_scale(request(r.name.data(), wide));
    EXPECT_EQ(c == 1, !r.reads_holdout) << r.name;
  }
  params_.compose.stream_scale = 3;
  for (const Recipe& r : all_recipes())
    EXPECT_EQ(recipes::stream_scale(request(r.name.data(), wide)), 3) << r.name;
}

TEST_F(StreamScale, OfRecipesThatWriteAttention) {
  for (const Host& m : hosts_of_every_kind())
    for (const auto& [name, kind] :
         std::map<const char*, Background>{{"random", Background::random},
                                           {"zero-proj", Background::zero},
                                           {"orthogonal", Background::orthogonal},
                                           {"mimetic", Background::mimetic},
                                           {"invariants", Background::invariants}}) {
      SCOPED_TRACE(m.name + std::string(" ") + name);
      const Recipe& recipe = find_recipe(name);
      params_.compose.seed = 5;
      const recipes::LayerFunction layer = background_of(kind);
      const char* const recipe_name = name;
      const auto designed = [&](std::optional<double> c) {
        params_.compose.stream_scale = c;
        HeadWeights w = recipes::compose_layers(ctx_, layer, {params_.compose, m.shape}).weights;
        recipes::scale_stream(ctx_, request(recipe_name, m), w);
        return w;
      };
      const HeadWeights usual = designed({}), one = designed(1), nine = designed(9), two = designed(2);
      EXPECT_TRUE(usual.embedding.empty() && usual.final_norm.empty() && usual.position.empty());
      EXPECT_TRUE(one.embedding.empty());
      ASSERT_EQ(nine.embedding.size(), static_cast<std::size_t>(m.shape.vocab * m.shape.d_model));
      EXPECT_LT(misfit(nine.embedding, two.embedding, 4.5), 1e-6);
      const Rows rows = as_rows(nine.embedding, m.shape.d_model);
      EXPECT_NEAR(std::sqrt(rows.squaredNorm() / static_cast<double>(rows.size())), 9 * 0.02, 0.005);
      const bool table = m.arch.position == Architecture::Position::learned;
      EXPECT_EQ(nine.position.empty(), !table);
      if (table) {
        EXPECT_LT(misfit(nine.position, two.position, 4.5), 1e-6);
        EXPECT_NE(std::vector<float>(nine.position.begin(), nine.position.begin() + 9),
                  std::vector<float>(nine.embedding.begin(), nine.embedding.begin() + 9));
      }
      EXPECT_TRUE(nine.head.empty());
      if (m.arch.tied_head)
        EXPECT_EQ(nine.final_norm,
                  std::vector<float>(static_cast<std::size_t>(m.shape.d_model), static_cast<float>(1.0 / 9)));
      else
        EXPECT_TRUE(nine.final_norm.empty());
      for (std::size_t l = 0; l < usual.layers.size(); ++l) {
        EXPECT_EQ(nine.layers[l].query, usual.layers[l].query);
        EXPECT_EQ(nine.layers[l].value, usual.layers[l].value);
        EXPECT_LT(misfit(nine.layers[l].output, usual.layers[l].output, recipe.designs_outputs ? 9 : 1),
                  1e-6);
      }
    }
}

// In the file a gain is 1/c and a table of positions c times the usual one, whatever the model multiplies by.
TEST_F(StreamScale, OfAModelWithMultipliers) {
  Host m = host_model("gpt2", 3, 4, 4, 16);
  m.arch.embedding_multiplier = 12;
  m.arch.logits_multiplier = 0.125;
  params_.compose.embedding_multiplier = 12;
  params_.compose.logits_multiplier = 0.125;
  params_.compose.stream_scale = 4;
  HeadWeights w;
  recipes::scale_stream(ctx_, request("random", m), w);
  const auto rms = [](const std::vector<float>& x) {
    const Rows rows = as_rows(x, static_cast<std::int64_t>(x.size()));
    return std::sqrt(rows.squaredNorm() / static_cast<double>(x.size()));
  };
  EXPECT_NEAR(rms(w.embedding), 4 * 12 * 0.02, 0.02);  // emit divides it by 12
  EXPECT_NEAR(rms(w.position), 4 * 0.02, 0.005);
  EXPECT_NEAR(w.final_norm.at(0), 1 / (4.0 * 12 * 8), 1e-9);  // emit multiplies it by 12 * 8
}

TEST_F(StreamScale, IsRefusedWhereTheFileCannotCarryIt) {
  const auto refused = [&](const char* recipe, const Host& m, const char* says) {
    try {
      recipes::check_stream_scale(request(recipe, m));
    } catch (const UsageError& e) {
      EXPECT_NE(std::string(e.what()).find(says), std::string::npos) << e.what();
      return;
    }
    ADD_FAILURE() << recipe << " was taken; " << says;
  };
  Host m = host_model("nanogpt-rope", 2, 4, 4, 16);
  EXPECT_NO_THROW(recipes::check_stream_scale(request("random", m)));
  params_.compose.stream_scale = 4;
  for (const Recipe& r : all_recipes())
    EXPECT_NO_THROW(recipes::check_stream_scale(request(r.name.data(), m)));
  params_.compose.emit_embedding = false;
  refused("spread", m, "leave out --no-embedding");
  refused("asymmetry", m, "leave out --no-embedding");
  params_.compose.emit_embedding = true;
  m.shape.vocab = 1;  // what a run without a corpus takes where nobody says
  refused("random", m, "give --model-vocab-size");
  m.shape.vocab = 100;
  m.arch.final_norm.clear();
  refused("random", m, "names no final_norm");
  refused("spread", m, "names no final_norm");
  params_.compose.stream_scale = 1;
  EXPECT_NO_THROW(recipes::check_stream_scale(request("random", m)));
}

}  // namespace
}  // namespace aloft
