#include "pipeline/recipes/spectra_report.hpp"
#include "pipeline/spectra/gaussian_null.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/stage_helpers.hpp"

namespace aloft {
namespace {

using namespace stages;
using nlohmann::json;

class ReportedSpectra : public PerBackend {};

struct Reported : Bench {
  static constexpr std::int64_t vocab = 40, width = 12;
  Counts counts = counts_of(ctx.device(), walk(3000, vocab, 8), vocab, 2);
  Embedding embedding = embed_ppmi_svd(ctx, counts, width, 1);
  Projections projections = project(ctx, counts, embedding);
  Spectra spectra = decompose(ctx, projections);
  ExpandedSpectra expanded;
  SpectraReport report;

  explicit Reported(const std::string& name) : Bench(name) {
    ExpandParams p;
    p.layer_lags = {1, 2, 2};
    p.pr_target = 7;
    expanded = expand(ctx, projections, spectra, p);
    report.lags = {&counts, measure_asymmetry(ctx, counts), &spectra};
    report.expanded = &expanded;
    report.pr_target = 7;
    report.composed = {{1.5, 2.5, 0.25, {{"figure", 3.0}}}, {}, {}};
  }
};

TEST_P(ReportedSpectra, FiguresAgreeWithTheMatrices) {
  Reported r(GetParam());
  const json out = json::parse(spectra_report_json(r.ctx, r.report));
  EXPECT_EQ(out["tokens"], 3000);
  EXPECT_EQ(out["d_model"], 12);
  ASSERT_EQ(out["lags"].size(), 2u);
  for (std::size_t lag = 0; lag < 2; ++lag) {
    const json& row = out["lags"][lag];
    EXPECT_EQ(row["lag"], lag + 1);
    EXPECT_EQ(row["pairs"], 3000 - 1 - lag);
    const Dense p = dense_of(r.projections.transition, static_cast<std::int64_t>(lag));
    const Dense skew = (p - p.transpose()) / 2;
    EXPECT_NEAR(row["antisymmetric"]["pr_energy"], pr_of(skew), 1e-9);
    EXPECT_NEAR(row["general"]["pr_energy"], pr_of(p), 1e-9);
    EXPECT_NEAR(row["general"]["norm"], p.norm(), 1e-12);
    const auto sigma = row["antisymmetric"]["sigma"].get<std::vector<double>>();
    ASSERT_EQ(sigma.size(), 12u);  // the full list: in pairs
    for (std::size_t k = 0; k < 12; k += 2) EXPECT_EQ(sigma[k], sigma[k + 1]);
    const double ratio = row["counts_asymmetry"]["ratio"], energy = row["counts_asymmetry"]["energy"];
    EXPECT_NEAR(ratio * ratio, energy, 1e-14);
    EXPECT_FALSE(row.contains("null_shuffled"));
  }
  EXPECT_EQ(out["lags"][0]["paper"]["transition_asymmetry_ratio"], 0.707);
  EXPECT_FALSE(out["lags"][1].contains("paper"));
}

TEST_P(ReportedSpectra, LayersAndFrontier) {
  Reported r(GetParam());
  const json out = json::parse(spectra_report_json(r.ctx, r.report));
  ASSERT_EQ(out["layers"].size(), 3u);
  const json& layer = out["layers"][1];
  EXPECT_EQ(layer["lag"], 2);
  EXPECT_EQ(layer["method"], "pareto");
  EXPECT_NEAR(layer["after"]["pr_energy"], 7, 1e-8);
  EXPECT_NEAR(layer["before"]["pr_energy"].get<double>(),
              out["lags"][1]["antisymmetric"]["pr_energy"].get<double>(), 1e-12);
  std::vector<double> targets;
  for (const json& row : layer["frontier"]) {
    targets.push_back(row["pr_target"]);
    EXPECT_GE(row["pareto_cosine"].get<double>(), row["temper_cosine"].get<double>() - 1e-12);
    if (row["pr_target"] == 7) {
      EXPECT_NEAR(row["pareto_cosine"].get<double>(), layer["spectral_cosine"].get<double>(), 1e-12);
    }
  }
  EXPECT_EQ(targets, (std::vector<double>{5, 7, 10}));  // 18.1 and more are above the rank, 12
  EXPECT_EQ(out["layers"][0]["composition"]["measures"]["figure"], 3.0);
  EXPECT_EQ(out["layers"][0]["composition"]["truncation_residual"], 0.25);
}

TEST_P(ReportedSpectra, NullStandsBesideEveryLagAndTheTextIsReproducible) {
  Reported r(GetParam());
  auto shuffled = walk(3000, Reported::vocab, 8);
  std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937_64(1));
  const Counts null_counts = counts_of(r.ctx.device(), shuffled, Reported::vocab, 2);
  const Spectra null_spectra = decompose(r.ctx, project(r.ctx, null_counts, r.embedding));
  r.report.null = LagMeasurements{&null_counts, measure_asymmetry(r.ctx, null_counts), &null_spectra};
  const std::string text = spectra_report_json(r.ctx, r.report);
  EXPECT_EQ(text, spectra_report_json(r.ctx, r.report));
  const json out = json::parse(text);
  for (const json& row : out["lags"]) {
    EXPECT_EQ(row["null_shuffled"]["tokens"], 3000);
    EXPECT_LT(row["null_shuffled"]["counts_asymmetry"]["ratio"].get<double>(),
              row["counts_asymmetry"]["ratio"].get<double>());
    for (const auto& [name, value] : row["null_shuffled"].items())
      if (name != "tokens") {
        EXPECT_TRUE(row.contains(name)) << name;
      }
  }
}

TEST_P(ReportedSpectra, GaussianNullAtThePapersWidth) {
  Bench b(GetParam());
  const GaussianNull null = measure_gaussian_null(b.ctx, 256, 0);
  const auto pr = [](const std::vector<double>& planes, int power) {
    double first = 0, second = 0, fourth = 0;
    for (const double s : planes) first += s, second += s * s, fourth += s * s * s * s;
    return 2 * (power == 2 ? second * second / fourth : first * first / second);
  };
  // Mean of eight NumPy samples: 102.2 ± 0.8 and 165.0 ± 0.6; 127.7 ± 0.6 and 184.0 ± 0.5.
  EXPECT_NEAR(pr(null.kernel.planes, 2), 102.2, 4);
  EXPECT_NEAR(pr(null.kernel.planes, 1), 165.0, 3);
  EXPECT_NEAR(pr(null.plain.planes, 2), 127.7, 3);
  EXPECT_NEAR(pr(null.plain.planes, 1), 184.0, 2.5);
  EXPECT_NEAR(null.kernel.ratio, std::sqrt(0.5), 0.01);
  EXPECT_NEAR(null.plain.ratio, std::sqrt(0.5), 0.01);
}

ALOFT_ON_EACH_BACKEND(ReportedSpectra);

}  // namespace
}  // namespace aloft
