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

/// Read-ahead over a TokenSource: a thread fills the next chunk while the caller works on this one. Each
/// chunk owns `chunk_tokens` positions (fewer in the last) and shows `halo` more tokens that belong to the
/// next ones (fewer near the end, none in the last chunk). Until its destruction the source belongs to that
/// thread, except for position(); the destructor cancels a read in progress, and with it the rest of the
/// pass.
class ChunkRing {
 public:
  struct Chunk {
    std::span<const TokenId> ids;  ///< [n_from + halo]; valid until the next call of next()
    std::int64_t n_from = 0;
    std::int32_t halo = 0;
  };

  ChunkRing(TokenSource& source, std::int64_t chunk_tokens, std::int32_t halo);
  ~ChunkRing();
  ChunkRing(const ChunkRing&) = delete;
  ChunkRing& operator=(const ChunkRing&) = delete;

  /// Nothing at the end. Rethrows what the source threw, after the chunks read before it.
  [[nodiscard]] std::optional<Chunk> next();

 private:
  static constexpr int kSlots = 2;
  struct Slot {
    std::vector<TokenId> ids;
    std::int64_t n_from = 0;
    std::int32_t halo = 0;
    bool full = false;  ///< the thread filled it and the caller has not given it back
  };
  void fill();
  [[nodiscard]] bool fill_slot(Slot& slot);

  TokenSource& source_;
  const std::int64_t chunk_tokens_;
  const std::int32_t halo_;
  Slot slots_[kSlots];
  std::vector<TokenId> ahead_;  ///< the thread's: read, but owned by a later chunk
  int reading_ = -1;            ///< the slot the caller holds
  int next_ = 0;                ///< the slot the caller gets next
  bool ended_ = false, stop_ = false;
  std::exception_ptr failure_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
};

}  // namespace aloft
