#include "host/gpu_info.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "host/error.hpp"

namespace aloft {
namespace {

const std::vector<GpuInfo> kGpus{{0, "GPU-5f3a8c1e-0000-1111-2222-333344445555", "A", 9, 0, 80},
                                 {1, "GPU-5f3a9d2f-0000-1111-2222-333344445555", "B", 8, 9, 24},
                                 {12, "GPU-c0ffee00-0000-1111-2222-333344445555", "C", 8, 0, 40}};

int index_of(std::string_view wanted) { return choose_gpu(kGpus, wanted).index; }
std::string refusal(std::string_view wanted, const std::vector<GpuInfo>& gpus = kGpus) {
  try {
    return "took " + choose_gpu(gpus, wanted).name;
  } catch (const UsageError& e) {
    return e.what();
  }
}

TEST(ChooseGpu, ByIndexByUuidAndByItsBeginning) {
  EXPECT_EQ(index_of(""), 0);
  EXPECT_EQ(index_of("1"), 1);
  EXPECT_EQ(index_of("12"), 12);
  EXPECT_EQ(index_of(kGpus[1].uuid), 1);
  EXPECT_EQ(index_of("GPU-5f3a9"), 1);
  EXPECT_EQ(index_of("gpu-C0FFEE"), 12);
}

TEST(ChooseGpu, RefusesWhatIsNotOneOfThem) {
  for (const char* unknown : {"2", "-1", "99999999999999999999", "GPU-5f3a8c1e-0000-1111-2222-3333444455556",
                              "GPU-0", "c0ffee", "cuda:0", " 1"})
    EXPECT_NE(refusal(unknown).find(std::string("--device ") + unknown + ": "), std::string::npos)
        << refusal(unknown);
  EXPECT_NE(refusal("2").find("the 3 here"), std::string::npos);
  EXPECT_NE(refusal("GPU-5f3a").find("2 GPUs here"), std::string::npos);
  EXPECT_NE(refusal("0", {}).find("no GPU can be used"), std::string::npos);
}

}  // namespace
}  // namespace aloft
