#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "kernels/softmax.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/run/run.hpp"
#include "tests/cli_helpers.hpp"
#include "tests/emit_helpers.hpp"
#include "tests/simt/cudart.hpp"

// What crosses the bus between host and GPU while a run designs, stage by stage: what is kept in files, small
// matrices, vectors of the vocabulary and the held-out slice. Counts and matrices [V, d] stay where they are.

namespace aloft {
namespace {

constexpr std::uint64_t kDouble = sizeof(double), kSingle = sizeof(float);
constexpr std::uint64_t kNumbers = 2048;  // bytes: sizes, norms, checks that all is finite, indices of rows

struct Crossed {
  std::uint64_t up = 0, down = 0;  ///< bytes
};

/// What crossed in each stage, and between the end of the one before it and its beginning.
class Crossings final : public ProgressSink {
 public:
  void update(std::string_view, double, double, std::uint64_t, std::string_view) override {}
  void finish(std::string_view stage, double, bool) override {
    Crossed& here = stages[std::string(stage)];
    here.up += simt::runtime.uploaded - last_.up;
    here.down += simt::runtime.downloaded - last_.down;
    last_ = {simt::runtime.uploaded, simt::runtime.downloaded};
  }
  std::map<std::string, Crossed> stages;

 private:
  Crossed last_{simt::runtime.uploaded, simt::runtime.downloaded};
};

/// What crossed in a run's stages, and what the bounds are made of. The counts' own file is not in it.
struct Measured {
  std::map<std::string, Crossed> stages;
  std::uint64_t slice_pairs = 0;  ///< at most, of all lags
  std::uint64_t positions = 0;    ///< tokens of the slice
  std::uint64_t saved = 0;        ///< bytes of the factors' file
  [[nodiscard]] Crossed of(const std::string& stage) const { return stages.at(stage); }
};

class CudaBus : public testing::Test {
 protected:
  static constexpr std::uint64_t kVocab = 300, kWidth = 32, kLags = 2, kLayers = 2;
  static constexpr int kShort = 700, kLong = 3000;  // words: one block of the slice, and five
  static constexpr std::uint64_t kSquare = kWidth * kWidth * kDouble, kVector = kVocab * kDouble;
  /// The four attention matrices of every layer, as heads · head_dim = d.
  static constexpr std::uint64_t kAttention = kLayers * 4 * kWidth * kWidth * kSingle;

  CudaBus() {
    config_.corpus.tokenizer = "words";
    config_.corpus.vocab_size = kVocab;
    config_.lags = kLags;
    config_.backend = "cuda";
    config_.threads = 1;
    config_.null_tokens = 0;
    config_.expand.pr_target = 5;
    flags_.layers = kLayers;
    flags_.heads = 2;
    flags_.d_model = kWidth;
    flags_.context = 16;
  }
  Measured run(int words) {
    const std::string name = config_.compose.recipe + std::to_string(words);
    config_.corpus.paths = {folder_.file(name + ".txt", cli_tests::sample_text(words, 5, kVocab - 10))};
    config_.output = folder_ / name;
    config_.force = true;
    Crossings crossings;
    (void)run_init(config_, flags_, {}, architecture("llama"), "{}", crossings, [](const std::string&) {});
    Measured out{crossings.stages};

    Backend host = make_backend("cpu");
    const auto counts = load<Counts>(*host.device, config_.output + "/counts.safetensors", "");
    for (const Holdout::Block& b : counts->holdout.blocks) {
      out.positions += std::uint64_t(b.own);
      out.slice_pairs += 2 * kLags * std::uint64_t(b.own);
    }
    // They are saved when the stage that made them is over.
    Crossed& next = out.stages.at(config_.compose.recipe == "spread" ? "embed" : "factors");
    for (const CountCsr& lag : counts->lags) next.down -= csr_bytes(lag.rows, lag.nnz());
    for (const auto& [stage, c] : out.stages)
      RecordProperty(stage + std::to_string(words),
                     std::to_string(c.up) + " up, " + std::to_string(c.down) + " down");
    if (const std::string factors = config_.output + "/factors.safetensors"; std::filesystem::exists(factors))
      out.saved = std::filesystem::file_size(factors);
    return out;
  }
  static void expect_at_most(const Measured& m, const std::string& stage, std::uint64_t up,
                             std::uint64_t down) {
    EXPECT_LE(m.of(stage).up, up + kNumbers) << stage;
    EXPECT_LE(m.of(stage).down, down + kNumbers) << stage;
  }
  cli_tests::Folder folder_;
  RunConfig config_;
  ModelFlags flags_;
};

TEST_F(CudaBus, SpreadMovesVectorsAndWhatItWrites) {
  config_.compose.recipe = "spread";
  const Measured few = run(kShort), many = run(kLong);
  for (const Measured& m : {few, many}) {
    // The dense solver's diagonal of ones and its eigenvalues; E, saved.
    expect_at_most(m, "embed", kVector, kVector + kVocab * kWidth * kDouble);
    // Of each lag reciprocals and shares, and the marginals they are of; P, R and the covariances, saved.
    expect_at_most(m, "project", kLags * 3 * kVector, kLags * (2 * kVector + 4 * kSquare));
    expect_at_most(m, "decompose", 0, kLags * kSquare);  // planes
    // ... and of each layer the 8 first directions before and after.
    expect_at_most(m, "expand", 0, kLayers * (kSquare + 2 * 8 * kWidth * kDouble));
    // Norms of E's rows, what they are multiplied by, which are drawn; heads and embedding, written.
    expect_at_most(m, "compose", 2 * kVector, kVector + kAttention + kVocab * kWidth * kSingle);
    expect_at_most(m, "emit", 0, 0);
  }
  for (const auto& [stage, of_few] : few.stages) {
    if (stage == "count") continue;
    EXPECT_EQ(many.of(stage).up, of_few.up) << stage;
    EXPECT_EQ(many.of(stage).down, of_few.down) << stage;
  }
}

class CudaBusOffset : public CudaBus, public testing::WithParamInterface<Estimator> {
 protected:
  CudaBusOffset() {
    config_.compose.recipe = "offset";
    config_.offset.estimator = GetParam();
    // Scalars that are sought would be sought a thread at a time: those that one pass finds are left open.
    config_.offset.factors.kappa = 30;
    if (GetParam() == Estimator::discriminant) config_.offset.factors.ridge = 1;
  }
};

/// What the factors' stage moves beside its result and the slice: vectors [V] and matrices [d, d] or of as
/// many numbers, d as here (lags · d_s and 2 d_o are a little less).
struct Bound {
  std::uint64_t vectors_up, vectors_down, squares_up, squares_down;
};
Bound bound_of(Estimator estimator) {
  return estimator == Estimator::discriminant ? Bound{14, 6, 4, 5} : Bound{25, 6, 2, 3};
}

TEST_P(CudaBusOffset, MovesSmallMatricesVectorsTheSliceAndWhatItWrites) {
  constexpr std::uint64_t kPasses = 5;  // of Newton's method, in all
  const Bound bound = bound_of(GetParam());
  const Measured few = run(kShort), many = run(kLong);
  // Of each lag the pairs' rows; the pairs; tokens and contexts, for two searches.
  const auto slice = [](const Measured& m) {
    return m.slice_pairs * (sizeof(std::uint32_t) + sizeof(std::uint64_t)) +
           m.positions * 2 * (kLags + 1) * sizeof(TokenId);
  };
  const auto derivatives = [](const Measured& m) {
    return m.positions * softmax_moment_count(kLags) * kDouble;
  };
  for (const Measured& m : {few, many}) {
    expect_at_most(
        m, "factors", (bound.vectors_up + kLags) * kVector + bound.squares_up * kSquare + slice(m),
        bound.vectors_down * kVector + bound.squares_down * kSquare + m.saved + kPasses * derivatives(m));
    expect_at_most(m, "compose", 0, kAttention);
    expect_at_most(m, "emit", 0, 0);
  }
  EXPECT_LE(many.of("factors").up, few.of("factors").up + slice(many));
  EXPECT_LE(many.of("factors").down, few.of("factors").down + kPasses * derivatives(many));
}
INSTANTIATE_TEST_SUITE_P(Cuda, CudaBusOffset, testing::Values(Estimator::discriminant, Estimator::tucker));

}  // namespace
}  // namespace aloft
