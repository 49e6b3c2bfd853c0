#include "host/error.hpp"
#include "tests/count_helpers.hpp"
#include "tests/simt/engine.hpp"

// Counting 256 ids on GPUs whose blocks may have little shared memory: 48 KiB everywhere, 99 KiB on every RTX
// card, 163 KiB on an A100, 227 KiB on an H100. The shim refuses what such a GPU would.

namespace aloft {
namespace {

class CudaSharedMemory : public testing::Test {
 protected:
  static std::vector<Table> counted(const std::vector<TokenId>& t, std::int64_t n_from, int max_lag,
                                    std::int64_t vocab) {
    Backend backend = make_backend("cuda");
    const auto ids = to_device<const TokenId>(*backend.device, t);
    auto table = zeros<std::uint32_t>(*backend.device, std::size_t(max_lag * vocab * vocab));
    const DenseCounts counts{table.data(), max_lag, vocab, 0, vocab};
    const auto halo = std::int32_t(std::int64_t(t.size()) - n_from);
    backend.count->count_pairs_dense({ids.data(), n_from, halo}, counts);
    std::vector<Table> out;
    for (int lag = 1; lag <= max_lag; ++lag)
      out.push_back(table_of(backend.count->compact(counts, lag, nullptr)));
    return out;
  }
  static std::string kernel(std::int64_t vocab) { return make_backend("cuda").count->dense_kernel(vocab, 8); }
};

TEST_F(CudaSharedMemory, CountsAreExactWhateverABlockMayHave) {
  for (const std::size_t kib : {48, 99, 163, 227}) {
    simt::config.max_shared_opt_in = kib << 10;
    SCOPED_TRACE(std::to_string(kib) + " KiB");
    for (const TokenId vocab : {160u, 255u, 256u}) {
      auto t = random_tokens(3000, vocab, 0.01, vocab);
      for (std::size_t k = 0; k < 2 * vocab; ++k)
        t[k] = vocab - 1 - TokenId(k / 2);  // every row, also the last
      EXPECT_EQ(counted(t, 2998, 2, vocab), count_oracle(t, 2998, 2)) << "V=" << vocab;
    }
    std::vector<TokenId> full(40000);  // one counter of the last rows takes more than 16 bits hold
    for (std::size_t k = 0; k < full.size(); ++k) full[k] = k < 70 ? TokenId(k) : 255;
    EXPECT_EQ(counted(full, 40000, 1, 256), count_oracle(full, 40000, 1));
  }
}

TEST_F(CudaSharedMemory, ThePlanSaysHowALagIsDealt) {
  const auto with = [](std::size_t kib, std::int64_t vocab) {
    simt::config.max_shared_opt_in = kib << 10;
    return kernel(vocab);
  };
  EXPECT_NE(with(227, 256).find("one lag a block"), std::string::npos);
  EXPECT_NE(with(163, 256).find("one lag a block"), std::string::npos);
  EXPECT_NE(with(99, 256).find("over 2 blocks"), std::string::npos);
  EXPECT_NE(with(48, 256).find("over 3 blocks"), std::string::npos);
  EXPECT_NE(with(48, 156).find("one lag a block"), std::string::npos);
  EXPECT_NE(with(48, 157).find("over 2 blocks"), std::string::npos);
  EXPECT_NE(with(48, 257).find("global-memory"), std::string::npos);
}

}  // namespace
}  // namespace aloft
