#include "host/error.hpp"
#include "pipeline/recipes/offset.hpp"
#include "tests/offset_recipe_helpers.hpp"

// Induction: a head finds the place after the current token's earlier occurrence and predicts what is
// there.

namespace aloft {
namespace {

OffsetParams induction() {
  OffsetParams p;
  p.lags = 1;
  p.induction = true;
  p.sharpness = 40;
  p.zero_outputs = true;
  return p;
}

/// Heads with rows that keep still within the context: long, or not all turned, or not turned at all.
std::vector<Host> matching_hosts() {
  return {host_model("llama", 3, 4, 4, 32), host_model("llama", 3, 8, 4, 32), host_model("neox", 3, 4, 4, 32),
          host_model("gpt2", 3, 8, 8, 16), host_model("nanogpt", 3, 8, 8, 16)};
}

class InductionRecipe : public OffsetRecipe {
 protected:
  /// Half a context of the text's different tokens, twice.
  [[nodiscard]] std::vector<std::uint32_t> repeated(const ModelShape& s) const {
    std::vector<std::uint32_t> out;
    for (const TokenId id : ids)
      if (static_cast<std::int64_t>(out.size()) < s.context / 2 &&
          std::find(out.begin(), out.end(), id) == out.end())
        out.push_back(id);
    const std::vector<std::uint32_t> once = out;
    out.insert(out.end(), once.begin(), once.end());
    return out;
  }
};

TEST_F(InductionRecipe, TheSecondHeadLooksWhereTheTokenWasBefore) {
  for (const Host& m : matching_hosts()) {
    SCOPED_TRACE(m.name + " " + std::to_string(m.shape.heads));
    const Designed d = design(m, induction(), OffsetPart::induction);
    ASSERT_GT(d.at.match_layer, d.at.copy_layer);
    const std::vector<std::uint32_t> text = repeated(m.shape);
    const ForwardPass pass = forward(m.arch, m.shape, d.w, text);
    const std::int64_t per = m.shape.heads / m.shape.kv_heads, half = m.shape.context / 2;
    const auto layer = static_cast<std::size_t>(d.at.match_layer);
    const Rows& a = pass.attention[layer][static_cast<std::size_t>(d.at.match_head * per)];
    int found = 0;
    for (Eigen::Index t = half; t + 1 < m.shape.context; ++t) {
      Eigen::Index most = 0;
      a.row(t).head(t + 1).maxCoeff(&most);
      found += most == t - half + 1;
    }
    EXPECT_GE(found, (half - 1) * 3 / 4) << "of " << half - 1;
  }
}

TEST_F(InductionRecipe, WhatItFindsGainsALogit) {
  const Host m = host_model("llama", 3, 4, 4, 32);
  const Designed with = design(m, induction(), OffsetPart::induction);
  // The same model with its second head silenced.
  HeadWeights silent = with.w;
  auto& output = silent.layers[static_cast<std::size_t>(with.at.match_layer)].output;
  const std::int64_t block = m.shape.head_dim * m.shape.d_model;
  std::fill_n(output.begin() + with.at.match_head * block, block, 0.0F);
  const std::vector<std::uint32_t> text = repeated(m.shape);
  const ForwardPass a = forward(m.arch, m.shape, with.w, text), b = forward(m.arch, m.shape, silent, text);
  double gained = 0;
  int n = 0;
  for (Eigen::Index t = m.shape.context / 2; t + 1 < m.shape.context; ++t, ++n) {
    const auto next = static_cast<Eigen::Index>(text[static_cast<std::size_t>(t + 1)]);
    const auto log_share = [&](const ForwardPass& x) {
      const auto row = x.logits.row(t).array();
      return x.logits(t, next) - row.maxCoeff() - std::log((row - row.maxCoeff()).exp().sum());
    };
    gained += log_share(a) - log_share(b);
  }
  EXPECT_GT(gained / n, 0.1);
}

TEST_F(InductionRecipe, ModelsThatCannotHostItAreRefused) {
  const auto refused = [&](const Host& m, const std::string& why) {
    try {
      (void)plan_offset(m.arch, m.shape, induction(), 4);
      ADD_FAILURE() << m.name << " was accepted";
    } catch (const UsageError& e) {
      EXPECT_NE(std::string(e.what()).find(why), std::string::npos) << e.what();
    }
  };
  refused(host_model("llama", 3, 4, 4, 4), "positions do not turn");
  refused(host_model("gpt2", 2, 4, 4, 32), "two of its layers");
}

// The recipe itself, with all lags beside the pair: what the layout sets aside for induction is filled.
TEST_F(InductionRecipe, OffsetFillsThePairToo) {
  for (const char* name : {"offset", "induction"}) {
    SCOPED_TRACE(name);
    const Host m = host_model("llama", 3, 8, 8, 32);
    DesignParams asked;
    asked.offset.placement.induction = true;
    const DesignRequest request{find_recipe(name), asked, m.arch, m.shape, 4, kOffsetVocab};
    Stages nowhere(ctx, "");
    const std::function<void(const std::string&)> note = [](const std::string&) {};
    DesignRun run{ctx, nowhere, note, 0, {}};
    Keyed<Counts> counted{stages::counted(ctx, ids, kOffsetVocab, 4), "counts"};
    const HeadWeights w = request.recipe.design(run, request, &counted).composition.weights;
    const OffsetLayout at = recipes::layout_of(request);
    ASSERT_GE(at.match, 0);
    for (const auto& [layer, head] :
         {std::pair{at.copy_layer, at.copy_head}, {at.match_layer, at.match_head}})
      EXPECT_GT(output_value(w.layers[static_cast<std::size_t>(layer)], m.shape, head, 1).norm(), 0)
          << "layer " << layer << ", head " << head;
  }
}

}  // namespace
}  // namespace aloft
