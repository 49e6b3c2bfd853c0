#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "host/upload_lanes.hpp"

namespace aloft {

/// Bytes of a device's own memory; zeros where it works in the host's.
struct DeviceMemory {
  std::uint64_t free = 0;
  std::uint64_t total = 0;
};

/// Bytes of a GPU with `total` that are left to what does not go through Device::allocate(): the CUDA
/// context, the code of kernels, and what NVIDIA's libraries allocate for themselves.
[[nodiscard]] constexpr std::uint64_t device_reserve(std::uint64_t total) {
  constexpr std::uint64_t usual = std::uint64_t{512} << 20;
  return std::max(total / 20, std::min(usual, total / 4));
}

/// Memory plus one ordered work queue. Every call is asynchronous on that queue except synchronize().
///
/// Device memory is freed in the queue's order: deallocate() gives it back once the work queued before it has
/// run. So a Buffer may be destroyed as soon as the last work that uses it is *queued*, and no synchronize()
/// is needed to keep temporaries alive. What that does not cover:
/// - Work queued after the destruction: it must not use the memory, though that may still be there.
/// - Host memory: what upload() reads and download() writes must live, and be left alone, until
/// synchronize();
///   so must staging memory.
/// - Other queues (UploadLanes): a Buffer that another queue uses may be destroyed once this queue, or the
///   host, has waited for that use.
///
/// The CPU has done its work when a call returns; a GPU allocates and frees on its stream. The tests'
/// stand-in for the GPU reports whoever breaks the rule (tests/simt/lifetimes.hpp).
class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  /// True when host code may dereference this device's pointers (after synchronize()), so uploads can be
  /// skipped.
  [[nodiscard]] virtual bool shares_host_memory() const noexcept = 0;
  [[nodiscard]] virtual void* allocate(std::size_t bytes) = 0;  ///< aligned to 64 bytes; throws ResourceError
  virtual void deallocate(void* p) noexcept = 0;                ///< in the queue's order
  virtual void zero(void* dst, std::size_t bytes) = 0;
  virtual void upload(void* dst, const void* host_src, std::size_t bytes) = 0;
  virtual void download(void* host_dst, const void* src, std::size_t bytes) = 0;
  virtual void copy(void* dst, const void* src, std::size_t bytes) = 0;  ///< both on this device
  /// `rows` rows of `width` bytes, dst_pitch and src_pitch bytes from row to row; both on this device.
  virtual void copy_rows(void* dst, std::size_t dst_pitch, const void* src, std::size_t src_pitch,
                         std::size_t width, std::size_t rows) = 0;
  virtual void synchronize() = 0;

  /// What could be allocated now, and what the device has.
  [[nodiscard]] virtual DeviceMemory memory() const { return {}; }
  /// From now on allocate() throws ResourceError before more than `bytes` are out at once; 0: no limit.
  virtual void limit_memory(std::uint64_t bytes) = 0;
  /// The most bytes that allocate() had out at once since reset_peak().
  [[nodiscard]] virtual std::uint64_t peak_bytes() const = 0;
  virtual void reset_peak() = 0;  ///< to what is out now
  /// Host memory that uploads can read while the host goes on (page-locked where that exists); aligned to 64
  /// bytes. Throws ResourceError.
  [[nodiscard]] virtual void* allocate_staging(std::size_t bytes) = 0;
  virtual void deallocate_staging(void* p) noexcept = 0;
  /// Buffers that the lanes will fill must be allocated before, and not be destroyed while an upload into
  /// them is under way. Null where shares_host_memory(): there is nothing to upload.
  [[nodiscard]] virtual std::unique_ptr<UploadLanes> make_upload_lanes(int /*lanes*/) { return nullptr; }

  /// A named range on the profiler's timeline (NVTX on CUDA, nothing on the CPU).
  virtual void push_range(const char* /*name*/) {}
  virtual void pop_range() noexcept {}
};

/// Owns `size` uninitialised elements on one device. Move-only; the device must outlive it. May be destroyed
/// while work queued before that still uses it (Device says when not).
template <class T>
requires std::is_trivially_copyable_v<T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(Device& device, std::size_t size)
      : data_(static_cast<T*>(device.allocate(size * sizeof(T))), Free{&device}), size_(size) {}

  [[nodiscard]] T* data() noexcept { return data_.get(); }
  [[nodiscard]] const T* data() const noexcept { return data_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] Device& device() const noexcept { return *data_.get_deleter().device; }

 private:
  struct Free {
    Device* device = nullptr;
    void operator()(T* p) const noexcept { device->deallocate(p); }
  };
  std::unique_ptr<T[], Free> data_;
  std::size_t size_ = 0;
};

/// Owns `size` uninitialised elements of staging memory. Move-only; the device must outlive it, and it every
/// upload from it.
template <class T>
requires std::is_trivially_copyable_v<T>
class Staging {
 public:
  Staging(Device& device, std::size_t size)
      : data_(static_cast<T*>(device.allocate_staging(size * sizeof(T))), Free{&device}), size_(size) {}
  [[nodiscard]] std::span<T> span() noexcept { return {data_.get(), size_}; }

 private:
  struct Free {
    Device* device = nullptr;
    void operator()(T* p) const noexcept { device->deallocate_staging(p); }
  };
  std::unique_ptr<T[], Free> data_;
  std::size_t size_ = 0;
};

/// A range on the profiler's timeline for as long as it lives.
class TraceRange {
 public:
  TraceRange(Device& device, const char* name) : device_(device) { device_.push_range(name); }
  ~TraceRange() { device_.pop_range(); }
  TraceRange(const TraceRange&) = delete;
  TraceRange& operator=(const TraceRange&) = delete;

 private:
  Device& device_;
};

template <class T>
[[nodiscard]] Buffer<T> zeros(Device& device, std::size_t size) {
  Buffer<T> out(device, size);
  device.zero(out.data(), size * sizeof(T));
  return out;
}

template <class T>
[[nodiscard]] Buffer<std::remove_const_t<T>> to_device(Device& device, std::span<T> host) {
  Buffer<std::remove_const_t<T>> out(device, host.size());
  device.upload(out.data(), host.data(), host.size_bytes());
  device.synchronize();
  return out;
}

/// Synchronises.
template <class T>
[[nodiscard]] std::vector<T> to_host(const Buffer<T>& buffer) {
  std::vector<T> out(buffer.size());
  if (out.empty()) return out;
  buffer.device().download(out.data(), buffer.data(), out.size() * sizeof(T));
  buffer.device().synchronize();
  return out;
}

/// A copy on another device, by way of the host. Synchronises.
template <class T>
[[nodiscard]] Buffer<T> moved(const Buffer<T>& from, Device& to) {
  const std::vector<T> host = to_host(from);
  return to_device<const T>(to, host);
}

}  // namespace aloft
