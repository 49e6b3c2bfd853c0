#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "host/cuda_device.hpp"
#include "host/error.hpp"
#include "kernels/ops.hpp"
#include "tests/cli_helpers.hpp"
#include "tests/paths.hpp"
#include "tests/simt/cudart.hpp"

// A machine with several GPUs: which one does the work, and how a user says so. Another process keeps the
// ones that must stay untouched, so whoever starts one of them, or uses one without making it current, fails.

namespace aloft::cli_tests {
namespace {

using nlohmann::json;

const std::string kUuidEnd = "a2a3-a4a5-a6a7-a8a9-aaabacadaeaf";

class CudaDevices : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("ALOFT_PROGRAM", built_simt_program().c_str(), 1);
    ::setenv("SIMT_DEVICES", "3", 1);
    corpus_ = folder_.file("corpus.txt", sample_text(3000, 5, 100));
  }
  void TearDown() override {
    for (const char* name : {"ALOFT_PROGRAM", "SIMT_DEVICES", "SIMT_BUSY_DEVICES"}) ::unsetenv(name);
  }
  static void busy(const char* mask) { ::setenv("SIMT_BUSY_DEVICES", mask, 1); }

  [[nodiscard]] Outcome count(const Words& flags) const {
    return run(Words{"count", "--quiet", "--force", "--corpus", corpus_, "--vocab-size", "60", "--lags", "2",
                     "--output", folder_ / "counts.safetensors"} +
               flags);
  }
  [[nodiscard]] Words small_init(const std::string& output) const {
    return {"init",      "--quiet", "--corpus", corpus_, "--vocab-size",  "60", "--arch",   "llama",
            "--layers",  "2",       "--lags",   "2",     "--d-model",     "32", "--heads",  "2",
            "--recipe",  "spread",  "--noise",  "0",     "--null-tokens", "0",  "--output", folder_ / output,
            "--backend", "cuda"};
  }
  Folder folder_;
  std::string corpus_;
};

TEST_F(CudaDevices, DoctorListsThemAll) {
  busy("1");
  const Outcome text = run({"doctor"});
  ASSERT_EQ(text.code, 0) << text;
  for (const std::string part : {"GPU 0 (used)", "GPU 1 ", "GPU 2 ", "SIMT shim", "compute capability 9.0",
                                 "cannot be started", "1.0 of 1.0 GiB free"})
    EXPECT_NE(text.out.find(part), std::string::npos) << part << " in " << text;
  const Outcome o = run({"doctor", "--json", "--device", "2"});
  ASSERT_EQ(o.code, 0) << o;
  const json gpus = json::parse(o.out)["gpus"];
  ASSERT_EQ(gpus.size(), 3u);
  EXPECT_EQ(gpus[0]["memory_free_bytes"], nullptr);
  EXPECT_EQ(gpus[1]["memory_free_bytes"], 1u << 30);
  EXPECT_EQ(gpus[1]["memory_total_bytes"], 1u << 30);
  EXPECT_EQ(gpus[1]["uuid"], "GPU-a011" + kUuidEnd);
  EXPECT_EQ(gpus[1]["compute_capability"], "9.0");
  for (std::size_t k = 0; k < 3; ++k) EXPECT_EQ(gpus[k]["used"], k == 2) << k;
  ::setenv("SIMT_DEVICES", "0", 1);
  EXPECT_EQ(json::parse(run({"doctor", "--json"}).out)["gpus"], json::array());
  EXPECT_TRUE(refused(run({"doctor", "--device", "0"}), 2, {"no GPU"}));
}

TEST_F(CudaDevices, CountingRunsOnTheOneAskedFor) {
  ASSERT_EQ(count({"--backend", "cpu"}).code, 0);
  const std::string want = content(folder_ / "counts.safetensors");
  busy("5");  // 0 and 2
  for (const Words& flags : {Words{"--backend", "cuda", "--device", "1"},
                             {"--device", "1"},
                             {"--backend", "cuda", "--device", "GPU-a011" + kUuidEnd},
                             {"--device", "gpu-a011"}}) {
    const Outcome o = count(flags);
    ASSERT_EQ(o.code, 0) << o;
    EXPECT_TRUE(content(folder_ / "counts.safetensors") == want);
  }
  EXPECT_TRUE(refused(count({"--backend", "cuda", "--device", "0"}), 1, {"keeps the device"}));
  EXPECT_TRUE(refused(count({"--backend", "cuda"}), 1, {"keeps the device"}));
}

TEST_F(CudaDevices, InitAndPlanRunOnTheOneAskedForAndItsManifestElsewhere) {
  busy("5");
  const Outcome there = run(small_init("there") + Words{"--device", "1"});
  ASSERT_EQ(there.code, 0) << there;
  EXPECT_EQ(content(folder_ / "there/manifest.json").find("device"), std::string::npos);
  EXPECT_EQ(run(Words{"plan", "--tokens", "1000", "--vocab-size", "60", "--arch", "llama", "--layers", "2",
                      "--d-model", "32", "--heads", "2", "--backend", "cuda", "--device", "1"})
                .code,
            0);
  busy("0");
  ::setenv("SIMT_DEVICES", "1", 1);
  const Outcome here =
      run({"init", "--quiet", "--config", folder_ / "there/manifest.json", "--output", folder_ / "here"});
  ASSERT_EQ(here.code, 0) << here;
  EXPECT_TRUE(content(folder_ / "here/init.safetensors") == content(folder_ / "there/init.safetensors"));
}

TEST_F(CudaDevices, OneThatIsNotThereIsAUsageError) {
  for (const auto& [device, why] : {std::pair{"3", "no such GPU"},
                                    {"GPU-ff", "no such GPU"},
                                    {"GPU-a0", "3 GPUs here"},
                                    {"first", "neither an index nor a UUID"}}) {
    EXPECT_TRUE(refused(count({"--backend", "cuda", "--device", device}), 2, {"--device", device, why}))
        << device;
    EXPECT_TRUE(refused(run(small_init("x") + Words{"--device", device}), 2, {"--device", device, why}));
    EXPECT_TRUE(refused(run({"doctor", "--device", device}), 2, {"--device", device, why}));
  }
  EXPECT_TRUE(refused(count({"--backend", "cpu", "--device", "1"}), 2, {"--device 1", "--backend cpu"}));
}

TEST_F(CudaDevices, AutoSaysWhenItLeavesAGpuAlone) {
  const Words words{"count",  "--corpus", corpus_,   "--vocab-size", "60",
                    "--lags", "2",        "--force", "--output",     folder_ / "counts.safetensors"};
  const auto noted = [](const Outcome& o) {
    return o.err.find("--backend cuda asks for it") != std::string::npos;
  };
  const Outcome automatic = run(words);
  EXPECT_EQ(automatic.code, 0) << automatic;
  EXPECT_EQ(noted(automatic), !kMeasuredOnGpu) << automatic;
  EXPECT_FALSE(noted(run(words + Words{"--backend", "cpu"})));
  EXPECT_FALSE(noted(run(words + Words{"--backend", "cuda"})));
  ::setenv("SIMT_DEVICES", "0", 1);
  EXPECT_FALSE(noted(run(words)));
}

TEST(CudaDevice, OnlyItsThreadMayUseIt) {  // the shim is as strict as CUDA is with launches and events
  simt::runtime.devices = 2;
  const auto device = make_cuda_device(1);
  const auto buffer = zeros<int>(*device, 4);
  EXPECT_EQ(to_host(buffer), std::vector<int>(4));
  std::thread([&] { EXPECT_THROW((void)to_host(buffer), DeviceError); }).join();
  const auto other = make_cuda_device(0);
  EXPECT_THROW((void)to_host(buffer), DeviceError);
  EXPECT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(to_host(buffer), std::vector<int>(4));
  EXPECT_EQ(cuda_free_memory(0), simt::runtime.capacity);
  int current = -1;
  EXPECT_EQ(cudaGetDevice(&current), cudaSuccess);
  EXPECT_EQ(current, 1);
}

}  // namespace
}  // namespace aloft::cli_tests
