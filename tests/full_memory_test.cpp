#include "tests/full_memory.hpp"

// A device whose memory was full once and is free again: what its buffers gave back must be there for
// NVIDIA's libraries too, which do not allocate as buffers do. Under the shim: simt/full_memory_test.cpp, on
// a small one.

namespace aloft {
namespace {

using namespace conformance;

std::vector<std::string> backends_with_time_for_it() {
  std::vector<std::string> out = available_backends();
  std::erase_if(out, [](const std::string& name) { return name != "cpu" && !on_a_gpu(name); });
  return out;
}

class FullMemory : public LinearConformance {};

TEST_P(FullMemory, IsThereForSolversOnceItIsFree) {
  if (std::getenv("GTEST_TOTAL_SHARDS") != nullptr && GetParam() != "cpu")
    GTEST_SKIP() << "takes all of the GPU: run it alone, not beside other shards";
  fill_and_free(*backend.device, std::uint64_t{4} << 20);
  decompose_each_way(backend, on_a_gpu(GetParam()) ? 1536 : 40);
}

INSTANTIATE_TEST_SUITE_P(Each, FullMemory, testing::ValuesIn(backends_with_time_for_it()), backend_name);

}  // namespace
}  // namespace aloft
