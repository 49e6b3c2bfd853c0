#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cmath>

#include "pipeline/counts/counts.hpp"
#include "pipeline/model/model.hpp"
#include "pipeline/model/usual_init.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "tests/compose_helpers.hpp"
#include "tests/decompositions.hpp"
#include "tests/per_backend.hpp"
#include "tests/recipe_helpers.hpp"

// The products are formed head by head and held against the targets α(I + Z) and −βI + β'Z, Z rebuilt from
// its stream, truncated by Eigen's SVD; the null is the usual random init.

namespace aloft {
namespace {

ModelShape shape_of(std::int64_t heads, std::int64_t kv, std::int64_t head_dim, std::int64_t d) {
  ModelShape s;
  s.layers = 2, s.heads = heads, s.kv_heads = kv, s.head_dim = head_dim, s.d_model = d, s.context = 8,
  s.vocab = 8;
  return s;
}

struct Products {
  std::vector<Rows> query_key;  // per head W_Q,hᵀ W_K,g(h)
  Rows output_value;            // Σ_h W_O,h W_V,g(h)
};

Products products(const LayerHeads& w, const ModelShape& s) {
  const Rows q = as_rows(w.query, s.d_model), k = as_rows(w.key, s.d_model), v = as_rows(w.value, s.d_model),
             o = as_rows(w.output, s.d_model);
  Products out{{}, Rows::Zero(s.d_model, s.d_model)};
  for (std::int64_t h = 0; h < s.heads; ++h) {
    const std::int64_t at = h * s.head_dim, shared = h / (s.heads / s.kv_heads) * s.head_dim;
    out.query_key.emplace_back(q.middleRows(at, s.head_dim).transpose() * k.middleRows(shared, s.head_dim));
    out.output_value += o.middleRows(at, s.head_dim).transpose() * v.middleRows(shared, s.head_dim);
  }
  return out;
}

/// tr(M)/(√d ‖M‖): 1 for the identity, about 0 for random.
double identity_cosine(const Rows& m) {
  return m.trace() / (std::sqrt(static_cast<double>(m.rows())) * m.norm());
}

double truncation_error(const Rows& m, Eigen::Index k) {
  const Eigen::VectorXd sigma = oracle::singular_values(m);
  return sigma.tail(sigma.size() - std::min(k, sigma.size())).norm();
}

class Mimetic : public PerBackend {
 protected:
  Backend backend = make_backend(GetParam());
  NoProgress progress;
  Context ctx{backend, progress};
  ComposeParams params;
  Mimetic() {
    params.recipe = "mimetic";
    params.seed = 11;
  }
  LayerHeads layer1(const ModelShape& s) {
    return compose(ctx, params, s, nullptr, nullptr).weights.layers[1];
  }
  Rows noise(Part part, std::int64_t matrix, std::int64_t d) {
    const auto z =
        normal(ctx, d, d, params.seed, stream_of(part, 1, matrix), 1 / std::sqrt(static_cast<double>(d)));
    return Eigen::Map<const Rows>(z.data(), d, d);
  }
};

TEST_P(Mimetic, EachHeadIsTheTruncatedTarget) {
  // head_dim against d: half (exact SVD), an eighth (subspace iteration), all of it.
  for (const ModelShape& s : {shape_of(2, 2, 32, 64), shape_of(8, 8, 16, 128), shape_of(1, 1, 24, 24)}) {
    const Products p = products(layer1(s), s);
    const double alpha = 0.7 / std::sqrt(static_cast<double>(s.d_model));
    for (std::int64_t h = 0; h < s.heads; ++h) {
      const Rows target =
          alpha * (Rows::Identity(s.d_model, s.d_model) + noise(Part::mimetic_query_key, h, s.d_model));
      const double best = truncation_error(target, s.head_dim);
      EXPECT_LT((p.query_key[static_cast<std::size_t>(h)] - target).norm(),
                1.01 * best + 1e-6 * target.norm())
          << h;
    }
  }
}

TEST_P(Mimetic, ValuesAndOutputsWriteTheNegativeIdentityExactlyWhenTheHeadsCoverTheWidth) {
  for (const ModelShape& s : {shape_of(4, 4, 16, 64), shape_of(4, 4, 20, 64)}) {
    const Products p = products(layer1(s), s);
    const Rows target = -0.05 * Rows::Identity(64, 64) + 0.01 * noise(Part::mimetic_value, 0, 64);
    EXPECT_LT((p.output_value - target).norm(), 1e-6 * target.norm());
    EXPECT_LT(identity_cosine(p.output_value), -0.95);
  }
}

TEST_P(Mimetic, DiagonalsDominateAndTheNullsDoNot) {
  const ModelShape s = shape_of(4, 4, 32, 128);
  const Products p = products(layer1(s), s);
  ComposeParams random_params;
  random_params.recipe = "random";
  const Products null = products(compose(ctx, random_params, s, nullptr, nullptr).weights.layers[1], s);
  for (std::size_t h = 0; h < 4; ++h) {
    const Rows& m = p.query_key[h];
    EXPECT_GT(identity_cosine(m), 0.35);
    EXPECT_LT(std::abs(identity_cosine(null.query_key[h])), 0.1);
    const double off = std::sqrt((m.squaredNorm() - m.diagonal().squaredNorm()) / (128.0 * 127));
    EXPECT_GT(m.diagonal().mean(), 4 * off);
    EXPECT_GT(m.diagonal().minCoeff(), 0);
  }
  EXPECT_LT(std::abs(identity_cosine(null.output_value)), 0.1);
  EXPECT_LT(p.output_value.diagonal().maxCoeff(), -0.04);
}

TEST_P(Mimetic, GroupedQueriesShareKeysButDiffer) {
  const ModelShape s = shape_of(4, 2, 16, 64);
  const LayerHeads w = layer1(s);
  const Products p = products(w, s);
  const Rows q = as_rows(w.query, 64);
  EXPECT_GT((q.topRows(16) - q.middleRows(16, 16)).norm(), 0.3 * q.topRows(16).norm());
  for (std::size_t h = 0; h < 4; ++h) EXPECT_GT(identity_cosine(p.query_key[h]), 0.25);
  // The best common key space: no rank-16 factor of the two stacked targets leaves less.
  const double alpha = 0.7 / 8;
  Rows stacked(128, 64), got(128, 64);
  for (Eigen::Index h = 0; h < 2; ++h) {
    stacked.middleRows(64 * h, 64) = alpha * (Rows::Identity(64, 64) + noise(Part::mimetic_query_key, h, 64));
    got.middleRows(64 * h, 64) = p.query_key[static_cast<std::size_t>(h)];
  }
  EXPECT_LT((got - stacked).norm(), 1.01 * truncation_error(stacked, 16));
  // The values hold rank 32 of 64, and the sum over heads is the best approximation of that rank.
  const Rows target = -0.05 * Rows::Identity(64, 64) + 0.01 * noise(Part::mimetic_value, 0, 64);
  EXPECT_LT((p.output_value - target).norm(), (1 + 1e-4) * truncation_error(target, 32));
  EXPECT_LT(identity_cosine(p.output_value), -0.6);
}

TEST_P(Mimetic, TheFlagsAreTheScales) {
  const ModelShape s = shape_of(1, 1, 32, 32);
  params.mimetic_key = 0.2;
  params.mimetic_value = 0.4;
  params.mimetic_value_noise = 0;
  const Composition c = compose(ctx, params, s, nullptr, nullptr);
  const Products p = products(c.weights.layers[1], s);
  EXPECT_LT((p.output_value + 0.4 * Rows::Identity(32, 32)).norm(), 1e-5);
  const Rows target = 0.2 * (Rows::Identity(32, 32) + noise(Part::mimetic_query_key, 0, 32));
  EXPECT_LT((p.query_key[0] - target).norm(), 1e-5);
  ASSERT_EQ(c.layers[1].measures.size(), 2u);
  EXPECT_NEAR(c.layers[1].measures[0].second, p.query_key[0].trace() / 32, 1e-9);
  EXPECT_NEAR(c.layers[1].measures[1].second, -0.4, 1e-6);
}

TEST_P(Mimetic, RowsBeyondTheWidthCanLearnButDoNothingYet) {
  const ModelShape s = shape_of(2, 2, 40, 32);  // one head is wider than the model
  const LayerHeads w = layer1(s);
  const Rows q = as_rows(w.query, 32), k = as_rows(w.key, 32), v = as_rows(w.value, 32),
             o = as_rows(w.output, 32);
  for (Eigen::Index row = 32; row < 40; ++row) {
    EXPECT_EQ(q.row(row).norm(), 0);
    EXPECT_GT(k.row(row).norm(), 0);
  }
  EXPECT_EQ(o.row(20).norm(), 0);  // 32 triplets over two heads: 16 rows each
  EXPECT_GT(v.row(20).norm(), 0);
}

TEST_P(Mimetic, BothFactorsHaveTheSameNorm) {
  const ModelShape s = shape_of(4, 4, 16, 64);
  const LayerHeads w = layer1(s);
  EXPECT_NEAR(as_rows(w.query, 64).norm() / as_rows(w.key, 64).norm(), 1, 1e-6);
  EXPECT_NEAR(as_rows(w.value, 64).norm() / as_rows(w.output, 64).norm(), 1, 1e-6);
}

ALOFT_ON_EACH_BACKEND(Mimetic);

}  // namespace
}  // namespace aloft
