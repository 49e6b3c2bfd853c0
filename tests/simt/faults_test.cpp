#include <gtest/gtest.h>

#include <random>

#include "host/error.hpp"
#include "pipeline/counts/counts.hpp"
#include "tests/simt/cudart.hpp"
#include "tests/stream_source.hpp"

// Whatever call of the CUDA runtime fails, the product says so with a typed error, frees what it holds and
// goes on living.

namespace aloft {
namespace {

std::vector<TokenId> some_ids(std::size_t n, TokenId vocab) {
  std::mt19937 random(1);
  std::vector<TokenId> out(n);
  for (auto& id : out)
    id = random() % 50 == 0 ? kDocumentBreak : TokenId(std::min(random() % vocab, random() % vocab));
  return out;
}

void expect_nothing_left(std::uint64_t n) {
  const auto& r = simt::runtime;
  EXPECT_EQ(r.bytes, 0u) << "call " << n << ": device memory leaked";
  EXPECT_EQ(r.host_allocations, 0) << "call " << n << ": pinned memory leaked";
  EXPECT_EQ(r.streams, 0) << "call " << n << ": streams leaked";
  EXPECT_EQ(r.events, 0) << "call " << n << ": events leaked";
}

/// Runs `work` once per call that it makes to the runtime, with that call failing. Returns how many there
/// were.
template <class Work>
std::uint64_t fail_each_call(const Work& work) {
  const std::uint64_t seed = simt::config.seed;
  for (std::uint64_t n = 1;; ++n) {
    simt::runtime.reset(seed);
    simt::runtime.fail_call = n;
    bool reported = false;
    try {
      work();
    } catch (const DeviceError&) {
      reported = true;
    } catch (const ResourceError&) {
      reported = true;
    } catch (const UsageError&) {
      reported = true;  // "cannot be used", when looking for a device is what failed
    } catch (const std::exception& e) {
      ADD_FAILURE() << "call " << n << ": an error of the wrong type: " << e.what();
      reported = true;
    }
    const bool reached = simt::runtime.calls >= n;
    simt::runtime.reset(seed);
    expect_nothing_left(n);
    if (!reached || testing::Test::HasFailure()) return n - 1;
    EXPECT_TRUE(reported) << "call " << n << " failed and nobody noticed";
  }
}

std::uint64_t fail_each_call_of_a_count(CountStrategy strategy, std::int64_t vocab) {
  const auto ids = some_ids(700, TokenId(vocab));
  return fail_each_call([&] {
    Backend backend = make_backend("cuda");
    NoProgress progress;
    Context ctx{backend, progress};
    CountParams p;
    p.vocab = vocab;
    p.max_lag = 2;
    p.chunk_tokens = 300;
    p.strategy = strategy;
    const Counts counts = count_transitions(ctx, p, [&] { return std::make_unique<StreamSource>(ids); });
    (void)to_host(counts.lags[1].values);
  });
}

TEST(CudaFaults, EveryFailingCallOfADenseCountIsReported) {
  EXPECT_GT(fail_each_call_of_a_count(CountStrategy::dense, 40), 20u);
}

TEST(CudaFaults, EveryFailingCallOfASparseCountIsReported) {
  EXPECT_GT(fail_each_call_of_a_count(CountStrategy::sparse, 40), 20u);
}

TEST(CudaFaults, EveryFailingCallOfLinearAlgebraIsReported) {
  if (make_backend("cuda").linear == nullptr) GTEST_SKIP() << "this backend only counts";
  const std::uint64_t calls = fail_each_call([] {
    Backend backend = make_backend("cuda");
    Matrix a(*backend.device, 20, 12), b(*backend.device, 12, 9), c(*backend.device, 20, 9);
    backend.linear->fill_normal(a.view(), 1, 1, 1.0);
    backend.linear->fill_normal(b.view(), 1, 2, 1.0);
    backend.linear->gemm(1.0, Op::none, a.view(), Op::none, b.view(), 0.0, c.view());
    backend.linear->orthonormalize(c.view());
    (void)to_host(c.data);
  });
  EXPECT_GT(calls, 10u);
}

TEST(CudaFaults, EveryFailingCallOfADecompositionIsReported) {
  const std::uint64_t calls = fail_each_call([] {
    Backend backend = make_backend("cuda");
    Device& device = *backend.device;
    Matrix a(device, 6, 6, 2), tall(device, 6, 4), square(device, 6, 6), out(device, 6, 6);
    backend.linear->fill_normal(a.view(), 1, 1, 1.0);
    backend.linear->fill_normal(tall.view(), 1, 2, 1.0);
    backend.linear->fill_normal(square.view(), 1, 3, 1.0);
    Matrix values(device, 2, 6), vectors(device, 6, 6, 2), left(device, 3, 6, 2), right(device, 3, 6, 2);
    Matrix u(device, 6, 4), vt(device, 4, 4);
    backend.linear->eigh(a.view(), values.data.data(), vectors.view());
    backend.linear->skew_spectrum(a.view(), values.data.data(), left.view(), right.view());
    backend.linear->svd(tall.view(), u.view(), values.data.data(), vt.view());
    backend.linear->convolve_circulant(square.view(), values.data.data(), out.view());
    (void)to_host(values.data);
    (void)to_host(out.data);
  });
  EXPECT_GT(calls, 60u);
}

TEST(CudaFaults, ADeviceWithTooLittleMemoryIsAResourceError) {
  simt::runtime.capacity = 20000;
  const auto ids = some_ids(5000, 60);
  Backend backend = make_backend("cuda");
  NoProgress progress;
  Context ctx{backend, progress};
  CountParams p;
  p.vocab = 60;
  p.strategy = CountStrategy::dense;
  EXPECT_THROW((void)count_transitions(ctx, p, [&] { return std::make_unique<StreamSource>(ids); }),
               ResourceError);
}

}  // namespace
}  // namespace aloft
