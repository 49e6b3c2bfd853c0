#pragma once

// NVIDIA's libraries, opened when a function of theirs is first called: linked, they would be loaded with
// every start of the program, which takes a third of a second and 250 MB, GPU or not.

namespace aloft::cuda {

class VendorLibrary {
 public:
  /// file: as the loader looks for it, e.g. "libcublas.so.13".
  explicit VendorLibrary(const char* file) : file_(file) {}
  VendorLibrary(const VendorLibrary&) = delete;
  VendorLibrary& operator=(const VendorLibrary&) = delete;
  ~VendorLibrary() = default;  // a library that was opened stays: others may use it until the program ends

  /// The address of a function. Throws DeviceError naming the library that is not there, or has no such
  /// function.
  [[nodiscard]] void* function(const char* name);

 private:
  const char* file_;
  void* handle_ = nullptr;
};

[[nodiscard]] VendorLibrary& blas_library();
[[nodiscard]] VendorLibrary& sparse_library();
[[nodiscard]] VendorLibrary& solver_library();
[[nodiscard]] VendorLibrary& fft_library();

/// Opens all of them. Throws DeviceError.
void open_vendor_libraries();

}  // namespace aloft::cuda

// ALOFT_VENDOR(blas, cublasDgemm_64)(arguments...). Some names are macros for those of a newer version.
#define ALOFT_VENDOR_TEXT(name) #name
#define ALOFT_VENDOR_NAMED(library, name, text)                                                 \
  ([]() -> decltype(&(name)) {                                                                  \
    static const auto aloft_function =                                                          \
        reinterpret_cast<decltype(&(name))>(::aloft::cuda::library##_library().function(text)); \
    return aloft_function;                                                                      \
  }())
#define ALOFT_VENDOR_EXPANDED(library, name) ALOFT_VENDOR_NAMED(library, name, ALOFT_VENDOR_TEXT(name))
#define ALOFT_VENDOR(library, name) ALOFT_VENDOR_EXPANDED(library, name)
