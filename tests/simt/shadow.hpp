#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>

// The race checker's memory: for every 4-byte word of the program's, which of its bytes have been written and
// who touched it last.

namespace simt {

struct Access {
  std::uint64_t place = 0;  ///< code address, or the file's name when line is not 0
  std::uint32_t line = 0;
  std::uint32_t block = 0;          ///< serial number of the block, over all launches
  std::uint32_t barriers = 0;       ///< __syncthreads the block had passed
  std::uint32_t clock = 0;          ///< the lane's own, in its warp's vector clock
  std::uint16_t grid_barriers = 0;  ///< grid syncs the launch had passed
  std::uint16_t thread = 0;
  std::uint8_t bytes = 0;  ///< which of the word's four; 0: an empty entry
  std::uint8_t flags = 0;
};

/// Which bytes of a word are known to have been written. Bytes that are not tracked belong to the host.
struct Written {
  std::uint8_t tracked : 4 = 0, written : 4 = 0;
};
using History = std::array<Access, 4>;

class Shadow {
 public:
  [[nodiscard]] Written& written(std::uint64_t address) {
    return page(address).written[address % kPageBytes / 4];
  }
  /// Last accesses of this launch. There is room for those to a few megabytes; beyond that the oldest are
  /// forgotten, and races with them are missed.
  [[nodiscard]] History& history(std::uint64_t address) {
    Page& p = page(address);
    if (p.history == nullptr) {
      if (pages_with_history_.size() >= kMaxHistories) {
        pages_with_history_.front()->history.reset();
        pages_with_history_.pop_front();
      }
      p.history = std::make_unique<PageHistory>();
      pages_with_history_.push_back(&p);
    }
    return (*p.history)[address % kPageBytes / 4];
  }
  /// From now on these bytes are known to have been written, or not to have been.
  void mark(std::uint64_t address, std::size_t bytes, bool written) {
    for_each_page(address, bytes, [written](Page& p, std::size_t begin, std::size_t end) {
      for (std::size_t word = begin / 4; word * 4 < end; ++word) {
        const unsigned first = begin > word * 4 ? begin - word * 4 : 0, last = std::min(end - word * 4, 4ul);
        const unsigned mask = (1u << last) - (1u << first);
        Written& state = p.written[word];
        state.tracked |= mask;
        state.written = (written ? state.written | mask : state.written & ~mask) & 15u;
      }
    });
  }
  /// Forgets who touched these words: their block is over, another has the place now.
  void clear(std::uint64_t address, std::size_t bytes) {
    for_each_page(address, bytes, [](Page& p, std::size_t begin, std::size_t end) {
      if (p.history != nullptr)
        std::fill(&(*p.history)[begin / 4], &(*p.history)[(end - 1) / 4] + 1, History{});
    });
  }
  /// Earlier launches happened before whatever comes now.
  void forget_histories() {
    for (Page* p : pages_with_history_) p->history.reset();
    pages_with_history_.clear();
  }

 private:
  static constexpr std::size_t kPageBytes = 256;  // small, since counters are hit at random
  static constexpr std::size_t kMaxHistories = 1 << 14;
  using PageHistory = std::array<History, kPageBytes / 4>;
  struct Page {
    std::array<Written, kPageBytes / 4> written{};
    std::unique_ptr<PageHistory> history;
  };

  /// f(page, first byte, end) for every page that holds some of these bytes.
  template <class F>
  void for_each_page(std::uint64_t address, std::size_t bytes, const F& f) {
    while (bytes != 0) {
      const std::size_t begin = address % kPageBytes, inside = std::min(bytes, kPageBytes - begin);
      f(page(address), begin, begin + inside);
      address += inside;
      bytes -= inside;
    }
  }
  Page& page(std::uint64_t address) {
    if (address / kPageBytes != last_key_ || last_ == nullptr) {
      last_key_ = address / kPageBytes;
      last_ = &pages_[last_key_];  // a map's elements stay where they are
    }
    return *last_;
  }

  std::unordered_map<std::uint64_t, Page> pages_;
  std::uint64_t last_key_ = 0;
  Page* last_ = nullptr;
  std::deque<Page*> pages_with_history_;
};

}  // namespace simt
