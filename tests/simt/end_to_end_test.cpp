#include <gtest/gtest.h>

#include <cmath>

#include "host/safetensors.hpp"
#include "tests/cli_helpers.hpp"

// `aloft init --backend cuda`, from the command line to the file, with the CUDA backend executed by the shim,
// beside the same run on the CPU backend.

namespace aloft::cli_tests {
namespace {

class CudaEndToEnd : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("ALOFT_PROGRAM", built_simt_program().c_str(), 1);
    corpus_ = folder_.file("corpus.txt", sample_text(6000, 5, 200));
  }
  void TearDown() override { ::unsetenv("ALOFT_PROGRAM"); }

  [[nodiscard]] Outcome init(const std::string& backend, const Words& flags = {}) const {
    return run(Words{"init",     "--quiet", "--backend",     backend, "--output", folder_ / backend,
                     "--corpus", corpus_,   "--vocab-size",  "120",   "--arch",   "llama",
                     "--layers", "2",       "--d-model",     "32",    "--heads",  "2",
                     "--lags",   "2",       "--null-tokens", "3000",  "--noise",  "0",
                     "--recipe", "spread"} +
               flags);
  }
  [[nodiscard]] std::string path(const std::string& backend, const std::string& name) const {
    return (folder_.path / backend / name).string();
  }
  void expect_same_bytes(const std::string& name) const {
    EXPECT_TRUE(content(path("cpu", name)) == content(path("cuda", name))) << name;
  }
  /// The same tensors; `summary` of each agrees to a relative 1e-6.
  template <class Summary>
  void expect_alike(const std::string& name, const Summary& summary) const {
    const SafetensorsReader cpu(path("cpu", name)), cuda(path("cuda", name));
    ASSERT_EQ(cpu.tensors().size(), cuda.tensors().size()) << name;
    for (const TensorInfo& t : cpu.tensors()) {
      ASSERT_TRUE(cuda.contains(t.name)) << t.name;
      if (t.dtype != DType::f64 && t.dtype != DType::f32) continue;
      const double want = summary(cpu.read_real(t.name, t.shape)),
                   got = summary(cuda.read_real(t.name, t.shape));
      EXPECT_NEAR(got, want, 1e-6 * std::abs(want)) << name << ": " << t.name;
    }
  }
  static double norm(const std::vector<double>& x) {
    double sum = 0;
    for (const double v : x) sum += v * v;
    return std::sqrt(sum);
  }
  Folder folder_;
  std::string corpus_;
};

TEST_F(CudaEndToEnd, InitGivesTheCountsOfTheCpuToTheBitAndItsSpectra) {
  const Outcome cpu = init("cpu"), cuda = init("cuda");
  ASSERT_EQ(cpu.code, 0) << cpu;
  ASSERT_EQ(cuda.code, 0) << cuda;
  expect_same_bytes("counts.safetensors");
  expect_same_bytes("vocab.json");
  // Singular vectors are free in sign and rotate within a pair; singular values and norms are not (nor those
  // of the weights, as long as no random part is added to them).
  expect_alike("spectra.safetensors", norm);
  expect_alike("expanded.safetensors", norm);
  expect_alike("init.safetensors", norm);
  EXPECT_NE(content(path("cuda", "manifest.json")).find("cuda"), std::string::npos);
}

// The shim's solver gives eigenvectors other signs than LAPACK's, as cuSOLVER does: they must not reach the
// file, where they would turn the designed part against the random heads beside it.
TEST_F(CudaEndToEnd, OffsetWritesTheTensorsOfTheCpu) {
  for (const char* estimator : {"discriminant", "tucker"}) {
    // Scalars that are sought would be sought a thread at a time: those that one pass finds are left open.
    const Words given = std::string_view(estimator) == "tucker" ? Words{"--kappa", "200"}
                                                                : Words{"--kappa", "30", "--ridge", "1"};
    for (const std::string backend : {"cpu", "cuda"}) {
      const Outcome outcome =
          run(Words{"init",     "--quiet",     "--backend",    backend,       "--output", folder_ / backend,
                    "--corpus", corpus_,       "--vocab-size", "120",         "--arch",   "llama",
                    "--layers", "2",           "--d-model",    "32",          "--heads",  "2",
                    "--lags",   "2",           "--force",      "--mlp-width", "64",       "--recipe",
                    "offset",   "--estimator", estimator} +
              given);
      ASSERT_EQ(outcome.code, 0) << outcome;
    }
    const SafetensorsReader cpu(path("cpu", "init.safetensors")), cuda(path("cuda", "init.safetensors"));
    for (const TensorInfo& t : cpu.tensors()) {
      const std::vector<double> want = cpu.read_real(t.name, t.shape), got = cuda.read_real(t.name, t.shape);
      std::vector<double> difference;
      for (std::size_t i = 0; i < want.size(); ++i) difference.push_back(got[i] - want[i]);
      EXPECT_LE(norm(difference), 1e-5 * norm(want)) << estimator << ": " << t.name;
    }
  }
}

TEST_F(CudaEndToEnd, TheSameRunGivesTheSameBytesAgain) {
  ASSERT_EQ(init("cuda").code, 0);
  const std::string first = content(path("cuda", "init.safetensors"));
  ASSERT_EQ(init("cuda", {"--force"}).code, 0);
  EXPECT_TRUE(content(path("cuda", "init.safetensors")) == first);
}

TEST_F(CudaEndToEnd, DoctorSaysWhichDeviceItIs) {
  const Outcome doctor = run({"doctor"});
  EXPECT_EQ(doctor.code, 0) << doctor;
  EXPECT_NE(doctor.out.find("SIMT shim"), std::string::npos) << doctor;
}

}  // namespace
}  // namespace aloft::cli_tests
