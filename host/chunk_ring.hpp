#pragma once
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "host/token_source.hpp"

namespace aloft {

/// Read-ahead over a TokenSource: a thread fills the next chunks while the caller works on those it has. Each
/// chunk owns `chunk_tokens` positions (fewer in the last) and shows `halo` more tokens that belong to the
/// next ones (fewer near the end, none in the last chunk). Until its destruction the source belongs to that
/// thread, except for position(); the destructor cancels a read in progress, and with it the rest of the
/// pass. Chunks lie in the caller's memory; after the first of them nothing is allocated.
class ChunkRing {
 public:
  struct Chunk {
    std::span<const TokenId> ids;  ///< [n_from + halo]; valid until it is given back
    std::int64_t n_from = 0;
    std::int32_t halo = 0;
  };
  /// One being read, one on its way to the device, one being worked on. A corpus of fewer chunks needs no
  /// more than it has; with fewer than that there is less read-ahead, and nothing else changes.
  static constexpr int kSlots = 3;

  /// Tokens of memory that a ring needs. Throws Error unless chunk_tokens >= 1, halo >= 0 and slots is 1 to
  /// kSlots.
  [[nodiscard]] static std::size_t memory_tokens(std::int64_t chunk_tokens, std::int32_t halo,
                                                 int slots = kSlots);
  /// memory: [memory_tokens(chunk_tokens, halo, slots)], the ring's own until its destruction.
  ChunkRing(TokenSource& source, std::int64_t chunk_tokens, std::int32_t halo, std::span<TokenId> memory,
            int slots = kSlots);
  ~ChunkRing();
  ChunkRing(const ChunkRing&) = delete;
  ChunkRing& operator=(const ChunkRing&) = delete;

  /// Waits for the next chunk; nothing at the end. Rethrows what the source threw, after the chunks read
  /// before it. At most as many chunks as there are slots may be out.
  [[nodiscard]] std::optional<Chunk> next();
  /// The next chunk if it is there already.
  [[nodiscard]] std::optional<Chunk> poll();
  /// Gives back the oldest chunk that is out.
  void give_back();

 private:
  struct Slot {
    std::span<TokenId> ids;  ///< [chunk_tokens + halo]
    std::int64_t n_from = 0;
    std::int32_t halo = 0;
    bool full = false;  ///< the thread filled it and the caller has not given it back
  };
  void fill();
  [[nodiscard]] bool fill_slot(Slot& slot);
  [[nodiscard]] Chunk take();

  TokenSource& source_;
  const std::int64_t chunk_tokens_;
  const int count_;  ///< of the slots
  Slot slots_[kSlots];
  std::vector<TokenId> ahead_;  ///< the thread's: read, but owned by a later chunk
  int out_ = 0;                 ///< chunks the caller has
  int next_ = 0;                ///< the slot the caller gets next
  bool ended_ = false, stop_ = false;
  std::exception_ptr failure_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
};

}  // namespace aloft
