#include "host/chunk_feed.hpp"

#include <cstddef>

namespace aloft {

ChunkFeed::ChunkFeed(Device& device, std::int64_t chunk_tokens, std::int32_t halo, int slots)
    : device_(device),
      chunk_tokens_(chunk_tokens),
      halo_(halo),
      slots_(slots),
      staging_(device, ChunkRing::memory_tokens(chunk_tokens, halo, slots)) {
  if (device.shares_host_memory()) return;
  for (int lane = 0; lane < lanes(slots_); ++lane)
    on_device_[lane] = Buffer<TokenId>(device, ChunkRing::memory_tokens(chunk_tokens, halo, 1));
  lanes_ = device.make_upload_lanes(lanes(slots_));
}

void ChunkFeed::begin_pass(TokenSource& source) {
  end_pass();
  if (lanes_ && current_) lanes_->release(current_->lane);
  if (lanes_)  // the staging memory of a pass given up early may still be read
    for (int lane = 0; lane < lanes(slots_); ++lane) lanes_->wait(lane);
  current_.reset();
  ahead_.reset();
  ring_.emplace(source, chunk_tokens_, halo_, staging_.span(), slots_);
}

std::optional<ChunkFeed::Chunk> ChunkFeed::next() {
  give_back_current();
  current_ = ahead_ ? std::move(ahead_) : send(ring_->next());
  ahead_.reset();
  if (!current_) return std::nullopt;
  const ChunkRing::Chunk& chunk = current_->chunk;
  if (!lanes_) return Chunk{chunk.ids, chunk.ids.data(), chunk.n_from, chunk.halo};
  ahead_ = send(ring_->poll());  // its upload runs beside the work on this one
  lanes_->acquire(current_->lane);
  return Chunk{chunk.ids, on_device_[current_->lane].data(), chunk.n_from, chunk.halo};
}

std::optional<ChunkFeed::Flight> ChunkFeed::send(std::optional<ChunkRing::Chunk> chunk) {
  if (!chunk) return std::nullopt;
  const int lane = next_lane_;
  if (lanes_) {
    lanes_->upload(lane, on_device_[lane].data(), chunk->ids.data(), chunk->ids.size_bytes());
    next_lane_ = (next_lane_ + 1) % lanes(slots_);
  }
  return Flight{*chunk, lane};
}

void ChunkFeed::give_back_current() {
  if (!current_) return;
  if (lanes_) {
    lanes_->release(current_->lane);
    lanes_->wait(current_->lane);
  }
  ring_->give_back();
  current_.reset();
}

}  // namespace aloft
