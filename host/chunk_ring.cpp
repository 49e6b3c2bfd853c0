#include "host/chunk_ring.hpp"

#include <algorithm>
#include <cstddef>

#include "host/error.hpp"

namespace aloft {

std::size_t ChunkRing::memory_tokens(std::int64_t chunk_tokens, std::int32_t halo, int slots) {
  expects(chunk_tokens >= 1 && halo >= 0, "a chunk owns at least one token");
  expects(slots >= 1 && slots <= kSlots, "a ring has at least one slot");
  return static_cast<std::size_t>(slots) *
         (static_cast<std::size_t>(chunk_tokens) + static_cast<std::size_t>(halo));
}

ChunkRing::ChunkRing(TokenSource& source, std::int64_t chunk_tokens, std::int32_t halo,
                     std::span<TokenId> memory, int slots)
    : source_(source), chunk_tokens_(chunk_tokens), count_(slots) {
  expects(memory.size() >= memory_tokens(chunk_tokens, halo, slots), "a ring's memory is too small");
  const std::size_t slot = memory_tokens(chunk_tokens, halo, 1);
  for (std::size_t k = 0; k < static_cast<std::size_t>(slots); ++k)
    slots_[k].ids = memory.subspan(k * slot, slot);
  ahead_.reserve(static_cast<std::size_t>(halo));
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
  expects(out_ < count_, "every chunk of the ring is out");
  changed_.wait(lock, [this] { return slots_[next_].full || ended_; });
  if (slots_[next_].full) return take();
  if (failure_) std::rethrow_exception(failure_);
  return std::nullopt;
}

std::optional<ChunkRing::Chunk> ChunkRing::poll() {
  const std::lock_guard lock(mutex_);
  if (out_ == count_ || !slots_[next_].full) return std::nullopt;
  return take();
}

ChunkRing::Chunk ChunkRing::take() {
  const Slot& slot = slots_[next_];
  next_ = (next_ + 1) % count_;
  ++out_;
  const auto length = static_cast<std::size_t>(slot.n_from) + static_cast<std::size_t>(slot.halo);
  return {slot.ids.first(length), slot.n_from, slot.halo};
}

void ChunkRing::give_back() {
  {
    const std::lock_guard lock(mutex_);
    expects(out_ > 0, "no chunk is out");
    slots_[(next_ - out_ + count_) % count_].full = false;
    --out_;
  }
  changed_.notify_all();
}

void ChunkRing::fill() {
  std::exception_ptr failure;
  try {
    for (int at = 0;; at = (at + 1) % count_) {
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
  const std::span<TokenId> ids = slot.ids;
  std::size_t have = ahead_.size();
  std::copy(ahead_.begin(), ahead_.end(), ids.begin());
  while (have < ids.size()) {
    const std::size_t n = source_.read(ids.subspan(have));
    if (n == 0) break;
    have += n;
  }
  const std::size_t owned = std::min(have, static_cast<std::size_t>(chunk_tokens_));
  ahead_.assign(ids.begin() + static_cast<std::ptrdiff_t>(owned),
                ids.begin() + static_cast<std::ptrdiff_t>(have));
  slot.n_from = static_cast<std::int64_t>(owned);
  slot.halo = static_cast<std::int32_t>(have - owned);
  return owned != 0;
}

}  // namespace aloft
