#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cmath>
#include <set>

#include "host/error.hpp"
#include "host/interrupt.hpp"
#include "pipeline/model/model.hpp"
#include "pipeline/model/usual_init.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "tests/compose_helpers.hpp"
#include "tests/per_backend.hpp"
#include "tests/recipe_helpers.hpp"

namespace aloft {
namespace {

ModelShape small_shape() {
  ModelShape s;
  s.layers = 3, s.heads = 4, s.kv_heads = 2, s.head_dim = 6, s.d_model = 20, s.context = 16, s.vocab = 9;
  s.rotary_dim = 6;
  return s;
}

class Counting final : public ProgressSink {
 public:
  int updates = 0;
  double last = 0;
  void update(std::string_view, double done, double total, std::uint64_t, std::string_view) override {
    ++updates;
    last = done / total;
  }
  void finish(std::string_view, double, bool) override {}
};

class Compose : public PerBackend {
 protected:
  Backend backend = make_backend(GetParam());
  Counting progress;
  Context ctx{backend, progress};

  Composition run(const ComposeParams& p, const ModelShape& s) {
    return compose(ctx, p, s, nullptr, nullptr);
  }
};

TEST_P(Compose, AnUnknownRecipeListsTheKnownOnes) {
  ComposeParams p;
  p.recipe = "sprad";
  for (const bool through_compose : {false, true}) {
    try {
      if (through_compose)
        (void)run(p, small_shape());
      else
        (void)find_recipe(p.recipe);
      FAIL() << "no error";
    } catch (const UsageError& e) {
      const std::string what = e.what();
      for (const char* known :
           {"sprad", "asymmetry", "spread", "invariants", "mimetic", "orthogonal", "random"})
        EXPECT_NE(what.find(known), std::string::npos) << what;
    }
  }
}

TEST_P(Compose, KnowsWhichRecipesReadTheCorpus) {
  for (const char* name : {"asymmetry", "spread"}) EXPECT_TRUE(find_recipe(name).reads_corpus()) << name;
  for (const char* name : {"random", "invariants", "mimetic", "orthogonal"})
    EXPECT_FALSE(find_recipe(name).reads_corpus());
}

TEST_P(Compose, RefusesNumbersAndShapesThatCannotBe) {
  const auto refuses = [&](auto change) {
    ComposeParams p;
    p.recipe = "random";
    ModelShape s = small_shape();
    change(p, s);
    EXPECT_THROW((void)run(p, s), UsageError);
  };
  refuses([](ComposeParams& p, ModelShape&) { p.init_std = 0; });
  refuses([](ComposeParams& p, ModelShape&) { p.noise = -1; });
  refuses([](ComposeParams& p, ModelShape&) { p.strength = std::nan(""); });
  refuses([](ComposeParams&, ModelShape& s) { s.kv_heads = 3; });
  refuses([](ComposeParams&, ModelShape& s) { s.layers = 0; });
  refuses([](ComposeParams&, ModelShape& s) { s.rotary_dim = 5; });
  refuses([](ComposeParams&, ModelShape& s) { s.rotary_dim = 8; });
}

TEST_P(Compose, EveryCorpusFreeRecipeFillsEveryTensorReproducibly) {
  const ModelShape s = small_shape();
  for (const char* name : {"random", "invariants", "mimetic", "orthogonal"}) {
    ComposeParams p;
    p.recipe = name;
    p.seed = 5;
    const Composition a = run(p, s), b = run(p, s);
    p.seed = 6;
    const Composition other = run(p, s);
    ASSERT_EQ(a.weights.layers.size(), 3u);
    ASSERT_EQ(a.layers.size(), 3u);
    EXPECT_TRUE(a.weights.embedding.empty());
    std::set<float> first;
    for (std::size_t l = 0; l < 3; ++l) {
      const LayerHeads& h = a.weights.layers[l];
      EXPECT_EQ(h.query.size(), 4u * 6 * 20) << name;
      EXPECT_EQ(h.key.size(), 2u * 6 * 20) << name;
      EXPECT_EQ(h.value.size(), 2u * 6 * 20) << name;
      EXPECT_EQ(h.output.size(), 4u * 6 * 20) << name;
      EXPECT_EQ(h.query, b.weights.layers[l].query) << name;
      EXPECT_EQ(h.output, b.weights.layers[l].output) << name;
      EXPECT_NE(h.query, other.weights.layers[l].query) << name;
      for (const auto* m : {&h.query, &h.key, &h.value, &h.output})
        for (const float x : *m) ASSERT_TRUE(std::isfinite(x)) << name;
      EXPECT_GT(as_rows(h.query, 20).norm(), 0);
      first.insert(h.query[0]);
    }
    EXPECT_EQ(first.size(), 3u) << name << ": layers differ";
  }
}

TEST_P(Compose, LayerNumbersDoNotDependOnTheNumberOfLayers) {
  ModelShape s = small_shape();
  for (const char* name : {"random", "mimetic", "orthogonal"}) {
    ComposeParams p;
    p.recipe = name;
    s.layers = 3;
    const Composition shallow = run(p, s);
    s.layers = 5;
    const Composition deep = run(p, s);
    for (std::size_t l = 0; l < 3; ++l) {
      EXPECT_EQ(shallow.weights.layers[l].query, deep.weights.layers[l].query) << name;
      EXPECT_EQ(shallow.weights.layers[l].value, deep.weights.layers[l].value) << name;
    }
  }
}

TEST_P(Compose, ThreadsDoNotChangeABit) {
  ModelShape s = small_shape();
  s.d_model = 72, s.head_dim = 18, s.rotary_dim = 18;
  for (const char* name : {"random", "invariants", "mimetic", "orthogonal"}) {
    ComposeParams p;
    p.recipe = name;
    std::vector<Composition> made;
    for (const int threads : {1, 3}) {
      Backend b = make_backend(GetParam(), threads);
      Context c(b, progress);
      made.push_back(compose(c, p, s, nullptr, nullptr));
    }
    for (std::size_t l = 0; l < 3; ++l) {
      const LayerHeads &one = made[0].weights.layers[l], &three = made[1].weights.layers[l];
      EXPECT_EQ(one.query, three.query) << name;
      EXPECT_EQ(one.key, three.key) << name;
      EXPECT_EQ(one.value, three.value) << name;
      EXPECT_EQ(one.output, three.output) << name;
      EXPECT_EQ(made[0].layers[l].measures, made[1].layers[l].measures) << name;
    }
  }
}

TEST_P(Compose, StreamsNeverCollide) {
  std::set<std::uint64_t> seen;
  int made = 0;
  for (int part = 1; part <= 10; ++part)
    for (const std::int64_t layer : {0L, 1L, 2L, 255L, 256L, 65535L, 65536L})
      for (const std::int64_t matrix : {0L, 1L, 2L, 255L, 256L, 65535L}) {
        seen.insert(stream_of(static_cast<Part>(part), layer, matrix));
        ++made;
      }
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(made));
  EXPECT_THROW((void)stream_of(Part::query, 0, 65536), Error);
}

TEST_P(Compose, RandomHasTheUsualStandardDeviations) {
  ModelShape s;
  s.layers = 8, s.heads = 8, s.kv_heads = 8, s.head_dim = 32, s.d_model = 256, s.context = 1, s.vocab = 1;
  ComposeParams p;
  p.recipe = "random";
  p.init_std = 0.05;
  const auto deviation = [](const std::vector<float>& x) {
    double sum2 = 0;
    for (const float v : x) sum2 += static_cast<double>(v) * v;
    return std::sqrt(sum2 / static_cast<double>(x.size()));
  };
  const double rel = 5.0 / std::sqrt(2.0 * 65536);  // five standard errors
  LayerHeads h = run(p, s).weights.layers[3];
  for (const auto* m : {&h.query, &h.key, &h.value}) EXPECT_NEAR(deviation(*m) / 0.05, 1, rel);
  EXPECT_NEAR(deviation(h.output) / (0.05 / 4), 1, rel);  // √(2·8) = 4
  EXPECT_LT(std::abs((as_rows(h.query, 256).array() * as_rows(h.key, 256).array()).mean()) / 0.0025,
            5.0 / 256);
  p.residual_scaled = false;
  h = run(p, s).weights.layers[3];
  EXPECT_NEAR(deviation(h.output) / 0.05, 1, rel);
}

TEST_P(Compose, TheUsualKernelNormIsWhatSamplesHave) {
  for (const std::int64_t kv : {4, 2, 1}) {
    ModelShape s;
    s.layers = 40, s.heads = 4, s.kv_heads = kv, s.head_dim = 16, s.d_model = 48, s.context = 1, s.vocab = 1;
    ComposeParams p;
    p.recipe = "random";
    const Composition c = run(p, s);
    double mean2 = 0;
    for (const LayerHeads& l : c.weights.layers) {
      const Rows q = as_rows(l.query, 48), k = as_rows(l.key, 48);
      Rows m = Rows::Zero(48, 48);
      for (int h = 0; h < 4; ++h)
        m += q.middleRows(h * 16, 16).transpose() * k.middleRows(h / (4 / kv) * 16, 16);
      mean2 += m.squaredNorm() / 40;
    }
    EXPECT_NEAR(std::sqrt(mean2) / usual_kernel_norm(p, s), 1, 0.02) << kv;
  }
}

TEST_P(Compose, OrthogonalIsOrthogonalAtTheUsualNorm) {
  for (const std::int64_t head_dim : {3, 5, 9}) {  // 12, 20, 36 rows against d = 20
    ModelShape s = small_shape();
    s.head_dim = head_dim, s.rotary_dim = 0;
    ComposeParams p;
    p.recipe = "orthogonal";
    const LayerHeads h = run(p, s).weights.layers[1];
    const std::int64_t d = s.d_model;
    const auto check = [&](const std::vector<float>& w, std::int64_t heads, double stddev) {
      const Rows m = as_rows(w, d);
      const std::int64_t rows = heads * head_dim;
      ASSERT_EQ(m.rows(), rows);
      const Rows gram = rows <= d ? Rows(m * m.transpose()) : Rows(m.transpose() * m);
      const double each = stddev * stddev * static_cast<double>(rows * d) / static_cast<double>(gram.rows());
      EXPECT_LT((gram - each * Rows::Identity(gram.rows(), gram.rows())).norm(), 1e-5 * each);
    };
    check(h.query, 4, 0.02);
    check(h.key, 2, 0.02);
    check(h.value, 2, 0.02);
    check(h.output, 4, 0.02 / std::sqrt(6.0));
    EXPECT_NE(h.key, h.value);
  }
}

TEST_P(Compose, ReportsProgressAndStopsWhenAsked) {
  ComposeParams p;
  p.recipe = "random";
  (void)run(p, small_shape());
  EXPECT_EQ(progress.updates, 3);
  EXPECT_EQ(progress.last, 1);
  set_interrupt_requested(true);
  EXPECT_THROW((void)run(p, small_shape()), Interrupted);
  set_interrupt_requested(false);
}

ALOFT_ON_EACH_BACKEND(Compose);

}  // namespace
}  // namespace aloft
