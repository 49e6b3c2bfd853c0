#include <filesystem>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "pipeline/base/artifact_file.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/offset/factors.hpp"
#include "tests/offset_helpers.hpp"

namespace aloft {
namespace {

using namespace stages;

struct FactorFiles : testing::Test {
  Bench b{"cpu"};
  std::filesystem::path folder = std::filesystem::temp_directory_path() /
                                 ("aloft-factors-" + std::to_string(reinterpret_cast<std::uintptr_t>(this)));
  std::string path = (folder / "x.safetensors").string();
  Counts counts = counted(b.ctx, dependent_text(3000, 30, 1, 50), 30, 3);

  FactorFiles() { std::filesystem::create_directories(folder); }
  ~FactorFiles() override { std::filesystem::remove_all(folder); }
};

TEST_F(FactorFiles, FactorsComeBackBitForBit) {
  for (const Estimator e : {Estimator::discriminant, Estimator::tucker}) {
    FactorParams p;
    p.estimator = e;
    p.lags = 3;
    p.d_s = 6;
    p.d_o = 9;
    const LagFactors f = fit_lag_factors(b.ctx, counts, p);
    save(path, f, "k");
    EXPECT_FALSE(load<LagFactors>(b.ctx.device(), path, "other"));
    const auto got = load<LagFactors>(b.ctx.device(), path, "k");
    ASSERT_TRUE(got);
    EXPECT_EQ((std::vector{got->vocab, got->d_s, got->d_o, std::int64_t{got->lags}}),
              (std::vector<std::int64_t>{30, 6, 9, 3}));
    EXPECT_EQ(got->source, f.source);
    EXPECT_EQ(got->target, f.target);
    EXPECT_EQ(got->cores, f.cores);
    EXPECT_EQ(got->bias, f.bias);
    EXPECT_EQ(got->lag_weights, f.lag_weights);
    EXPECT_EQ(got->participation, f.participation);
    EXPECT_EQ(got->estimator, e);
    EXPECT_EQ(got->holdout_positions, f.holdout_positions);
    EXPECT_EQ(got->holdout_error, f.holdout_error);
    EXPECT_EQ(
        (std::vector{got->alpha, got->kappa, got->ridge, got->written_norm, got->holdout_loss,
                     got->holdout_unigram_loss}),
        (std::vector{f.alpha, f.kappa, f.ridge, f.written_norm, f.holdout_loss, f.holdout_unigram_loss}));
  }
}

TEST_F(FactorFiles, TheSliceComesBackWithTheCounts) {
  ASSERT_FALSE(counts.holdout.blocks.empty());
  save(path, counts, "k");
  const auto got = load<Counts>(b.ctx.device(), path, "k");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->holdout.ids, counts.holdout.ids);
  ASSERT_EQ(got->holdout.blocks.size(), counts.holdout.blocks.size());
  for (std::size_t i = 0; i < counts.holdout.blocks.size(); ++i) {
    const Holdout::Block &a = got->holdout.blocks[i], &w = counts.holdout.blocks[i];
    EXPECT_EQ((std::vector{a.first, a.before, a.own, a.after}),
              (std::vector{w.first, w.before, w.own, w.after}));
  }
  Counts bare = std::move(counts);
  bare.holdout = {};
  save(path, bare, "k");
  EXPECT_TRUE(load<Counts>(b.ctx.device(), path, "k")->holdout.blocks.empty());
}

TEST_F(FactorFiles, WhatIsNoFactorsFileIsRefused) {
  save(path, counts, "k");
  EXPECT_THROW((void)load<LagFactors>(b.ctx.device(), path, "k"), InputError);
  ArtifactFile other("factors", "k");  // the right kind, but empty
  other.add("cores", DType::f64, {2, 2}, std::vector<double>(4));
  other.write(path);
  EXPECT_THROW((void)load<LagFactors>(b.ctx.device(), path, "k"), InputError);
  ArtifactFile silent("factors", "k");  // everything but what it says of itself
  silent.add("source", DType::f64, {2, 1}, std::vector<double>(2));
  silent.add("target", DType::f64, {2, 1}, std::vector<double>(2));
  silent.add("cores", DType::f64, {1, 1, 1}, std::vector<double>(1));
  silent.add("bias", DType::f64, {2}, std::vector<double>(2));
  silent.add("lag_weights", DType::f64, {1}, std::vector<double>(1));
  silent.add("participation", DType::f64, {1}, std::vector<double>(1));
  silent.add("scalars", DType::f64, {6}, std::vector<double>(6));
  silent.say("holdout_positions", "0");
  silent.write(path);
  EXPECT_THROW((void)load<LagFactors>(b.ctx.device(), path, "k"), InputError);
}

}  // namespace
}  // namespace aloft
