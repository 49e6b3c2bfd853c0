#include "tests/simt/lifetimes.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "host/cuda_device.hpp"
#include "host/error.hpp"
#include "kernels/ops.hpp"
#include "tests/simt/cudart.hpp"
#include "tests/simt/sample_kernels.hpp"

// Memory is freed in the order of a queue: a Buffer may go before the work queued with it has run
// (host/device.hpp). And each way of getting that wrong is reported, under every order of the streams.

namespace simt::samples {
namespace {

constexpr std::uint64_t kSeeds = 8;

/// Two streams and what they share, on the bare runtime; each test plants one mistake.
class SimtLifetimes : public testing::Test {
 protected:
  static constexpr std::size_t kIds = 512;

  /// Runs `work` under several orders of the streams and returns what was said each time.
  template <class Work>
  std::vector<std::string> reports(const Work& work) {
    std::vector<std::string> out;
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
      runtime.reset(seed);
      EXPECT_EQ(cudaStreamCreateWithFlags(&owner, cudaStreamNonBlocking), cudaSuccess);
      EXPECT_EQ(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), cudaSuccess);
      EXPECT_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
      void *p = nullptr, *q = nullptr;
      EXPECT_EQ(cudaMalloc(&q, kBins * 4), cudaSuccess);
      bins = static_cast<unsigned*>(q);
      EXPECT_EQ(cudaMemset(bins, 0, kBins * 4), cudaSuccess);
      EXPECT_EQ(cudaMallocAsync(&p, kIds * 2, owner), cudaSuccess);
      ids = static_cast<std::uint16_t*>(p);
      EXPECT_EQ(cudaMemsetAsync(ids, 0, kIds * 2, owner), cudaSuccess);
      work();
      const cudaError_t seen = cudaStreamSynchronize(owner);
      EXPECT_EQ(seen == cudaSuccess, runtime.misuse.empty()) << "whoever waits next is told";
      out.push_back(std::exchange(runtime.misuse, {}));
      runtime.reset(seed);
      EXPECT_EQ(cudaStreamDestroy(owner), cudaSuccess);
      EXPECT_EQ(cudaStreamDestroy(other), cudaSuccess);
      EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
      EXPECT_EQ(cudaFree(bins), cudaSuccess);
      EXPECT_EQ(runtime.allocations, 0);
    }
    return out;
  }
  template <class Work>
  void expect_report(const std::string& mistake, const Work& work) {
    for (const std::string& said : reports(work)) EXPECT_EQ(said.rfind(mistake, 0), 0u) << said;
  }
  template <class Work>
  void expect_silence(const Work& work) {
    for (const std::string& said : reports(work)) EXPECT_EQ(said, "");
  }
  void let_wait(cudaStream_t later, cudaStream_t earlier) const {
    EXPECT_EQ(cudaEventRecord(event, earlier), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(later, event, 0), cudaSuccess);
  }
  void count(cudaStream_t stream) const { (void)histogram(ids, kIds, bins, 2, stream); }
  void free_ids(cudaStream_t stream) const { (void)cudaFreeAsync(ids, stream); }

  cudaStream_t owner = nullptr, other = nullptr;
  cudaEvent_t event = nullptr;
  std::uint16_t* ids = nullptr;  // [kIds], allocated on `owner`
  unsigned* bins = nullptr;
};

TEST_F(SimtLifetimes, FreedRightAfterItsWorkOnTheSameStreamIsFine) {
  expect_silence([&] {
    count(owner);
    free_ids(owner);
  });
}

TEST_F(SimtLifetimes, AKernelQueuedAfterTheFreeIsReported) {
  expect_report("use after free: void simt::samples::(anonymous namespace)::histogram_kernel", [&] {
    free_ids(owner);
    count(owner);
  });
}

TEST_F(SimtLifetimes, SoItIsWhenTheMemoryIsLongGone) {
  expect_report("use after free", [&] {
    free_ids(owner);
    EXPECT_EQ(cudaStreamSynchronize(owner), cudaSuccess);
    void* next = nullptr;
    EXPECT_EQ(cudaMallocAsync(&next, kIds * 2, owner), cudaSuccess);
    EXPECT_EQ(cudaFreeAsync(next, owner), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(owner), cudaSuccess);
    count(owner);
  });
}

TEST_F(SimtLifetimes, AnotherStreamThatUsesItAfterTheFreeIsReportedEvenIfItWaits) {
  expect_report("use after free", [&] {
    free_ids(owner);
    let_wait(other, owner);
    count(other);
  });
}

TEST_F(SimtLifetimes, FreedWhileAnotherStreamStillUsesItIsReported) {
  expect_report("free during use", [&] {
    let_wait(other, owner);
    count(other);
    free_ids(owner);
  });
  expect_report("free during use", [&] {  // by a copy, whose direction of waiting is the wrong one
    let_wait(other, owner);
    (void)cudaMemcpyAsync(ids, bins, 4, cudaMemcpyDeviceToDevice, other);
    let_wait(other, owner);
    free_ids(owner);
  });
  expect_report("free during use", [&] {  // the event was recorded before the work
    let_wait(other, owner);
    let_wait(owner, other);
    count(other);
    free_ids(owner);
  });
}

TEST_F(SimtLifetimes, FreedOnceTheOtherStreamIsWaitedForIsFine) {
  expect_silence([&] {  // by the stream that frees
    let_wait(other, owner);
    count(other);
    let_wait(owner, other);
    free_ids(owner);
  });
  expect_silence([&] {  // by the host
    let_wait(other, owner);
    count(other);
    EXPECT_EQ(cudaStreamSynchronize(other), cudaSuccess);
    free_ids(owner);
  });
  expect_silence([&] {  // by the host, through an event
    let_wait(other, owner);
    count(other);
    EXPECT_EQ(cudaEventRecord(event, other), cudaSuccess);
    EXPECT_EQ(cudaEventSynchronize(event), cudaSuccess);
    free_ids(owner);
  });
  expect_silence([&] {  // on the stream that used it last
    let_wait(other, owner);
    count(other);
    free_ids(other);
  });
}

TEST_F(SimtLifetimes, AStreamThatDoesNotWaitForTheAllocationIsReported) {
  const unsigned value = 7;
  expect_report("use before allocation", [&] {
    (void)cudaMemcpyAsync(ids, &value, 4, cudaMemcpyHostToDevice, other);
    free_ids(owner);
  });
  expect_report("use before allocation", [&] {
    count(other);
    EXPECT_EQ(cudaStreamSynchronize(other), cudaErrorIllegalAddress);
    free_ids(owner);
  });
}

}  // namespace
}  // namespace simt::samples

namespace aloft {
namespace {

/// The same through the product's own classes.
class SimtBuffers : public testing::TestWithParam<std::uint64_t> {
 protected:
  SimtBuffers() { simt::runtime.reset(GetParam()); }
  Backend backend = make_backend("cuda");
  Device& device = *backend.device;
};

// A chain of temporaries, each gone as soon as the work with it is queued; nothing runs before to_host().
TEST_P(SimtBuffers, MayGoAsSoonAsTheWorkWithThemIsQueued) {
  constexpr std::int64_t n = 40;
  constexpr std::size_t bytes = n * n * sizeof(double);
  Matrix sum = matrix_from(device, std::vector<double>(n * n), n, n);
  {
    const Matrix ones = matrix_from(device, std::vector<double>(n * n, 1.0), n, n);
    for (int round = 0; round < 4; ++round) {
      Matrix copy = copy_of(ones), product(device, n, n);
      backend.linear->gemm(1, Op::none, copy.cview(), Op::none, ones.cview(), 0, product.view());
      copy = Matrix(device, n, n);  // the next is allocated, then the one before freed
      backend.linear->transpose(product.cview(), copy.view());
      product = {};
      backend.linear->add_scaled(0.5, copy.cview(), sum.view());
    }
  }
  EXPECT_EQ(simt::runtime.bytes, (2 + 4 * 3) * bytes) << "the queue has not got to any of the frees";
  EXPECT_EQ(to_host(sum.data), std::vector<double>(n * n, 4 * 0.5 * n));
  EXPECT_EQ(simt::runtime.bytes, bytes);
  EXPECT_EQ(simt::runtime.misuse, "");
}

TEST_P(SimtBuffers, WorkQueuedWithWhatIsFreedIsReported) {
  Matrix x(device, 8, 8), y(device, 8, 8);
  for (Matrix* m : {&x, &y}) device.zero(m->data.data(), m->data.size() * sizeof(double));
  const ConstMatrixView gone = x.cview();
  x = {};
  EXPECT_THROW(backend.linear->add_scaled(1, gone, y.view()), DeviceError);  // a kernel
  EXPECT_NE(std::exchange(simt::runtime.misuse, {}).find("add_scaled_element"), std::string::npos);
  simt::runtime.reset(0);
  EXPECT_THROW(backend.linear->gemm(1, Op::none, gone, Op::none, y.cview(), 0, y.view()), DeviceError);
  EXPECT_NE(std::exchange(simt::runtime.misuse, {}).find("library"), std::string::npos);
  simt::runtime.reset(0);
  EXPECT_THROW(device.copy(y.data.data(), gone.data, 8), DeviceError);
}

// The upload queue is another one: a lane's buffer may only go once the work queue, or the host, has waited.
TEST_P(SimtBuffers, ThatALaneFillsMayNotGoDuringTheUpload) {
  Buffer<TokenId> ids(device, 64);
  Staging<TokenId> staging(device, 64);
  const auto lanes = device.make_upload_lanes(1);
  lanes->upload(0, ids.data(), staging.span().data(), 64 * sizeof(TokenId));
  ids = {};
  EXPECT_EQ(std::exchange(simt::runtime.misuse, {}).rfind("free during use", 0), 0u);
  EXPECT_THROW(device.synchronize(), DeviceError);
  simt::runtime.reset(0);

  ids = Buffer<TokenId>(device, 64);
  lanes->release(0);
  lanes->upload(0, ids.data(), staging.span().data(), 64 * sizeof(TokenId));
  lanes->acquire(0);
  ids = {};
  device.synchronize();
  lanes->wait(0);
  EXPECT_EQ(simt::runtime.misuse, "");
}

INSTANTIATE_TEST_SUITE_P(Seed, SimtBuffers, testing::Range<std::uint64_t>(0, 6));

}  // namespace
}  // namespace aloft
