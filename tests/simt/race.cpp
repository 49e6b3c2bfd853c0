#include "tests/simt/race.hpp"

#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "tests/simt/engine.hpp"
#include "tests/simt/shadow.hpp"

namespace simt {
namespace {

constexpr unsigned kLanes = 32;
using VectorClock = std::array<std::uint32_t, kLanes>;
struct BlockClocks {
  std::uint32_t serial = 0, barriers = 0;
  std::vector<std::array<VectorClock, kLanes>> warps;  ///< each lane's view of the lanes of its warp
};

template <class F>
void for_each_word(std::uint64_t address, std::size_t bytes, F f) {
  while (bytes != 0) {
    const std::size_t of_this = std::min<std::size_t>(bytes, 4 - (address & 3));
    f(address & ~3ull, static_cast<std::uint8_t>(((1u << of_this) - 1) << (address & 3)));
    address += of_this;
    bytes -= of_this;
  }
}

// "file:line" of a code address, as addr2line tells; asked once per address.
std::string line_of_code(std::uint64_t place) {
  static std::map<std::uint64_t, std::string> known;
  std::string& line = known[place];
  if (!line.empty()) return line;
  std::uintptr_t base = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* out) {
        *static_cast<std::uintptr_t*>(out) = info->dlpi_addr;
        return 1;  // the first object is the program
      },
      &base);
  char command[160], out[300] = "?";
  std::snprintf(command, sizeof command, "addr2line -spe /proc/%d/exe 0x%llx", getpid(),
                static_cast<unsigned long long>(place - base - 1));
  if (FILE* pipe = popen(command, "r"); pipe != nullptr) {
    if (std::fgets(out, sizeof out, pipe) != nullptr) out[std::strcspn(out, "\n")] = 0;
    pclose(pipe);
  }
  return line = out;
}

std::string source_line(const Access& a) {
  if (a.line == 0) return line_of_code(a.place);
  return reinterpret_cast<const char*>(a.place) + (":" + std::to_string(a.line));
}

const char* verb(unsigned flags, bool past) {
  if ((flags & kAtomic) != 0) return past ? "updated atomically" : "updates atomically";
  if ((flags & kWrite) != 0) return past ? "wrote" : "writes";
  return past ? "read" : "reads";
}

class RaceChecker final : public Hooks {
 public:
  RaceChecker() { hooks = this; }

  bool finds_races() const override { return true; }
  void launch_begin() override {
    shadow_.forget_histories();
    grid_barriers_ = 0;
    blocks_.clear();
    statics_.clear();
  }
  void block_begin(unsigned slot, unsigned warps, const Range* ranges, std::size_t n) override {
    if (blocks_.size() <= slot) blocks_.resize(slot + 1);
    BlockClocks& block = blocks_[slot];
    block.serial = ++serials_;
    block.barriers = 0;
    block.warps.assign(warps, {});
    for (auto& warp : block.warps)
      for (unsigned l = 0; l < kLanes; ++l) warp[l][l] = 1;
    // The last range may be the dynamic buffer; that one exists once per slot anyway.
    if (statics_.empty()) statics_.assign(ranges, ranges + n);
    for (std::size_t i = 0; i < n; ++i) {
      set_written(ranges[i].begin, ranges[i].bytes, slot, false);
      shadow_.clear(key(reinterpret_cast<std::uint64_t>(ranges[i].begin), slot), ranges[i].bytes);
    }
  }
  void block_sync(unsigned slot) override { ++blocks_[slot].barriers; }
  void grid_sync() override { ++grid_barriers_; }
  void warp_sync(unsigned slot, unsigned warp, unsigned lanes) override {
    auto& clocks = blocks_[slot].warps[warp];
    VectorClock joined{};
    for (unsigned l = 0; l < kLanes; ++l)
      if ((lanes >> l & 1) != 0)
        for (unsigned k = 0; k < kLanes; ++k) joined[k] = std::max(joined[k], clocks[l][k]);
    for (unsigned l = 0; l < kLanes; ++l)
      if ((lanes >> l & 1) != 0) {
        clocks[l] = joined;
        ++clocks[l][l];
      }
  }
  // What the host allocates or fills is no shared memory, even where the last launch's dynamic buffer lay
  // before.
  void fresh(void* p, std::size_t bytes) override {
    shadow_.mark(reinterpret_cast<std::uint64_t>(p), bytes, false);
  }
  void written(void* p, std::size_t bytes) override {
    shadow_.mark(reinterpret_cast<std::uint64_t>(p), bytes, true);
  }
  void atomic(const void* p, std::size_t bytes, const char* file, int line) override {
    access(p, bytes, kWrite | kAtomic, reinterpret_cast<std::uint64_t>(file), line);
  }

  void access(const void* p, std::size_t bytes, unsigned flags, std::uint64_t place, int line) {
    const Where w = where();
    const auto* q = static_cast<const char*>(p);
    if (!w.in_kernel || (q >= w.stack && q < w.stack_end)) return;
    const auto* coordinates = reinterpret_cast<const char*>(&here);
    if (q >= coordinates && q < coordinates + sizeof here) return;
    const InEngine here_only;
    if (line == 0 && chance(config.preempt)) yield();
    const BlockClocks& block = blocks_[w.slot];
    Access mine;
    mine.place = place;
    mine.line = static_cast<std::uint32_t>(line);
    mine.block = block.serial;
    mine.barriers = block.barriers;
    mine.clock = block.warps[w.warp][w.lane][w.lane];
    mine.grid_barriers = grid_barriers_;
    mine.thread = static_cast<std::uint16_t>(w.thread);
    mine.flags = static_cast<std::uint8_t>(flags);
    for_each_word(reinterpret_cast<std::uint64_t>(p), bytes, [&](std::uint64_t address, std::uint8_t mask) {
      const std::uint64_t where_kept = key(address, w.slot);
      Written& state = shadow_.written(where_kept);
      const bool reads = (flags & kWrite) == 0 || (flags & kAtomic) != 0;
      if (reads && (state.tracked & mask & ~state.written) != 0)
        fail("read of uninitialised memory by thread %u at %s", w.thread, source_line(mine).c_str());
      if ((flags & kWrite) != 0) state.written |= mask;
      mine.bytes = mask;
      remember(shadow_.history(where_kept), mine, block, w, address);
    });
  }

 private:
  // Static shared memory has one address and one content per resident block.
  [[nodiscard]] std::uint64_t key(std::uint64_t address, unsigned slot) const {
    for (const Range& r : statics_)
      if (address - reinterpret_cast<std::uint64_t>(r.begin) < r.bytes)
        return address | static_cast<std::uint64_t>(slot + 1) << 48;
    return address;
  }
  void set_written(void* p, std::size_t bytes, unsigned slot, bool is_written) {
    shadow_.mark(key(reinterpret_cast<std::uint64_t>(p), slot), bytes, is_written);
  }
  static bool happens_before(const Access& past, const Access& now, const BlockClocks& block,
                             const Where& w) {
    if (past.grid_barriers < now.grid_barriers) return true;
    if (past.block != now.block) return false;
    return past.thread == now.thread || past.barriers < now.barriers ||
           (past.thread / kLanes == w.warp &&
            block.warps[w.warp][w.lane][past.thread % kLanes] >= past.clock);
  }
  static void remember(History& last, const Access& mine, const BlockClocks& block, const Where& w,
                       std::uint64_t address) {
    Access* place = nullptr;
    for (Access& old : last) {
      if (old.bytes == 0) {
        if (place == nullptr) place = &old;
        continue;
      }
      const bool ordered = happens_before(old, mine, block, w);
      const bool overlap = (old.bytes & mine.bytes) != 0;
      const bool one_writes = ((old.flags | mine.flags) & kWrite) != 0;
      const bool both_atomic = (old.flags & mine.flags & kAtomic) != 0;
      if (!ordered && overlap && one_writes && !both_atomic)
        fail("data race: thread %u %s at %s; thread %u%s %s at %s", w.thread, verb(mine.flags, false),
             source_line(mine).c_str(), old.thread, old.block == mine.block ? "" : " of another block",
             verb(old.flags, true), source_line(old).c_str());
      const bool covered = (old.bytes & ~mine.bytes) == 0;
      if (ordered && covered && ((mine.flags & kWrite) != 0 || (old.flags & kWrite) == 0)) place = &old;
    }
    if (place == nullptr) place = &last[(address / 4 ^ w.thread) & 3];
    *place = mine;
  }

  Shadow shadow_;
  std::vector<BlockClocks> blocks_;  ///< by slot
  std::vector<Range> statics_;
  std::uint32_t serials_ = 0;
  std::uint16_t grid_barriers_ = 0;
};

RaceChecker checker;

}  // namespace

void checked_access(const void* p, std::size_t bytes, unsigned flags, std::uint64_t place, int line) {
  checker.access(p, bytes, flags, place, line);
}

}  // namespace simt
