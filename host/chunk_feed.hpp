#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "host/chunk_ring.hpp"
#include "host/device.hpp"

namespace aloft {

/// A corpus as chunks in a device's memory: disk -> staging memory (ChunkRing's thread) -> device buffers
/// (the device's upload queue), while the work queue is busy with the chunk before. On a device that shares
/// the host's memory the staging memory is the device's, and nothing is copied. All memory is taken at
/// construction and serves any number of passes.
class ChunkFeed {
 public:
  struct Chunk {
    std::span<const TokenId> host;  ///< [n_from + halo] for the host to read; valid until the next call
    const TokenId* ids = nullptr;   ///< the same for work queued on the device before the next call
    std::int64_t n_from = 0;
    std::int32_t halo = 0;
  };
  static constexpr int kLanes = 2;  ///< device buffers: one being filled, one being worked on

  /// slots: chunks in memory at once, 1 to ChunkRing::kSlots; of them lanes(slots) on a device of its own.
  ChunkFeed(Device& device, std::int64_t chunk_tokens, std::int32_t halo, int slots = ChunkRing::kSlots);
  [[nodiscard]] static constexpr int lanes(int slots) { return slots < kLanes ? slots : kLanes; }
  ~ChunkFeed() = default;
  ChunkFeed(const ChunkFeed&) = delete;
  ChunkFeed& operator=(const ChunkFeed&) = delete;

  /// Starts a pass; `source` must live until end_pass().
  void begin_pass(TokenSource& source);
  /// The next chunk, nothing at the end of the pass. Rethrows what the source threw. Never waits for work on
  /// the device to end except to keep at most kLanes chunks queued.
  [[nodiscard]] std::optional<Chunk> next();
  /// Lets go of the source, at the end of the pass or before.
  void end_pass() noexcept { ring_.reset(); }

 private:
  struct Flight {
    ChunkRing::Chunk chunk;
    int lane = 0;
  };
  [[nodiscard]] std::optional<Flight> send(std::optional<ChunkRing::Chunk> chunk);
  void give_back_current();

  Device& device_;
  const std::int64_t chunk_tokens_;
  const std::int32_t halo_;
  const int slots_;
  Staging<TokenId> staging_;
  Buffer<TokenId>
      on_device_[kLanes];  // [chunk_tokens + halo] each; empty where memory is shared or no chunk comes
  std::unique_ptr<UploadLanes> lanes_;  // destroyed, and with it idle, before the memory it copies between
  std::optional<Flight> current_, ahead_;
  int next_lane_ = 0;
  std::optional<ChunkRing> ring_;
};

}  // namespace aloft
