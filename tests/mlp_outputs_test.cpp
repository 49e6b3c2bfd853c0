#include "pipeline/recipes/mlp_outputs.hpp"

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <random>

#include "kernels/ops.hpp"

// What MLPs add to the residual stream, beside MLPs that are actually run.

namespace aloft::recipes {
namespace {

ModelShape shape_of(std::int64_t layers, std::int64_t d, std::int64_t width) {
  ModelShape s{layers, 4, 4, d / 4, d, 32, 100};
  s.mlp_width = width;
  return s;
}

ComposeParams params_of(double std, bool residual_scaled = false) {
  ComposeParams p;
  p.seed = 7;
  p.init_std = std;
  p.residual_scaled = residual_scaled;
  return p;
}

/// One MLP of this output projection [d, width] and fresh normal inputs: ‖what it adds‖², on average over
/// inputs of length √d.
double run_mlp(const Eigen::MatrixXd& output, double std, Hidden kind, std::mt19937_64& random) {
  const Eigen::Index d = output.rows(), width = output.cols(), inputs = 50;
  std::normal_distribution<double> normal;
  const auto draw = [&](Eigen::Index rows, Eigen::Index cols, double scale) {
    return Eigen::MatrixXd(Eigen::MatrixXd::NullaryExpr(rows, cols, [&] { return scale * normal(random); }));
  };
  Eigen::MatrixXd x = draw(d, inputs, 1);
  for (Eigen::Index i = 0; i < inputs; ++i) x.col(i) *= std::sqrt(static_cast<double>(d)) / x.col(i).norm();
  const Eigen::MatrixXd z = draw(width, d, std) * x;
  Eigen::MatrixXd hidden;
  if (kind == Hidden::gated)
    hidden = (z.array() / (1 + (-z.array()).exp()) * (draw(width, d, std) * x).array()).matrix();
  else if (kind == Hidden::relu2)
    hidden = z.unaryExpr([](double a) { return a > 0 ? a * a : 0; });
  else
    hidden = z.unaryExpr([](double a) { return a * (1 + std::erf(a / std::sqrt(2.0))) / 2; });
  return (output * hidden).squaredNorm() / static_cast<double>(inputs);
}

Eigen::MatrixXd matrix(const std::vector<float>& x, std::int64_t rows, std::int64_t cols) {
  return Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(x.data(),
                                                                                                 rows, cols)
      .cast<double>();
}

TEST(MlpOutputs, TheUsualInitAddsWhatIsSaid) {
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal;
  for (const Hidden kind : {Hidden::gelu, Hidden::gated, Hidden::relu2})
    for (const double std : {0.02, 0.1, 0.4})
      for (const bool scaled : {false, true}) {
        const ModelShape s = shape_of(3, 64, 200);
        const double out = scaled ? std / std::sqrt(6.0) : std;
        double added2 = 0;
        for (int l = 0; l < 3; ++l)
          for (int draw = 0; draw < 4; ++draw)
            added2 += run_mlp(Eigen::MatrixXd::NullaryExpr(64, 200, [&] { return out * normal(random); }),
                              std, kind, random) /
                      4;
        EXPECT_NEAR(mlp_added2(params_of(std, scaled), s, kind, 200) / added2, 1, 0.1)
            << static_cast<int>(kind) << " " << std << " " << scaled;
      }
}

TEST(MlpOutputs, AreBoundedWhereTheyWouldDrownTheDesign) {
  Backend backend = make_backend("cpu");
  NoProgress progress;
  Context ctx{backend, progress};
  std::mt19937_64 random(2);
  for (const Hidden kind : {Hidden::gelu, Hidden::gated, Hidden::relu2}) {
    const ModelShape s = shape_of(3, 64, 200);
    const ComposeParams p = params_of(0.3);
    ASSERT_GT(mlp_added2(p, s, kind, 200), 5);
    const auto out = bounded_mlp_outputs(ctx, p, s, kind, 0.2);
    ASSERT_EQ(out.size(), 3u);
    double added2 = 0;
    for (const auto& x : out) {
      ASSERT_EQ(x.size(), 64u * 200u);
      for (int draw = 0; draw < 4; ++draw) added2 += run_mlp(matrix(x, 64, 200), 0.3, kind, random) / 4;
    }
    EXPECT_NEAR(added2, 0.2, 0.02) << static_cast<int>(kind);
    EXPECT_NE(out[0], out[1]);
    EXPECT_EQ(bounded_mlp_outputs(ctx, p, s, kind, 0.2), out);
  }
}

TEST(MlpOutputs, AreLeftToTheModelWhereTheyAddLittle) {
  Backend backend = make_backend("cpu");
  NoProgress progress;
  Context ctx{backend, progress};
  const ModelShape s = shape_of(3, 64, 200);
  const double usual = mlp_added2(params_of(0.02), s, Hidden::gated, 200);
  EXPECT_TRUE(bounded_mlp_outputs(ctx, params_of(0.02), s, Hidden::gated, usual * 1.01).empty());
  EXPECT_EQ(bounded_mlp_outputs(ctx, params_of(0.02), s, Hidden::gated, usual * 0.99).size(), 3u);
  EXPECT_TRUE(bounded_mlp_outputs(ctx, params_of(0.3), shape_of(3, 64, 0), Hidden::gated, 0.2).empty());
}

}  // namespace
}  // namespace aloft::recipes
