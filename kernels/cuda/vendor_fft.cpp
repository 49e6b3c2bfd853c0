#include "host/error.hpp"
#include "kernels/cuda/vendor_handles.hpp"

namespace aloft::cuda {
namespace {

/// A plan for one transform; its destructor leaves what the stream still runs alone.
struct Plan {
  Plan() { check(ALOFT_VENDOR(fft, cufftCreate)(&handle)); }
  ~Plan() { (void)ALOFT_VENDOR(fft, cufftDestroy)(handle); }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  cufftHandle handle = 0;
};

}  // namespace

// The 64-bit planner, since n² may pass 2^31; its workspace comes from the device's pool instead of the
// library's own cudaMalloc. Making a plan costs about a millisecond; nothing here transforms small matrices
// in a loop.
void Vendor::fft2(double* z, std::int64_t n, bool inverse) {
  Plan plan;
  std::size_t bytes = 0;
  long long sides[2] = {n, n};
  check(ALOFT_VENDOR(fft, cufftSetAutoAllocation)(plan.handle, 0));
  check(ALOFT_VENDOR(fft, cufftMakePlanMany64)(plan.handle, 2, sides, nullptr, 1, 0, nullptr, 1, 0, CUFFT_Z2Z,
                                               1, &bytes));
  Buffer<unsigned char> work(device_, bytes);
  check(ALOFT_VENDOR(fft, cufftSetWorkArea)(plan.handle, work.data()));
  check(ALOFT_VENDOR(fft, cufftSetStream)(plan.handle, handles_->stream));
  auto* complex = reinterpret_cast<cufftDoubleComplex*>(z);
  check(ALOFT_VENDOR(fft, cufftExecZ2Z)(plan.handle, complex, complex,
                                        inverse ? CUFFT_INVERSE : CUFFT_FORWARD));
  queued("cufftExecZ2Z", handles_->stream);
  device_.synchronize();  // the plan holds tables that the transform reads
}

}  // namespace aloft::cuda
