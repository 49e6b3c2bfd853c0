#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cmath>
#include <random>

#include "host/error.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/model/model.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "pipeline/spectra/spectra.hpp"
#include "tests/compose_helpers.hpp"
#include "tests/decompositions.hpp"
#include "tests/per_backend.hpp"
#include "tests/recipe_helpers.hpp"

// Oracle: the target A is built here as a dense matrix from planes that Eigen made; the kernel is summed head
// by head.

namespace aloft {
namespace {

struct InjectionCase {
  const char* name;
  std::int64_t heads, kv_heads, head_dim, d, rotary_dim;
};

ModelShape shape_of(const InjectionCase& c, std::int64_t layers) {
  ModelShape s;
  s.layers = layers, s.heads = c.heads, s.kv_heads = c.kv_heads, s.head_dim = c.head_dim, s.d_model = c.d;
  s.context = 8, s.vocab = 10, s.rotary_dim = c.rotary_dim;
  return s;
}

struct Targets {
  ExpandedSpectra expanded;
  std::vector<Rows> left, right;  // per layer [m, d]
  std::vector<std::vector<double>> sigma;

  Rows matrix(std::size_t layer, std::size_t planes) const {
    const auto d = left[layer].cols();
    Rows a = Rows::Zero(d, d);
    for (std::size_t p = 0; p < planes; ++p) {
      const Rows l = left[layer].row(static_cast<Eigen::Index>(p)),
                 r = right[layer].row(static_cast<Eigen::Index>(p));
      a += sigma[layer][p] * (l.transpose() * r - r.transpose() * l);
    }
    return a;
  }
};

Targets make_targets(Device& device, std::int64_t layers, std::int64_t d) {
  const std::int64_t m = d / 2;
  std::mt19937 random(7);
  std::normal_distribution<double> gauss;
  Targets t;
  std::vector<double> left, right;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const Rows g = Rows::NullaryExpr(d, d, [&] { return gauss(random); });
    const Rows q = oracle::orthogonal_factor(g);
    t.left.emplace_back(q.topRows(m));
    t.right.emplace_back(q.middleRows(m, m));
    t.sigma.emplace_back();
    for (std::int64_t p = 0; p < m; ++p) t.sigma.back().push_back(3.0 / static_cast<double>(p + 1 + layer));
    t.expanded.planes.sigma.insert(t.expanded.planes.sigma.end(), t.sigma.back().begin(),
                                   t.sigma.back().end());
    left.insert(left.end(), t.left.back().data(), t.left.back().data() + m * d);
    right.insert(right.end(), t.right.back().data(), t.right.back().data() + m * d);
  }
  t.expanded.planes.left = matrix_from(device, left, m, d, layers);
  t.expanded.planes.right = matrix_from(device, right, m, d, layers);
  t.expanded.layers.resize(static_cast<std::size_t>(layers));
  return t;
}

double participation(const std::vector<double>& s) {
  double two = 0, four = 0;
  for (const double x : s) two += x * x, four += x * x * x * x;
  return two * two / four;
}

class Injection : public PerBackend {
 protected:
  Backend backend = make_backend(GetParam());
  NoProgress progress;
  Context ctx{backend, progress};
  ComposeParams params;
  Injection() {
    params.recipe = "spread";
    params.emit_embedding = false;
    params.noise = 0;
    params.seed = 3;
  }
};

constexpr InjectionCase kMha{"mha", 4, 4, 6, 24, 6};

TEST_P(Injection, TheKernelIsExactlyTheTargetWhereItFits) {
  for (const InjectionCase& c :
       {kMha, InjectionCase{"no rope", 4, 4, 6, 24, 0}, InjectionCase{"wide heads", 4, 4, 16, 24, 16},
        InjectionCase{"odd d", 3, 3, 10, 21, 10}, InjectionCase{"odd head_dim", 3, 3, 7, 18, 0},
        InjectionCase{"part rotary", 3, 3, 10, 20, 4}, InjectionCase{"gqa", 4, 2, 12, 24, 12}}) {
    const Targets t = make_targets(ctx.device(), 2, c.d);
    const ModelShape s = shape_of(c, 2);
    for (const Sign sign : {Sign::paper, Sign::causal}) {
      params.sign = sign;
      params.strength = 1.5;
      const Composition got = compose(ctx, params, s, &t.expanded, nullptr);
      for (std::size_t l = 0; l < 2; ++l) {
        SCOPED_TRACE(c.name);
        const Rows m = attention_kernel(got.weights.layers[l], shape_of(c, 1));
        const Rows a = t.matrix(l, t.sigma[l].size());
        const LayerComposition& info = got.layers[l];
        EXPECT_EQ(info.scale > 0, sign == Sign::paper);
        EXPECT_EQ(info.truncation_residual, 0);
        const double usual =
            static_cast<double>(c.d) * 0.02 * 0.02 * std::sqrt(static_cast<double>(c.heads * c.head_dim));
        EXPECT_NEAR(info.kernel_norm, 1.5 * usual, 1e-12);
        EXPECT_NEAR(std::abs(info.scale) * a.norm(), info.kernel_norm, 1e-12);
        const Rows target = info.scale * a;
        EXPECT_LT((m - target).norm(), 1e-6 * target.norm());
        const Rows antisymmetric = (m - m.transpose()) / 2;
        EXPECT_LT((antisymmetric - target).norm(), 1e-6 * target.norm());
        const Eigen::VectorXd sigma = oracle::singular_values(antisymmetric);
        EXPECT_NEAR(participation({sigma.data(), sigma.data() + sigma.size()}), 2 * participation(t.sigma[l]),
                    1e-4);
      }
    }
  }
}

TEST_P(Injection, WhatDoesNotFitIsTheSmallestPlanesAndIsReported) {
  for (const InjectionCase& c : {InjectionCase{"gqa", 4, 2, 6, 24, 6}, InjectionCase{"mqa", 4, 1, 6, 24, 6},
                                 InjectionCase{"odd head_dim", 4, 4, 5, 24, 0}}) {
    SCOPED_TRACE(c.name);
    const Targets t = make_targets(ctx.device(), 1, c.d);
    const Composition got = compose(ctx, params, shape_of(c, 1), &t.expanded, nullptr);
    const auto kept = static_cast<std::size_t>(c.kv_heads * (c.head_dim / 2));
    ASSERT_LT(kept, t.sigma[0].size());
    const Rows whole = t.matrix(0, t.sigma[0].size()), part = t.matrix(0, kept);
    const Rows m = attention_kernel(got.weights.layers[0], shape_of(c, 1));
    EXPECT_LT((m - got.layers[0].scale * part).norm(), 1e-6 * m.norm());
    EXPECT_NEAR(got.layers[0].truncation_residual, (whole - part).norm() / whole.norm(), 1e-9);
    EXPECT_GT(got.layers[0].truncation_residual, 0.05);
  }
}

TEST_P(Injection, StrongPlanesSitInSlowRotaryPairs) {
  const InjectionCase c{"two heads", 2, 2, 12, 24, 8};
  const Targets t = make_targets(ctx.device(), 1, c.d);
  const Composition got = compose(ctx, params, shape_of(c, 1), &t.expanded, nullptr);
  const Rows k = as_rows(got.weights.layers[0].key, c.d);
  // Rows 8..11 never turn; pairs (3,7), (2,6), (1,5), (0,4) turn ever faster.
  const int order[6][2] = {{8, 9}, {10, 11}, {3, 7}, {2, 6}, {1, 5}, {0, 4}};
  for (int h = 0; h < 2; ++h)
    for (int slot = 0; slot < 6; ++slot) {
      const double root =
          std::sqrt(std::abs(got.layers[0].scale) * t.sigma[0][static_cast<std::size_t>(2 * slot + h)]);
      const Rows l = t.left[0].row(2 * slot + h), r = t.right[0].row(2 * slot + h);
      EXPECT_LT((k.row(12 * h + order[slot][0]) - root * r).norm(), 1e-6 * root);
      EXPECT_LT((k.row(12 * h + order[slot][1]) - root * l).norm(), 1e-6 * root);
    }
}

TEST_P(Injection, QueryHeadsOfAGroupTakeTurns) {
  const InjectionCase c{"gqa", 4, 2, 6, 24, 6};
  const Targets t = make_targets(ctx.device(), 1, c.d);
  const Rows q =
      as_rows(compose(ctx, params, shape_of(c, 1), &t.expanded, nullptr).weights.layers[0].query, c.d);
  for (int group = 0; group < 2; ++group)
    for (int row = 0; row < 6; ++row) {
      const double first = q.row((2 * group) * 6 + row).norm(),
                   second = q.row((2 * group + 1) * 6 + row).norm();
      EXPECT_GT(first + second, 0);
      EXPECT_EQ(first * second, 0);
      EXPECT_EQ(first > 0, row % 3 != 1);  // slots 0, 1, 2 are pairs (2,5), (1,4), (0,3)
    }
}

TEST_P(Injection, NoiseAddsTheRandomRecipe) {
  const Targets t = make_targets(ctx.device(), 2, kMha.d);
  const ModelShape s = shape_of(kMha, 2);
  const Composition clean = compose(ctx, params, s, &t.expanded, nullptr);
  params.noise = 0.5;
  const Composition noisy = compose(ctx, params, s, &t.expanded, nullptr);
  params.recipe = "random";
  const Composition random = compose(ctx, params, s, nullptr, nullptr);
  for (std::size_t l = 0; l < 2; ++l) {
    const LayerHeads &a = clean.weights.layers[l], &b = noisy.weights.layers[l],
                     &r = random.weights.layers[l];
    for (std::size_t i = 0; i < a.query.size(); ++i) {
      ASSERT_NEAR(b.query[i], a.query[i] + 0.5F * r.query[i], 1e-7);
      ASSERT_NEAR(b.key[i], a.key[i] + 0.5F * r.key[i], 1e-7);
    }
    for (const LayerHeads* h : {&a, &b}) {  // V and O are the usual init whatever the noise
      EXPECT_EQ(h->value, r.value);
      EXPECT_EQ(h->output, r.output);
    }
  }
}

TEST_P(Injection, AZeroTargetOrZeroStrengthInjectsNothing) {
  Targets t = make_targets(ctx.device(), 1, kMha.d);
  params.noise = 1;
  params.strength = 0;
  const Composition weak = compose(ctx, params, shape_of(kMha, 1), &t.expanded, nullptr);
  params.strength = 1;
  t.expanded.planes.sigma.assign(t.expanded.planes.sigma.size(), 0.0);
  const Composition empty = compose(ctx, params, shape_of(kMha, 1), &t.expanded, nullptr);
  params.recipe = "random";
  const Composition random = compose(ctx, params, shape_of(kMha, 1), nullptr, nullptr);
  for (const Composition* c : {&weak, &empty}) {
    EXPECT_EQ(c->layers[0].scale, 0);
    EXPECT_EQ(c->layers[0].kernel_norm, 0);
    EXPECT_EQ(c->weights.layers[0].query, random.weights.layers[0].query);
  }
}

TEST_P(Injection, TheFileCarriesTheEmbeddingAtTheUsualNorm) {
  const Targets t = make_targets(ctx.device(), 1, kMha.d);
  std::vector<double> rows(7 * 24);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = std::sin(static_cast<double>(i * i + 1));
  for (std::size_t j = 0; j < 24; ++j) rows[3 * 24 + j] = 0;  // token 3 never occurred
  Embedding e{matrix_from(ctx.device(), rows, 7, 24), "file", 24};
  params.emit_embedding = true;
  params.init_std = 0.03;
  ModelShape s = shape_of(kMha, 1);
  const auto out = as_rows(compose(ctx, params, s, &t.expanded, &e).weights.embedding, 24);
  ASSERT_EQ(out.rows(), 10);
  double undesigned2 = 0;
  for (Eigen::Index i = 0; i < 10; ++i) {
    if (i == 3 || i >= 7) {
      undesigned2 += out.row(i).squaredNorm();
      EXPECT_GT(out.row(i).norm(), 0);
      continue;
    }
    EXPECT_NEAR(out.row(i).norm(), 0.03 * std::sqrt(24.0), 1e-7);
    const Eigen::Map<const Eigen::RowVectorXd> source(&rows[static_cast<std::size_t>(i) * 24], 24);
    EXPECT_NEAR(out.row(i).dot(source) / (out.row(i).norm() * source.norm()), 1, 1e-12);
  }
  EXPECT_NEAR(std::sqrt(undesigned2 / (4 * 24)) / 0.03, 1, 0.35);  // 96 normal numbers: five standard errors
  s.vocab = 6;
  EXPECT_THROW((void)compose(ctx, params, s, &t.expanded, &e), UsageError);
}

ALOFT_ON_EACH_BACKEND(Injection);

}  // namespace
}  // namespace aloft
