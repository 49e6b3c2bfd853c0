#include "pipeline/model/rotary.hpp"

#include <gtest/gtest.h>

#include "host/error.hpp"
#include "tests/emit_helpers.hpp"

// Stretched RoPE beside what transformers 5.24 computes (modeling_rope_utils.py, ROPE_INIT_FUNCTIONS) for a
// head of 16 rows, an original context of 64 and one of 256.

namespace aloft {
namespace {

Architecture scaled(const std::string& type, double factor) {
  Architecture a = architecture("llama");
  a.rope_scaling.type = type;
  a.rope_scaling.factor = factor;
  a.rope_scaling.original_context = 64;
  return a;
}
ModelShape shape(double base = 10000, std::int64_t context = 256) {
  return {2, 4, 4, 16, 64, context, 100, base, 16};
}
void expect_near(const std::vector<double>& found, const std::vector<double>& wanted) {
  ASSERT_EQ(found.size(), wanted.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i] / wanted[i], 1, 1e-6) << i;
}

TEST(Rotary, UnscaledAndLinear) {
  expect_near(rotary_frequencies(scaled("none", 1), shape()), rope_frequencies(16, 10000));
  expect_near(rotary_frequencies(scaled("dynamic", 4), shape()), rope_frequencies(16, 10000));
  const auto linear = rotary_frequencies(scaled("linear", 4), shape());
  EXPECT_NEAR(linear[0], 0.25, 1e-15);
  EXPECT_NEAR(linear[4], 0.0025, 1e-15);
  EXPECT_EQ(rotary_amplitude(scaled("linear", 4), shape()), 1);
  EXPECT_TRUE(rotary_frequencies(architecture("gpt2"), shape()).empty());
}

TEST(Rotary, Llama3) {
  expect_near(rotary_frequencies(scaled("llama3", 8), shape(500000)),
              {1.0, 0.079403013, 0.00470075384, 0.000911583134, 0.000176776681, 3.42810235e-05,
               6.64786967e-06, 1.28917316e-06});
  EXPECT_EQ(rotary_amplitude(scaled("llama3", 8), shape(500000)), 1);
}

TEST(Rotary, Yarn) {
  Architecture a = scaled("yarn", 4);
  expect_near(rotary_frequencies(a, shape()), {1.0, 0.237170815, 0.049999997, 0.00790569466, 0.00249999994,
                                               0.000790569466, 0.000250000012, 7.90569466e-05});
  EXPECT_NEAR(rotary_amplitude(a, shape()), 1.138629436111989, 1e-12);
  a.rope_scaling.mscale = 0.7;
  a.rope_scaling.mscale_all_dim = 1;
  a.rope_scaling.beta_fast = 16;
  a.rope_scaling.beta_slow = 2;
  a.rope_scaling.truncate = false;
  expect_near(rotary_frequencies(a, shape()), {1.0, 0.14849025, 0.0250000004, 0.00790569466, 0.00249999994,
                                               0.000790569466, 0.000250000012, 7.90569466e-05});
  EXPECT_NEAR(rotary_amplitude(a, shape()), 0.9634746568860826, 1e-12);
  a.rope_scaling.attention_factor = 1.5;
  EXPECT_EQ(rotary_amplitude(a, shape()), 1.5);
}

TEST(Rotary, LongropeByTheContext) {
  Architecture a = scaled("longrope", 4);
  a.rope_scaling.short_factor = {1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7};
  a.rope_scaling.long_factor = std::vector<double>(8, 2.0);
  expect_near(rotary_frequencies(a, shape(10000, 64)),
              {1.0, 0.287479758, 0.0833333358, 0.0243252143, 0.00714285718, 0.00210818532, 0.000624999986,
               0.000186016332});
  EXPECT_NEAR(rotary_frequencies(a, shape())[0], 0.5, 1e-15);
  EXPECT_NEAR(rotary_amplitude(a, shape()), 1.1547005383792517, 1e-12);
  a.rope_scaling.long_factor.pop_back();
  EXPECT_THROW((void)rotary_frequencies(a, shape()), UsageError);
  EXPECT_THROW((void)rotary_frequencies(scaled("proportional", 4), shape()), UsageError);
}

}  // namespace
}  // namespace aloft
