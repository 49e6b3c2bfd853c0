#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "host/error.hpp"
#include "kernels/ops.hpp"
#include "tests/paths.hpp"

namespace aloft {
namespace {

const std::filesystem::path kProfiles = std::filesystem::path(source_folder()) / "profiles";

bool clean_gpu_report_is_committed() {
  const std::filesystem::path folder = kProfiles / "gpu";
  if (!std::filesystem::exists(folder)) return false;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    std::ifstream in(entry.path());
    if (nlohmann::json::parse(in).value("clean", false)) return true;
  }
  return false;
}

TEST(Backends, AutoMayTakeAGpuOnceACleanReportOfOneIsCommitted) {
  if (!std::filesystem::exists(kProfiles)) GTEST_SKIP() << "the program is tested away from its source";
  EXPECT_EQ(kMeasuredOnGpu, clean_gpu_report_is_committed())
      << "kernels/ops.hpp says it, profiles/gpu/ shows it";
}

TEST(Backends, AutoTakesAMeasuredGpuAndSaysWhenItLeavesOneAlone) {
  const BackendInfo none{"cuda", true, false, "no device", {}};
  const BackendInfo one{"cuda", true, true, "", {{0, "GPU-1", "Some GPU", 9, 0, 80}}};
  for (const bool measured : {false, true}) {
    EXPECT_EQ(choose_backend(none, measured).name, "cpu");
    EXPECT_EQ(choose_backend(none, measured).note, "");
  }
  EXPECT_EQ(choose_backend(one, true).name, "cuda");
  EXPECT_EQ(choose_backend(one, true).note, "");
  const AutoChoice unmeasured = choose_backend(one, false);
  EXPECT_EQ(unmeasured.name, "cpu");
  for (const char* part : {"Some GPU", "not been measured", "--backend cuda"})
    EXPECT_NE(unmeasured.note.find(part), std::string::npos) << unmeasured.note;
}

TEST(Backends, AGpuIsNotForTheCpu) {
  EXPECT_THROW((void)make_backend("cpu", 1, "0"), UsageError);
  EXPECT_THROW((void)make_backend("cuda", 1, "no such GPU"), UsageError);
  EXPECT_THROW((void)make_backend("tpu"), UsageError);
}

}  // namespace
}  // namespace aloft
