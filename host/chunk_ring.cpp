#include "host/chunk_ring.hpp"

#include <algorithm>
#include <cstddef>

#include "host/error.hpp"

namespace aloft {

ChunkRing::ChunkRing(TokenSource& source, std::int64_t chunk_tokens, std::int32_t halo)
    : source_(source), chunk_tokens_(chunk_tokens), halo_(halo) {
  expects(chunk_tokens >= 1 && halo >= 0, "a chunk owns at least one token");
  thread_ = std::thread([this] { fill(); });
}

ChunkRing::~ChunkRing() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  source_.cancel();
  thread_.join();
}

std::optional<ChunkRing::Chunk> ChunkRing::next() {
  std::unique_lock lock(mutex_);
  if (reading_ >= 0) {
    slots_[reading_].full = false;
    reading_ = -1;
    changed_.notify_all();
  }
  changed_.wait(lock, [this] { return slots_[next_].full || ended_; });
  if (!slots_[next_].full) {
    if (failure_) std::rethrow_exception(failure_);
    return std::nullopt;
  }
  reading_ = next_;
  next_ = (next_ + 1) % kSlots;
  const Slot& slot = slots_[reading_];
  return Chunk{slot.ids, slot.n_from, slot.halo};
}

void ChunkRing::fill() {
  std::exception_ptr failure;
  try {
    for (int at = 0;; at = (at + 1) % kSlots) {
      Slot& slot = slots_[at];
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return !slot.full || stop_; });
        if (stop_) return;
      }
      if (!fill_slot(slot)) break;  // nobody else touches a slot that is not full
      {
        const std::lock_guard lock(mutex_);
        slot.full = true;
      }
      changed_.notify_all();
    }
  } catch (...) {
    failure = std::current_exception();
  }
  {
    const std::lock_guard lock(mutex_);
    failure_ = failure;
    ended_ = true;
  }
  changed_.notify_all();
}

bool ChunkRing::fill_slot(Slot& slot) {
  const auto chunk = static_cast<std::size_t>(chunk_tokens_);
  std::vector<TokenId>& ids = slot.ids;
  ids.resize(chunk + static_cast<std::size_t>(halo_));
  std::size_t have = std::min(ahead_.size(), ids.size());
  std::copy_n(ahead_.begin(), have, ids.begin());
  while (have < ids.size()) {
    const std::size_t n = source_.read(std::span(ids).subspan(have));
    if (n == 0) break;
    have += n;
  }
  ids.resize(have);
  const std::size_t owned = std::min(have, chunk);
  ahead_.assign(ids.begin() + static_cast<std::ptrdiff_t>(owned), ids.end());
  slot.n_from = static_cast<std::int64_t>(owned);
  slot.halo = static_cast<std::int32_t>(have - owned);
  return owned != 0;
}

}  // namespace aloft
