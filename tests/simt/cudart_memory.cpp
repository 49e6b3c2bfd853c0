#include <array>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>

#include "tests/simt/cudart_state.hpp"

// Device and pinned memory, and copies between them.

namespace simt {
namespace {

struct Allocation {
  std::size_t bytes = 0;
  bool freeing = false;  ///< cudaFreeAsync was called; its stream has not got there yet
  int device = 0;
  bool pooled = false;
};
/// Where a device's memory is.
struct Board {
  std::size_t used = 0;         ///< allocations, of both kinds
  std::size_t pooled = 0;       ///< of these, the pool's
  std::size_t kept = 0;         ///< freed, but still the pool's
  std::uint64_t threshold = 0;  ///< what the pool may hold after a synchronisation, if less is in use
};
std::array<Board, kMaxDevices> boards;
Board& board() {
  Board& b = boards[static_cast<std::size_t>(current_device())];
  b.kept = std::min(b.kept, runtime.capacity - std::min(runtime.capacity, b.used));  // a test may shrink it
  return b;
}
std::map<const char*, Allocation> device_memory, pinned_memory;
constexpr int kGarbage = 0xdb;
constexpr std::size_t kAlignment = 256;

const Allocation* find(const std::map<const char*, Allocation>& memory, const void* p, std::size_t bytes) {
  const auto* begin = static_cast<const char*>(p);
  auto after = memory.upper_bound(begin);
  if (after == memory.begin()) return nullptr;
  const auto& [start, allocation] = *std::prev(after);
  return begin + bytes <= start + allocation.bytes ? &allocation : nullptr;
}
bool on_device(const void* p, std::size_t bytes) {
  const Allocation* a = find(device_memory, p, bytes);
  return a != nullptr && !a->freeing;
}
bool is_pinned(const void* p, std::size_t bytes) { return find(pinned_memory, p, bytes) != nullptr; }

void make_garbage(void* p, std::size_t bytes) {
  std::memset(p, kGarbage, bytes);
  hooks->fresh(p, bytes);
}

cudaError_t take(void** p, std::size_t bytes, bool from_pool) {
  *p = nullptr;
  Board& b = board();
  const auto fits = [&] { return b.used + (from_pool ? 0 : b.kept) + bytes <= runtime.capacity; };
  if (!fits()) run_all();  // memory may be on its way back
  if (!fits() || posix_memalign(p, kAlignment, bytes == 0 ? 1 : bytes) != 0)
    return done(cudaErrorMemoryAllocation);
  device_memory[static_cast<char*>(*p)] = {bytes, false, current_device(), from_pool};
  if (from_pool) b.kept -= std::min(b.kept, bytes);
  b.used += bytes;
  b.pooled += from_pool ? bytes : 0;
  runtime.bytes += bytes;
  runtime.peak_bytes = std::max(runtime.peak_bytes, runtime.bytes);
  ++runtime.allocations;
  return cudaSuccess;
}

void give_back(void* p) {
  const auto it = device_memory.find(static_cast<char*>(p));
  Board& b = boards[static_cast<std::size_t>(it->second.device)];
  b.used -= it->second.bytes;
  if (it->second.pooled) b.pooled -= it->second.bytes, b.kept += it->second.bytes;
  runtime.bytes -= it->second.bytes;
  --runtime.allocations;
  const std::size_t bytes = it->second.bytes;
  device_memory.erase(it);
  retire(p, bytes);
}

bool directions_fit(const void* to, std::size_t to_bytes, const void* from, std::size_t from_bytes,
                    cudaMemcpyKind kind) {
  if (kind == cudaMemcpyDefault) return true;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  return on_device(to, to_bytes) == to_device && on_device(from, from_bytes) == from_device;
}

struct Shape {  // rows of `width` bytes
  std::size_t width, height, to_pitch, from_pitch;
  [[nodiscard]] std::size_t to_bytes() const { return (height - 1) * to_pitch + width; }
  [[nodiscard]] std::size_t from_bytes() const { return (height - 1) * from_pitch + width; }
};

cudaError_t copy(void* to, const void* from, Shape shape, cudaMemcpyKind kind, cudaStream_t stream) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = gate(); code != cudaSuccess) return code;
  if (shape.width == 0 || shape.height == 0) return cudaSuccess;
  if (!directions_fit(to, shape.to_bytes(), from, shape.from_bytes(), kind))
    return done(cudaErrorInvalidValue);
  const bool to_device = on_device(to, shape.to_bytes()), from_device = on_device(from, shape.from_bytes());
  (to_device ? runtime.uploaded : runtime.downloaded) +=
      to_device == from_device ? 0 : shape.width * shape.height;
  std::shared_ptr<char[]> staged;
  if (!from_device && !is_pinned(from, shape.from_bytes())) {
    staged = std::make_unique<char[]>(shape.from_bytes());
    std::memcpy(staged.get(), from, shape.from_bytes());
  }
  // What a copy brings to the host is there once the host has waited, and what was there no longer is.
  if (!to_device)
    for (std::size_t row = 0; row < shape.height; ++row)
      std::memset(static_cast<char*>(to) + row * shape.to_pitch, kGarbage, shape.width);
  const auto address = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p); };
  const auto run = [=] {
    if (failed()) return true;
    const char* source = staged != nullptr ? staged.get() : static_cast<const char*>(from);
    for (std::size_t row = 0; row < shape.height; ++row) {
      char* target = static_cast<char*>(to) + row * shape.to_pitch;
      std::memcpy(target, source + row * shape.from_pitch, shape.width);
      hooks->written(target, shape.width);
    }
    return true;
  };
  return enqueue_step(stream, run, [&](const Queued& now) {
    use({nullptr, {address(to), address(from)}}, now);
  });
}

}  // namespace

void release_kept() {
  for (Board& b : boards) {
    const std::size_t allowed = b.threshold > b.pooled ? b.threshold - b.pooled : 0;
    b.kept = std::min(b.kept, allowed);
  }
}
void forget_pools() {
  for (Board& b : boards) b.kept = 0;
}

}  // namespace simt

using namespace simt;

extern "C" {

cudaError_t cudaMalloc(void** p, std::size_t bytes) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = context(); code != cudaSuccess) return code;
  if (const cudaError_t code = gate(cudaErrorMemoryAllocation); code != cudaSuccess) return code;
  const cudaError_t code = take(p, bytes, false);
  if (code != cudaSuccess) return code;
  make_garbage(*p, bytes);
  life_begins(*p, bytes);
  return code;
}
cudaError_t cudaMallocAsync(void** p, std::size_t bytes, cudaStream_t stream) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = gate(cudaErrorMemoryAllocation); code != cudaSuccess) return code;
  if (const cudaError_t code = on_its_device(stream); code != cudaSuccess) return code;
  if (const cudaError_t code = take(p, bytes, true); code != cudaSuccess) return code;
  void* const address = *p;
  return enqueue_step(
      stream,
      [=] {  // whoever wrote there before this point in the stream was too early
        make_garbage(address, bytes);
        return true;
      },
      [&](const Queued& now) { life_begins(address, bytes, now); });
}
cudaError_t cudaMallocFromPoolAsync(void** p, std::size_t bytes, cudaMemPool_t, cudaStream_t stream) {
  return cudaMallocAsync(p, bytes, stream);
}
cudaError_t cudaFree(void* p) {
  const auto lock = lock_runtime();
  if (p == nullptr) return cudaSuccess;
  run_all();  // it synchronises
  host_knows_all();
  if (device_memory.count(static_cast<char*>(p)) == 0) return done(cudaErrorInvalidValue);
  give_back(p);
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  const auto lock = lock_runtime();
  if (p == nullptr) return cudaSuccess;
  const auto it = device_memory.find(static_cast<char*>(p));
  if (it == device_memory.end() || it->second.freeing) return done(cudaErrorInvalidValue);
  it->second.freeing = true;
  return enqueue_step(
      stream,
      [=] {
        give_back(p);
        return true;
      },
      [&](const Queued& now) { life_ends(p, now); });
}

cudaError_t cudaHostAlloc(void** p, std::size_t bytes, unsigned) {
  const auto lock = lock_runtime();
  *p = nullptr;
  if (const cudaError_t code = context(); code != cudaSuccess) return code;
  if (const cudaError_t code = gate(cudaErrorMemoryAllocation); code != cudaSuccess) return code;
  if (posix_memalign(p, kAlignment, bytes == 0 ? 1 : bytes) != 0) return done(cudaErrorMemoryAllocation);
  pinned_memory[static_cast<char*>(*p)] = {bytes, false};
  ++runtime.host_allocations;
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** p, std::size_t bytes) { return cudaHostAlloc(p, bytes, 0); }
cudaError_t cudaFreeHost(void* p) {
  const auto lock = lock_runtime();
  if (p == nullptr) return cudaSuccess;
  run_all();
  if (pinned_memory.erase(static_cast<char*>(p)) == 0) return done(cudaErrorInvalidValue);
  --runtime.host_allocations;
  std::free(p);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return copy(to, from, {bytes, 1, bytes, bytes}, kind, stream);
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch) return done(cudaErrorInvalidPitchValue);
  return copy(to, from, {width, height, to_pitch, from_pitch}, kind, stream);
}
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = gate(); code != cudaSuccess) return code;
  if (bytes != 0 && !on_device(p, bytes)) return done(cudaErrorInvalidValue);
  return enqueue_step(
      stream,
      [=] {
        if (failed()) return true;
        std::memset(p, value, bytes);
        hooks->written(p, bytes);
        return true;
      },
      [&](const Queued& now) {
        use({nullptr, {reinterpret_cast<std::uintptr_t>(p)}}, now);
      });
}
cudaError_t cudaMemset(void* p, int value, std::size_t bytes) {
  return cudaMemsetAsync(p, value, bytes, nullptr);
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = context(); code != cudaSuccess) return code;
  if (const cudaError_t code = gate(); code != cudaSuccess) return code;
  *total = runtime.capacity;
  const Board& b = board();
  *free = runtime.capacity - std::min(runtime.capacity, b.used + b.kept);
  return cudaSuccess;
}

// A device's pool is its board.
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  const auto lock = lock_runtime();
  if (device < 0 || device >= runtime.devices) return done(cudaErrorInvalidDevice);
  *pool = reinterpret_cast<cudaMemPool_t>(&boards[static_cast<std::size_t>(device)]);
  return gate();
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  const auto lock = lock_runtime();
  if (attribute != cudaMemPoolAttrReleaseThreshold) return done(cudaErrorInvalidValue);
  reinterpret_cast<Board*>(pool)->threshold = *static_cast<std::uint64_t*>(value);
  return gate();
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  const auto lock = lock_runtime();
  const Board& b = *reinterpret_cast<const Board*>(pool);
  if (attribute != cudaMemPoolAttrReservedMemCurrent && attribute != cudaMemPoolAttrUsedMemCurrent)
    return done(cudaErrorInvalidValue);
  *static_cast<std::uint64_t*>(value) =
      b.pooled + (attribute == cudaMemPoolAttrReservedMemCurrent ? b.kept : 0);
  return gate();
}

}  // extern "C"
