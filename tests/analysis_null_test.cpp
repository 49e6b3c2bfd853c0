#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <numeric>
#include <set>

#include "pipeline/analysis/analysis.hpp"
#include "pipeline/analysis/claims.hpp"
#include "pipeline/model/rotary.hpp"
#include "tests/decompositions.hpp"
#include "tests/stage_helpers.hpp"

// Does `aloft analyze` find what is there, and only that? Models of random weights, in which it is to find
// nothing, and the same with something planted, seed after seed.

namespace aloft::analysis {
namespace {

using stages::Dense;

/// 100 with ALOFT_NULL_SEEDS=100, as the claim is made; fewer in everyday's tests.
std::int64_t seeds() {
  const char* asked = std::getenv("ALOFT_NULL_SEEDS");
  return asked == nullptr ? 4 : std::atoll(asked);
}
constexpr std::int64_t kVocab = 48;
constexpr std::int32_t kLags = 3;

/// Matrices this small are done before a second thread has woken up.
struct OneThread {
  Backend backend = make_backend("cpu", 1);
  NoProgress progress;
  Context ctx{backend, progress};
};

ModelShape small_shape(std::int64_t layers) {
  ModelShape s;
  s.layers = layers;
  s.heads = s.kv_heads = 4;
  s.head_dim = 8;
  s.d_model = 32;
  s.context = 16;
  s.vocab = kVocab;
  s.rotary_dim = 8;
  return s;
}

std::vector<float> floats(const Dense& m) { return {m.data(), m.data() + m.size()}; }

Dense gaussian(std::mt19937_64& rng, std::int64_t rows, std::int64_t cols, double size) {
  std::normal_distribution<double> normal;
  Dense out(rows, cols);
  for (std::int64_t i = 0; i < out.size(); ++i) out.data()[i] = size * normal(rng);
  return out;
}

/// A model of independent normal weights, kept as matrices for a test to change.
struct RandomModel {
  ModelShape shape;
  Dense embedding;
  struct Layer {
    Dense query, key, value, output;  // [32, 32]: heads under each other
  };
  std::vector<Layer> layers;

  RandomModel(std::int64_t n, unsigned seed) : shape(small_shape(n)) {
    std::mt19937_64 rng(seed);
    embedding = gaussian(rng, kVocab, 32, 1);
    for (std::int64_t l = 0; l < n; ++l)
      layers.push_back({gaussian(rng, 32, 32, 0.02), gaussian(rng, 32, 32, 0.02), gaussian(rng, 32, 32, 0.02),
                        gaussian(rng, 32, 32, 0.02)});
  }
  [[nodiscard]] Model model() const {
    Model out;
    out.architecture.name = "test";
    out.architecture.position = Architecture::Position::rope;
    out.shape = shape;
    out.embedding = floats(embedding);
    out.layer = [this](std::int64_t l) {
      const Layer& x = layers.at(static_cast<std::size_t>(l));
      return ModelLayer{{floats(x.query), floats(x.key), floats(x.value), floats(x.output)}, {}};
    };
    return out;
  }
};

AnalysisParams params(std::uint64_t seed) {
  AnalysisParams out;
  out.permutations = 150;
  out.seed = seed;
  return out;
}

const Table& table(const Analysis& a, const std::string& name) {
  for (const Table& t : a.tables)
    if (t.name == name) return t;
  throw Error("no table " + name);
}

/// claim -> whether it was found
std::map<std::string, bool> claims(const Analysis& a) {
  std::map<std::string, bool> out;
  for (const auto& row : table(a, "claims").rows)
    out[std::get<std::string>(row[0])] = std::get<std::int64_t>(row[8]) == 1;
  return out;
}

TEST(AnalysisNull, InRandomWeightsNothingIsFound) {
  OneThread bench;
  const Counts counts = stages::counts_of(bench.ctx.device(), stages::walk(3000, kVocab, 5), kVocab, kLags);
  std::map<std::string, int> found;
  for (unsigned seed = 0; seed < seeds(); ++seed) {
    const RandomModel one(3, 2 * seed + 1), two(3, 2 * seed + 2);
    const Model first = one.model(), second = two.model();
    for (const auto& [claim, yes] : claims(analyze(bench.ctx, first, &second, &counts, params(seed))))
      found[claim] += yes ? 1 : 0;
  }
  EXPECT_EQ(found.size(), 18U) << "every claim is made";
  for (const auto& [claim, times] : found) EXPECT_LE(times, std::max<std::int64_t>(seeds() / 20, 1)) << claim;
}

/// Rows q, k [8, 32] of a head with the kernel nearest to m of that rank.
void plant(RandomModel::Layer& layer, std::int64_t head, const Dense& m, double size) {
  const oracle::Svd svd = oracle::svd(m);
  for (std::int64_t r = 0; r < 8; ++r) {
    const double root = size * std::sqrt(svd.values[r] / svd.values[0]);
    layer.query.row(8 * head + r) += root * svd.u.col(r).transpose();
    layer.key.row(8 * head + r) += root * svd.v.col(r).transpose();
  }
}

/// Looks one token back: scores cos((Δ − 1)θ) when every token is the average one.
void plant_previous_token(RandomModel& model, std::int64_t l, std::int64_t head, const Dense& unit_mean) {
  const auto turn = rope_frequencies(8, 10000);
  const Dense direction = unit_mean / unit_mean.squaredNorm();
  RandomModel::Layer& layer = model.layers[static_cast<std::size_t>(l)];
  for (std::int64_t i = 0; i < 4; ++i) {
    const double t = turn[static_cast<std::size_t>(i)];
    layer.query.row(8 * head + i) = 8 * std::cos(t) * direction;
    layer.query.row(8 * head + i + 4) = -8 * std::sin(t) * direction;
    layer.key.row(8 * head + i) = 8 * direction;
    layer.key.row(8 * head + i + 4).setZero();
  }
}

/// Q and K with one spectrum, another in each layer, on random directions of both sides.
void plant_twins(std::mt19937_64& rng, RandomModel::Layer& layer, double decay) {
  Dense sigma = Dense::Zero(32, 32);
  for (std::int64_t i = 0; i < 32; ++i) sigma(i, i) = 0.02 * std::exp(-decay * static_cast<double>(i));
  for (Dense* w : {&layer.query, &layer.key})
    *w = oracle::orthogonal_factor(gaussian(rng, 32, 32, 1)) * sigma *
         oracle::orthogonal_factor(gaussian(rng, 32, 32, 1)).transpose();
}

/// M_A of the layer gets the spectrum of a, on random directions.
void plant_spectrum(std::mt19937_64& rng, RandomModel::Layer& layer, const Dense& a) {
  const Dense turn = oracle::orthogonal_factor(gaussian(rng, 32, 32, 1));
  const oracle::Svd svd = oracle::svd(turn * a * turn.transpose());
  const Dense root = (svd.values / svd.values[0]).cwiseSqrt().asDiagonal();
  layer.query = 0.02 * root * svd.u.transpose();
  layer.key = 0.02 * root * svd.v.transpose();
}

Dense antisymmetric_projection(const RandomModel& model, const Dense& j) {
  Dense t = j;
  for (Eigen::Index i = 0; i < t.rows(); ++i)
    if (t.row(i).sum() > 0) t.row(i) /= t.row(i).sum();
  const Dense p = model.embedding.transpose() * t * model.embedding;
  return (p - p.transpose()) / 2;
}

TEST(AnalysisNull, WhatIsPlantedIsFoundEveryTime) {
  OneThread bench;
  const auto ids = stages::walk(3000, kVocab, 5);
  const Counts counts = stages::counts_of(bench.ctx.device(), ids, kVocab, kLags);
  const auto dense = stages::naive_counts(ids, kVocab, kLags);
  double all = 0;
  for (const std::uint64_t n : counts.unigram) all += static_cast<double>(n) + 0.5;
  for (unsigned seed = 0; seed < seeds(); ++seed) {
    std::mt19937_64 rng(1000 + seed);
    RandomModel planted(5, 500 + seed);
    for (Eigen::Index j = 0; j < 32; ++j)  // concentrated, as embeddings of text make the corpus' spectra
      planted.embedding.col(j) *= 2 * std::exp(-static_cast<double>(j) / 6);
    planted.embedding.rowwise() += 0.3 * Eigen::RowVectorXd::Ones(32);  // the average token is something
    Dense mean = Dense::Zero(1, 32);
    for (std::int64_t i = 0; i < kVocab; ++i) {
      const auto row = planted.embedding.row(i);
      mean += (static_cast<double>(counts.unigram[static_cast<std::size_t>(i)]) + 0.5) / all * row /
              std::sqrt(row.squaredNorm() / 32);
    }

    plant(planted.layers[1], 2, antisymmetric_projection(planted, dense[2]), 0.2);
    plant_previous_token(planted, 3, 1, mean);
    plant_spectrum(rng, planted.layers[4], antisymmetric_projection(planted, dense[0]));

    const Model model = planted.model();
    const Analysis a = analyze(bench.ctx, model, nullptr, &counts, params(seed));
    const auto found = claims(a);
    EXPECT_TRUE(found.at("qk_heads_follow_corpus")) << seed;

    EXPECT_TRUE(found.at("spectra_match_corpus")) << seed;

    bool head_found = false;
    for (const auto& row :
         table(a, "match").rows)  // circuit, layer, head, lag, part, measure, value, ..., p_family
      if (row[0] == Cell(std::string("QK")) && row[1] == Cell(std::int64_t{1}) &&
          row[2] == Cell(std::int64_t{2}) && row[3] == Cell(std::int64_t{3}) &&
          row[4] == Cell(std::string("antisymmetric")) && row[5] == Cell(std::string("matrix_cosine")))
        head_found = std::get<double>(row[10]) < kSignificant && std::get<double>(row[6]) > 0.5;
    EXPECT_TRUE(head_found) << seed;
    std::set<std::pair<std::int64_t, std::int64_t>> previous;
    for (const auto& row : table(a, "labels").rows)
      if (std::get<std::string>(row[2]).find("previous-token") != std::string::npos)
        previous.emplace(std::get<std::int64_t>(row[0]), std::get<std::int64_t>(row[1]));
    EXPECT_EQ(previous.count({3, 1}), 1U) << seed;
  }
}

TEST(AnalysisNull, TwinsAreFoundEveryTime) {
  OneThread bench;
  for (unsigned seed = 0; seed < seeds(); ++seed) {
    std::mt19937_64 rng(2000 + seed);
    RandomModel planted(7, 700 + seed);
    for (std::size_t l = 0; l < planted.layers.size(); ++l)
      plant_twins(rng, planted.layers[l], 0.02 + 0.05 * static_cast<double>(l));
    const Model model = planted.model();
    AnalysisParams more = params(seed);
    more.permutations = 400;  // one in 5,040 is no permutation at all
    EXPECT_TRUE(claims(analyze(bench.ctx, model, nullptr, nullptr, more)).at("query_key_twinning")) << seed;
  }
}

}  // namespace
}  // namespace aloft::analysis
