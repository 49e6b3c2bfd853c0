#include <algorithm>
#include <cmath>
#include <map>

#include "pipeline/analysis/analysis.hpp"
#include "tests/stage_helpers.hpp"

// The whole of `aloft analyze`, on every backend: the CPU's tables, cell by cell.

namespace aloft::analysis {
namespace {

constexpr std::int64_t kIds = 40;

struct SmallModel {
  Model model;
  std::vector<ModelLayer> layers;

  /// Grouped queries, an untied head, biases.
  explicit SmallModel(unsigned seed) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal;
    const auto numbers = [&](std::int64_t n) {
      std::vector<float> out(static_cast<std::size_t>(n));
      for (float& x : out) x = 0.1F * normal(rng);
      return out;
    };
    ModelShape& s = model.shape;
    s.layers = 2;
    s.heads = 4;
    s.kv_heads = 2;
    s.head_dim = s.rotary_dim = 4;
    s.d_model = 16;
    s.context = 12;
    s.vocab = kIds;
    model.architecture.position = Architecture::Position::rope;
    model.embedding = numbers(kIds * 16);
    model.head = numbers(kIds * 16);
    for (int l = 0; l < 2; ++l)
      layers.push_back({{numbers(256), numbers(128), numbers(128), numbers(256)}, {numbers(16), numbers(8)}});
    model.layer = [this](std::int64_t l) { return layers.at(static_cast<std::size_t>(l)); };
  }
};

Analysis analysed(const std::string& backend, std::int64_t permutations = 6,
                  std::int64_t widest = kWidestPermuted) {
  stages::Bench bench(backend);
  const SmallModel one(1), two(2);
  const Counts counts = stages::counts_of(bench.ctx.device(), stages::walk(1500, kIds, 3), kIds, 2);
  AnalysisParams params;
  params.permutations = permutations;
  params.widest_permuted = widest;
  params.draws = 4;
  return analyze(bench.ctx, one.model, &two.model, &counts, params);
}

class AnalysisBackends : public PerBackend {};

TEST_P(AnalysisBackends, AgreeOnEveryCell) {
  const Analysis want = analysed("cpu"), got = analysed(GetParam());
  ASSERT_EQ(got.tables.size(), want.tables.size());
  std::size_t numbers = 0;
  for (std::size_t t = 0; t < want.tables.size(); ++t) {
    const Table &a = want.tables[t], &b = got.tables[t];
    ASSERT_EQ(a.rows.size(), b.rows.size()) << a.name;
    if (a.name == "claims") continue;  // which of equally far rows is named is a matter of rounding
    for (std::size_t r = 0; r < a.rows.size(); ++r)
      for (std::size_t c = 0; c < a.columns.size(); ++c) {
        const auto* x = std::get_if<double>(&a.rows[r][c]);
        const auto* y = std::get_if<double>(&b.rows[r][c]);
        if (x == nullptr || y == nullptr) {
          EXPECT_TRUE(a.rows[r][c] == b.rows[r][c]) << a.name << ' ' << r << ' ' << c;
          continue;
        }
        ++numbers;
        EXPECT_NEAR(*x, *y, 1e-8 * (1 + std::abs(*x))) << a.name << ' ' << r << ' ' << a.columns[c].name;
      }
  }
  EXPECT_GT(numbers, 5000U);
}

/// The models that are too wide for permutations: the same values, next to nulls as wide as many permutations
/// show.
TEST_P(AnalysisBackends, NullsByFormulaAreThoseOfManyPermutations) {
  const Analysis permuted = analysed(GetParam(), 300), formula = analysed(GetParam(), 300, 1);
  std::map<std::string, std::vector<double>>
      ratios;  // of a table's measure: sd by formula over sd of permutations
  for (std::size_t t = 0; t < permuted.tables.size(); ++t) {
    const Table &a = permuted.tables[t], &b = formula.tables[t];
    if (a.name != "match" && a.name != "correlations" && a.name != "bands") continue;
    ASSERT_EQ(a.rows.size(), b.rows.size()) << a.name;
    std::size_t value = 0;
    while (a.columns[value].name != "value") ++value;
    // rows of one table come in the same order, whatever their null
    for (std::size_t r = 0; r < a.rows.size(); ++r) {
      EXPECT_TRUE(
          std::equal(a.rows[r].begin(), a.rows[r].begin() + std::ptrdiff_t(value), b.rows[r].begin()));
      EXPECT_NEAR(std::get<double>(a.rows[r][value]), std::get<double>(b.rows[r][value]), 1e-10);
      const auto *x = std::get_if<double>(&a.rows[r][value + 2]),
                 *y = std::get_if<double>(&b.rows[r][value + 2]);
      if (x == nullptr || y == nullptr || *x < 1e-9) continue;
      const std::string measure = a.name == "match" ? std::get<std::string>(a.rows[r][5]) : "";
      if (measure != "spectral_cosine") ratios[a.name + measure].push_back(*y / *x);
    }
  }
  ASSERT_EQ(ratios.size(), 4U);
  for (auto& [name, list] : ratios) {
    std::sort(list.begin(), list.end());
    // overlaps are means of two, whose sd the formula bounds from above
    EXPECT_GT(list[list.size() / 2], 0.9) << name;
    EXPECT_LT(list[list.size() / 2], name == "matchsubspace_overlap" ? 1.6 : 1.1) << name;
  }
}

ALOFT_ON_EACH_BACKEND(AnalysisBackends);

}  // namespace
}  // namespace aloft::analysis
