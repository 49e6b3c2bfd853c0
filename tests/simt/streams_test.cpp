#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tests/simt/cudart.hpp"
#include "tests/simt/sample_kernels.hpp"

// A double-buffered streaming histogram on the stand-in runtime: right under every legal order of the
// streams; wrong under some when it forgets one of its waits; and any failing call is reported without a
// leak.

namespace simt::samples {
namespace {

enum class Forgotten { nothing, copy_before_kernel, kernel_before_copy, staging_still_read, final_wait };

/// Owns everything the pipeline needs; the first failing call ends it.
class Pipeline {
 public:
  explicit Pipeline(Forgotten forgotten) : forgotten_(forgotten) {}
  ~Pipeline() {
    for (cudaStream_t s : {copies_, kernels_})
      if (s != nullptr) (void)cudaStreamDestroy(s);
    for (int i = 0; i < 2; ++i) {
      if (copied_[i] != nullptr) (void)cudaEventDestroy(copied_[i]);
      if (counted_[i] != nullptr) (void)cudaEventDestroy(counted_[i]);
      (void)cudaFreeHost(staging_[i]);
      (void)cudaFree(device_[i]);
    }
    (void)cudaFree(bins_);
  }
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  /// out: [kBins], read by the caller as soon as this returns.
  cudaError_t run(const std::vector<std::uint16_t>& ids, std::vector<unsigned>& out) {
    prepare();
    for (std::size_t c = 0; c * kChunk < ids.size() && ok(); ++c) chunk(ids, c);
    call(cudaMemcpyAsync(out.data(), bins_, kBins * 4, cudaMemcpyDeviceToHost, kernels_));
    if (forgotten_ != Forgotten::final_wait) call(cudaStreamSynchronize(kernels_));
    return code_;
  }

 private:
  static constexpr std::size_t kChunk = 512;

  [[nodiscard]] bool ok() const { return code_ == cudaSuccess; }
  void call(cudaError_t code) {
    if (ok()) code_ = code;
  }
  void prepare() {
    call(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking));
    if (ok()) call(cudaStreamCreateWithFlags(&kernels_, cudaStreamNonBlocking));
    for (int i = 0; i < 2 && ok(); ++i) {
      call(cudaEventCreateWithFlags(&copied_[i], cudaEventDisableTiming));
      if (ok()) call(cudaEventCreateWithFlags(&counted_[i], cudaEventDisableTiming));
      if (ok()) call(cudaMallocHost(reinterpret_cast<void**>(&staging_[i]), kChunk * 2));
      if (ok()) call(cudaMalloc(reinterpret_cast<void**>(&device_[i]), kChunk * 2));
    }
    if (ok()) call(cudaMalloc(reinterpret_cast<void**>(&bins_), kBins * 4));
    if (ok()) call(cudaMemsetAsync(bins_, 0, kBins * 4, kernels_));
  }
  void chunk(const std::vector<std::uint16_t>& ids, std::size_t c) {
    const std::size_t b = c % 2, n = std::min(kChunk, ids.size() - c * kChunk);
    if (c >= 2 && forgotten_ != Forgotten::staging_still_read) call(cudaEventSynchronize(copied_[b]));
    std::copy_n(ids.data() + c * kChunk, n, staging_[b]);
    if (c >= 2 && forgotten_ != Forgotten::kernel_before_copy)
      call(cudaStreamWaitEvent(copies_, counted_[b], 0));
    if (ok()) call(cudaMemcpyAsync(device_[b], staging_[b], n * 2, cudaMemcpyHostToDevice, copies_));
    if (ok()) call(cudaEventRecord(copied_[b], copies_));
    if (ok() && forgotten_ != Forgotten::copy_before_kernel)
      call(cudaStreamWaitEvent(kernels_, copied_[b], 0));
    if (ok()) call(histogram(device_[b], n, bins_, 2, kernels_));
    if (ok()) call(cudaEventRecord(counted_[b], kernels_));
  }

  Forgotten forgotten_;
  cudaError_t code_ = cudaSuccess;
  cudaStream_t copies_ = nullptr, kernels_ = nullptr;
  cudaEvent_t copied_[2]{}, counted_[2]{};
  std::uint16_t *staging_[2]{}, *device_[2]{};
  unsigned* bins_ = nullptr;
};

class SimtStreams : public testing::Test {
 protected:
  SimtStreams() : ids(5000), want(kBins) {
    std::mt19937 random(5);
    for (auto& id : ids) ++want[id = std::uint16_t(random() % kBins)];
  }
  cudaError_t count(Forgotten forgotten, std::vector<unsigned>& out) {
    out.assign(kBins, 0);
    Pipeline pipeline(forgotten);
    const cudaError_t code = pipeline.run(ids, seen_);
    out = seen_;  // before the destructor's frees let everything run to its end
    return code;
  }
  static void expect_nothing_left() {
    EXPECT_EQ(runtime.bytes, 0u);
    EXPECT_EQ(runtime.allocations + runtime.host_allocations + runtime.streams + runtime.events, 0);
  }
  int wrong_of(Forgotten forgotten, int schedules) {
    int wrong = 0;
    for (int s = 0; s < schedules; ++s) {
      runtime.reset(std::uint64_t(s));
      seen_.assign(kBins, 0);
      std::vector<unsigned> got;
      const bool failed = count(forgotten, got) != cudaSuccess;  // an unwritten id may also be an error
      wrong += failed || got != want;
      runtime.reset(0);
      expect_nothing_left();
    }
    return wrong;
  }
  std::vector<std::uint16_t> ids;
  std::vector<unsigned> want, seen_ = std::vector<unsigned>(kBins);
};

TEST_F(SimtStreams, APipelineWithAllItsWaitsIsRightInEveryOrder) {
  EXPECT_EQ(wrong_of(Forgotten::nothing, 50), 0);
}

TEST_F(SimtStreams, AForgottenWaitGivesWrongDataInSomeOrder) {
  EXPECT_GT(wrong_of(Forgotten::copy_before_kernel, 50), 0);
  EXPECT_GT(wrong_of(Forgotten::kernel_before_copy, 50), 0);
  EXPECT_GT(wrong_of(Forgotten::staging_still_read, 50), 0);
  EXPECT_GT(wrong_of(Forgotten::final_wait, 50), 0);
}

TEST_F(SimtStreams, EveryCallThatFailsIsReportedAndNothingLeaks) {
  std::vector<unsigned> got;
  int reported = 0;
  for (std::uint64_t n = 1;; ++n) {
    runtime.reset(0);
    runtime.fail_call = n;
    const cudaError_t code = count(Forgotten::nothing, got);
    const bool reached = runtime.calls >= n;
    runtime.reset(0);
    expect_nothing_left();
    if (!reached) break;
    EXPECT_NE(code, cudaSuccess) << "failure " << n << " was swallowed";
    ++reported;
  }
  EXPECT_GT(reported, 60);
}

TEST_F(SimtStreams, TooLittleMemoryIsReported) {
  runtime.capacity = 4000;
  std::vector<unsigned> got;
  EXPECT_EQ(count(Forgotten::nothing, got), cudaErrorMemoryAllocation);
  expect_nothing_left();
}

TEST_F(SimtStreams, PinnedMemoryIsReadWhenTheCopyRunsPageableMemoryWhenItIsAskedFor) {
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  int *device = nullptr, *pinned = nullptr, pageable = 1, back = 0;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&device), 4), cudaSuccess);
  ASSERT_EQ(cudaMallocHost(reinterpret_cast<void**>(&pinned), 4), cudaSuccess);
  const auto value_after = [&](int* source) {
    *source = 1;
    EXPECT_EQ(cudaMemcpyAsync(device, source, 4, cudaMemcpyHostToDevice, stream), cudaSuccess);
    *source = 2;
    EXPECT_EQ(cudaMemcpyAsync(&back, device, 4, cudaMemcpyDeviceToHost, stream), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    return back;
  };
  EXPECT_EQ(value_after(pinned), 2);
  EXPECT_EQ(value_after(&pageable), 1);
  EXPECT_EQ(cudaFree(device), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST_F(SimtStreams, WhatACopyBringsToTheHostIsGarbageUntilTheHostWaits) {
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  unsigned char* device = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&device), 8), cudaSuccess);
  ASSERT_EQ(cudaMemsetAsync(device, 7, 8, stream), cudaSuccess);
  unsigned char back[12] = {};
  EXPECT_EQ(cudaMemcpy2DAsync(back, 6, device, 4, 4, 2, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_NE(back[0], 0);
  EXPECT_NE(back[0], 7);
  EXPECT_EQ(back[4], 0) << "between the rows";
  EXPECT_EQ(back[9], back[0]);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(back[0], 7);
  EXPECT_EQ(back[9], 7);
  EXPECT_EQ(back[4], 0);
  EXPECT_EQ(cudaFree(device), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST_F(SimtStreams, PoolMemoryIsGivenBackInStreamOrderAndNotUsableFromTheCallOn) {
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  void* p = nullptr;
  ASSERT_EQ(cudaMallocAsync(&p, 64, stream), cudaSuccess);
  ASSERT_EQ(cudaFreeAsync(p, stream), cudaSuccess);
  EXPECT_EQ(runtime.bytes, 64u) << "not before the stream gets there";
  EXPECT_EQ(cudaMemsetAsync(p, 0, 4, stream), cudaErrorInvalidValue) << "use after free";
  EXPECT_EQ(cudaFreeAsync(p, stream), cudaErrorInvalidValue) << "double free";
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(runtime.bytes, 0u);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST_F(SimtStreams, CopiesInTheWrongDirectionOrBeyondTheEndAreErrors) {
  char host[64] = {};
  void* device = nullptr;
  ASSERT_EQ(cudaMalloc(&device, 64), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(device, host, 64, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device, host, 65, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy2DAsync(device, 16, host, 8, 12, 2, cudaMemcpyHostToDevice, nullptr),
            cudaErrorInvalidPitchValue);
  for (int i = 0; i < 64; ++i) host[i] = char(i);
  char back[24] = {};
  EXPECT_EQ(cudaMemcpy2DAsync(device, 8, host, 16, 8, 3, cudaMemcpyHostToDevice, nullptr), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(back, device, 24, cudaMemcpyDeviceToHost), cudaSuccess);
  for (int i = 0; i < 24; ++i) EXPECT_EQ(back[i], i / 8 * 16 + i % 8);
  EXPECT_EQ(cudaFree(device), cudaSuccess);
}

TEST_F(SimtStreams, AnEventNeverRecordedHoldsNobodyBack) {
  cudaStream_t stream = nullptr;
  cudaEvent_t event = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaEventCreateWithFlags(&event, 0), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(stream, event, 0), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(event, stream), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(event), cudaSuccess);
  float milliseconds = 0;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, event, event), cudaSuccess);
  EXPECT_GT(milliseconds, 0);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

}  // namespace
}  // namespace simt::samples
