#include "pipeline/offset/layout.hpp"

#include <gtest/gtest.h>

#include <set>

#include "host/error.hpp"
#include "tests/emit_helpers.hpp"

// Which models can host the recipe, why others cannot, and where everything goes.

namespace aloft {
namespace {

ModelShape shape(std::int64_t layers, std::int64_t heads, std::int64_t kv, std::int64_t head_dim,
                 std::int64_t d, const Architecture& arch, std::int64_t context = 64) {
  ModelShape s{layers, heads, kv, head_dim, d, context, 100, arch.rope_base};
  s.rotary_dim = rotary_dim(arch, s);
  return s;
}

/// The message of the UsageError; "" when there is none.
std::string refusal(const Architecture& a, const ModelShape& s, const OffsetParams& p = {},
                    std::int32_t lags = 8) {
  try {
    (void)plan_offset(a, s, p, lags);
    return "";
  } catch (const UsageError& e) {
    return e.what();
  }
}
#define EXPECT_SAYS(message, part)                                     \
  do {                                                                 \
    const std::string said = message;                                  \
    EXPECT_NE(said.find(part), std::string::npos) << "says: " << said; \
  } while (false)

/// No two parts share a coordinate, and all of the width is used or lies behind the output.
void expect_disjoint(const OffsetLayout& at, const ModelShape& s, bool table) {
  std::set<std::int64_t> used;
  const auto take = [&](std::int64_t first, std::int64_t n) {
    for (std::int64_t c = first; c < first + n; ++c) {
      EXPECT_TRUE(c >= 0 && c < s.d_model) << c;
      EXPECT_TRUE(used.insert(c).second) << "coordinate " << c << " twice";
    }
  };
  take(0, at.d_s);
  if (at.constant >= 0) take(at.constant, 1);
  take(at.padding, 1);
  if (table) take(at.position, 2 * static_cast<std::int64_t>(at.frequencies.size()));
  if (at.log_p >= 0) take(at.log_p, 1);
  if (at.match >= 0) take(at.match, at.match_dims);
  take(at.output, at.d_o);
}

/// Heads in use fit, and no two purposes share one.
void expect_heads(const OffsetLayout& at, const ModelShape& s) {
  std::set<std::pair<std::int64_t, std::int64_t>> used;
  const auto take = [&](std::int64_t layer, std::int64_t first, std::int64_t n) {
    for (std::int64_t h = first; h < first + n; ++h) {
      EXPECT_LT(h, s.kv_heads);
      EXPECT_TRUE(used.insert({layer, h}).second) << "layer " << layer << " head " << h << " twice";
    }
  };
  ASSERT_EQ(at.lag_layers.size(), static_cast<std::size_t>(at.lags));
  ASSERT_EQ(at.lag_heads.size(), static_cast<std::size_t>(at.lags));
  for (std::size_t n = 0; n < at.lag_layers.size(); ++n) take(at.lag_layers[n], at.lag_heads[n], at.carrying);
  take(0, at.erasing_head, at.erasing);
  if (at.match >= 0) {
    take(at.copy_layer, at.copy_head, 1);
    take(at.match_layer, at.match_head, 1);
    EXPECT_LT(at.copy_layer, at.match_layer);
    EXPECT_GE(at.still_rows.size(), static_cast<std::size_t>(at.match_dims));
  }
  EXPECT_GE(at.carrying * s.head_dim, at.d_s + (at.drives_log_p ? 1 : 0));
  if (at.erasing > 0) {
    EXPECT_GE(at.erasing * s.head_dim, at.d_o);
  }
}

TEST(OffsetLayoutPlan, UntiedRope) {
  const Architecture a = architecture("llama");
  const ModelShape s = shape(4, 4, 4, 32, 128, a);
  const OffsetLayout at = plan_offset(a, s, {}, 8);
  EXPECT_EQ(at.lags, 4);
  EXPECT_EQ(at.lag_layers, (std::vector{0, 0, 1, 1}));
  EXPECT_EQ(at.lag_heads, (std::vector<std::int64_t>{0, 1, 0, 1}));
  EXPECT_EQ(at.d_s, 32);
  EXPECT_EQ(at.d_o, 94);
  EXPECT_EQ(at.carrying, 1);
  EXPECT_EQ(at.erasing, 0);
  EXPECT_EQ(at.log_p, -1);
  EXPECT_EQ(at.position, -1);
  EXPECT_EQ(at.frequencies.size(), 16u);
  EXPECT_FALSE(at.drives_log_p);
  expect_disjoint(at, s, false);
  expect_heads(at, s);
}

TEST(OffsetLayoutPlan, OneLagTakesHalfOfTheWidth) {
  const Architecture a = architecture("llama");
  OffsetParams p;
  p.lags = 1;
  const OffsetLayout at = plan_offset(a, shape(4, 4, 4, 32, 128, a), p, 8);
  EXPECT_EQ(at.lag_layers, (std::vector{0}));
  EXPECT_EQ(at.d_s, 63);
  EXPECT_EQ(at.d_o, 63);
  EXPECT_EQ(at.carrying, 2);
}

TEST(OffsetLayoutPlan, FewHeadsTakeOneLagALayer) {
  for (const auto& [name, kv] : {std::pair{"llama", 2}, {"llama", 1}, {"gpt2", 2}, {"gpt2", 3}}) {
    const Architecture a = architecture(name);
    const OffsetLayout at = plan_offset(a, shape(3, kv, kv, 32, 32 * kv, a), {}, 8);
    EXPECT_EQ(at.lag_layers, (std::vector{0, 1, 2})) << name << kv;
  }
}

TEST(OffsetLayoutPlan, ManyIdsForEachCoordinateTakeAllDirectionsAndFourLags) {
  const Architecture a = architecture("nanogpt-rope");
  const ModelShape s = shape(8, 8, 8, 32, 256, a);  // the papers' model
  EXPECT_FALSE(many_ids(32 * 256, s));
  EXPECT_TRUE(many_ids(32 * 256 + 1, s));
  const OffsetLayout few = plan_offset(a, s, {}, 8, 32 * 256), many = plan_offset(a, s, {}, 8, 15007);
  EXPECT_EQ(few.lag_layers, (std::vector{0, 0, 1, 1, 2, 2, 3, 3}));
  EXPECT_EQ(few.d_s, 63);
  EXPECT_EQ(many.lag_layers, (std::vector{0, 1, 2, 3}));
  EXPECT_EQ(many.d_s, 126);
  EXPECT_EQ(many.d_o, 127);
  expect_disjoint(many, s, false);
  expect_heads(many, s);
  OffsetParams p;
  p.lags = 6;
  EXPECT_EQ(plan_offset(a, s, p, 8, 15007).lag_layers, (std::vector{0, 1, 2, 3, 4, 5}));
  p.source_dims = 40;
  EXPECT_EQ(plan_offset(a, s, p, 8, 15007).d_s, 40);
  EXPECT_EQ(plan_offset(a, shape(2, 8, 8, 32, 256, a), {}, 8, 15007).lag_layers, (std::vector{0, 1}));
}

TEST(OffsetLayoutPlan, TiedHeadsEraseWithTheHeadsThatTwoLagsLeave) {
  const Architecture a = architecture("gpt2");
  const ModelShape s = shape(4, 8, 8, 32, 256, a);
  const OffsetLayout at = plan_offset(a, s, {}, 8);
  EXPECT_EQ(at.lag_layers, (std::vector{0, 0, 1, 1}));
  EXPECT_EQ(at.carrying, 2);
  EXPECT_EQ(at.erasing, 4);
  EXPECT_EQ(at.d_o, 128);
  expect_disjoint(at, s, true);
  expect_heads(at, s);
}

TEST(OffsetLayoutPlan, TiedRopeErasesAndDrivesLogP) {
  const Architecture a = architecture("nanogpt-rope");
  const ModelShape s = shape(4, 4, 4, 32, 128, a);
  const OffsetLayout at = plan_offset(a, s, {}, 8);
  EXPECT_TRUE(at.drives_log_p);
  EXPECT_GT(at.erasing, 0);
  EXPECT_GE(at.log_p, 0);
  EXPECT_GE(at.constant, 0);
  expect_disjoint(at, s, false);
  expect_heads(at, s);
}

TEST(OffsetLayoutPlan, TiedWithATableAndANormBiasNeedsNoConstant) {
  const Architecture a = architecture("gpt2");
  const ModelShape s = shape(4, 4, 4, 32, 128, a);
  const OffsetLayout at = plan_offset(a, s, {}, 8);
  EXPECT_EQ(at.constant, -1);
  EXPECT_FALSE(at.drives_log_p);
  EXPECT_GE(at.frequencies.size(), 4u);
  EXPECT_LE(at.frequencies.size(), 16u);
  expect_disjoint(at, s, true);
  expect_heads(at, s);
  OffsetParams p;
  p.position_frequencies = 7;
  EXPECT_EQ(plan_offset(a, s, p, 8).frequencies.size(), 7u);
  p.position_frequencies = 17;
  EXPECT_SAYS(refusal(a, s, p), "17 position frequencies need heads of 34 rows, these have 32");
}

TEST(OffsetLayoutPlan, EveryBuiltInAndManySizesFit) {
  int planned = 0;
  for (const char* name : {"llama", "nanogpt", "nanogpt-rope", "gpt2", "neox"})
    for (const std::int64_t layers : {1, 2, 6, 12})
      for (const auto& [heads, head_dim] : {std::pair{2, 16}, {2, 32}, {4, 16}, {6, 32}, {8, 64}}) {
        const Architecture a = architecture(name);
        const ModelShape s = shape(layers, heads, heads, head_dim, heads * head_dim, a, 32);
        SCOPED_TRACE(std::string(name) + " " + std::to_string(s.d_model) + " " + std::to_string(layers));
        const OffsetLayout at = plan_offset(a, s, {}, 8);
        EXPECT_EQ(at.lags, std::min<std::int64_t>(layers, 8));
        expect_disjoint(at, s, a.position == Architecture::Position::learned);
        expect_heads(at, s);
        ++planned;
      }
  EXPECT_EQ(planned, 5 * 4 * 5);
}

TEST(OffsetLayoutPlan, GroupedQueriesShrinkWhatIsCarried) {
  const Architecture a = architecture("llama");
  for (const std::int64_t kv : {8, 4, 2, 1}) {
    const ModelShape s = shape(4, 8, kv, 16, 128, a);
    const OffsetLayout at = plan_offset(a, s, {}, 8);
    EXPECT_EQ(at.d_s, kv >= 4 ? kv / 4 * 16 : kv * 16);
    EXPECT_EQ(at.d_o, std::min<std::int64_t>(126 - at.d_s, 4 * at.d_s));
    expect_disjoint(at, s, false);
    expect_heads(at, s);
  }
  OffsetParams p;
  p.source_dims = 40;
  EXPECT_EQ(plan_offset(a, shape(4, 8, 4, 16, 128, a), p, 8).d_s, 40);
  EXPECT_SAYS(refusal(a, shape(4, 8, 2, 16, 128, a), p),
              "--source-dims 40: this model has room for 32 at most");
}

TEST(OffsetLayoutPlan, PartOfEachHeadRotates) {
  const Architecture a = architecture("neox");
  const OffsetLayout at = plan_offset(a, shape(2, 4, 4, 32, 128, a), {}, 8);
  EXPECT_EQ(at.frequencies.size(), 4u);  // a quarter of 32 rows, in pairs
  Architecture scaled = architecture("llama");
  scaled.rope_scaling.type = "linear";
  scaled.rope_scaling.factor = 4;
  EXPECT_EQ(plan_offset(scaled, shape(2, 4, 4, 32, 128, scaled), {}, 8).frequencies[0], 0.25);
}

TEST(OffsetLayoutPlan, InductionTakesCoordinatesAndHeadsOfItsOwn) {
  for (const char* name : {"llama", "neox", "gpt2", "nanogpt"})
    for (const std::int32_t lags : {1, 4}) {
      SCOPED_TRACE(std::string(name) + " " + std::to_string(lags));
      const Architecture a = architecture(name);
      const ModelShape s = shape(4, 8, 8, 32, 256, a);
      OffsetParams p;
      p.lags = lags;
      p.induction = true;
      const OffsetLayout at = plan_offset(a, s, p, 8);
      EXPECT_GE(at.match_dims, 4);
      expect_disjoint(at, s, a.position == Architecture::Position::learned);
      expect_heads(at, s);
    }
}

TEST(OffsetLayoutPlan, LagsGoToTheLayersAskedFor) {
  const Architecture a = architecture("llama");
  const ModelShape s = shape(3, 4, 4, 32, 128, a);
  OffsetParams p;
  p.lag_layers = {0, 0, 1, 1};
  p.source_dims = 32;
  OffsetLayout at = plan_offset(a, s, p, 8);
  EXPECT_EQ(at.lags, 4);
  EXPECT_EQ(at.lag_layers, p.lag_layers);
  EXPECT_EQ(at.lag_heads, (std::vector<std::int64_t>{0, 1, 0, 1}));
  expect_heads(at, s);
  p.lags = 3;
  EXPECT_SAYS(refusal(a, s, p), "--offset-layers names 4 layers for 3 lags");
  p.lags = 0;
  p.lag_layers = {0, 3};
  EXPECT_SAYS(refusal(a, s, p), "layer 3 is not among 0..2");
  p.lag_layers = {0, -1};
  EXPECT_SAYS(refusal(a, s, p), "layer -1 is not among 0..2");
  p.lag_layers = {0, 0, 0, 0, 0};
  EXPECT_SAYS(refusal(a, s, p), "layer 0 would need 5 key-value heads and has 4");
  // More lags than layers: the last layer takes the rest, where it has the heads.
  p = {};
  p.lags = 4;
  p.source_dims = 32;
  EXPECT_EQ(plan_offset(a, s, p, 8).lag_layers, (std::vector{0, 1, 2, 2}));
}

TEST(OffsetLayoutPlan, ErasingHeadsStandInLayer0WhereverTheLagsAre) {
  const Architecture a = architecture("nanogpt-rope");
  const ModelShape s = shape(3, 4, 4, 32, 128, a);
  for (const auto& layers : {std::vector<std::int32_t>{1}, {1, 2}, {2, 0}, {0, 1, 2}}) {
    OffsetParams p;
    p.lag_layers = layers;
    const OffsetLayout at = plan_offset(a, s, p, 8);
    expect_disjoint(at, s, false);
    expect_heads(at, s);
  }
}

TEST(OffsetLayoutPlan, ModelsThatCannotHostItAreTold) {
  Architecture a = architecture("llama");
  const ModelShape s = shape(2, 4, 4, 32, 128, a);
  for (const auto position : {Architecture::Position::alibi, Architecture::Position::none}) {
    Architecture other = a;
    other.position = position;
    EXPECT_SAYS(refusal(other, s), "recipe offset cannot be placed in llama");
    EXPECT_SAYS(refusal(other, s), "no positions that a head could be turned by (ALiBi and NoPE");
  }
  Architecture normed = a;
  normed.qk_norm = true;
  EXPECT_SAYS(refusal(normed, s), "it normalises queries and keys");
  Architecture tied = a;
  tied.tied_head = true;
  EXPECT_EQ(refusal(tied, s), "");
  tied.final_norm.clear();
  EXPECT_SAYS(refusal(tied, s), "does not name it (tensors.final_norm)");
  tied = a;
  tied.tied_head = true;
  EXPECT_SAYS(refusal(tied, shape(2, 4, 1, 32, 128, a)), "layer 0 needs a second key-value head");
  EXPECT_SAYS(refusal(a, shape(2, 1, 1, 2, 3, a)), "a width of 3 leaves no room");
  const Architecture table = architecture("gpt2");
  EXPECT_SAYS(refusal(table, shape(2, 4, 4, 32, 128, table, 1)), "a context of one token");
  EXPECT_SAYS(refusal(table, shape(2, 8, 8, 1, 8, table)), "a head needs two rows");
}

TEST(OffsetLayoutPlan, RequestsThatDoNotFitAreTold) {
  const Architecture a = architecture("llama");
  const ModelShape s = shape(6, 4, 4, 32, 128, a);
  OffsetParams p;
  p.lags = 5;
  EXPECT_SAYS(refusal(a, s, p, 4), "5 lags are to be designed, 4 were counted: raise --lags");
  p = {};
  EXPECT_EQ(plan_offset(a, s, p, 4).lags, 4);  // what was counted is the limit of the default
  EXPECT_SAYS(refusal(a, shape(6, 4, 4, 32, 128, a, 5), p), "6 lags in a context of 5");
  p.sharpness = 0;
  EXPECT_SAYS(refusal(a, s, p), "must be above 0");
}

}  // namespace
}  // namespace aloft
