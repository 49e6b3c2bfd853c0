#include "tests/simt/lifetimes.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <utility>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include "tests/simt/cudart_state.hpp"
#include "tests/simt/symbols.hpp"

namespace simt {
namespace {

std::uint64_t operations = 0;  // queued so far
std::uint64_t over = 0;        // all up to this one are, for everybody

struct Life {
  std::size_t bytes = 0;
  int allocated_on = 0;  // the stream, and which of its operations
  std::uint64_t allocated_by = 0;
  bool freed = false;
  std::map<int, std::uint64_t> last_use;  // of each stream
};
std::map<const char*, Life> lives;

Life* life_of(std::uintptr_t address) {
  const auto* p = reinterpret_cast<const char*>(address);
  const auto after = lives.upper_bound(p);
  if (after == lives.begin()) return nullptr;
  const auto& [begin, life] = *std::prev(after);
  return p < begin + std::max<std::size_t>(life.bytes, 1) ? &std::prev(after)->second : nullptr;
}

std::string name_of(const Arguments& arguments) {
  return arguments.kernel != nullptr ? function_name(arguments.kernel) : "a copy or a library's call";
}

// Freed memory that is kept: enough for a test's, too little to matter in a program's.
constexpr std::size_t kMostKept = 4 << 20, kMostBlocksKept = 256;
constexpr int kGarbage = 0xdb;
auto& retired = *new std::deque<std::pair<void*, std::size_t>>;  // never destroyed: no leak at the end
std::size_t retired_bytes = 0;

void let_go_of_the_oldest() {
  const auto [p, bytes] = retired.front();
  retired.pop_front();
  retired_bytes -= bytes;
  lives.erase(static_cast<const char*>(p));
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(p, bytes);
#endif
  hooks->written(p, bytes);  // whoever gets this address next may be the host
  std::free(p);
}

}  // namespace

void Known::add(const Known& other) {
  for (const auto& [stream, operation] : other.last_) {
    std::uint64_t& mine = last_[stream];
    mine = std::max(mine, operation);
  }
}
bool Known::has(int stream, std::uint64_t operation) const {
  const auto found = last_.find(stream);
  return operation <= over || (found != last_.end() && operation <= found->second);
}

std::uint64_t next_operation() { return ++operations; }
Known& host_knows() {
  static Known known;
  return known;
}
void host_knows_all() {
  over = operations;
  host_knows() = {};
}

void life_begins(const void* p, std::size_t bytes) {
  lives[static_cast<const char*>(p)] = {bytes, 0, 0, false, {}};
}
void life_begins(const void* p, std::size_t bytes, const Queued& by) {
  lives[static_cast<const char*>(p)] = {bytes, by.stream, by.operation, false, {}};
}

void use(const Arguments& arguments, const Queued& by) {
  for (const std::uintptr_t word : arguments.words) {
    Life* const life = life_of(word);
    if (life == nullptr) continue;
    if (life->freed)
      misuse("use after free: " + name_of(arguments) + " was queued after the memory it uses had been freed");
    else if (!by.before.has(life->allocated_on, life->allocated_by))
      misuse("use before allocation: " + name_of(arguments) +
             " was queued on a stream that does not wait for the stream on which its memory is allocated");
    life->last_use[by.stream] = by.operation;
  }
}

void life_ends(const void* p, const Queued& by) {
  const auto found = lives.find(static_cast<const char*>(p));
  if (found == lives.end()) return;
  Life& life = found->second;
  life.freed = true;
  life.last_use[life.allocated_on] = std::max(life.last_use[life.allocated_on], life.allocated_by);
  for (const auto& [stream, operation] : life.last_use)
    if (!by.before.has(stream, operation))
      misuse("free during use: the stream that freed memory does not wait for another's work with it");
}

void retire(void* p, std::size_t bytes) {
  lives[static_cast<const char*>(p)].freed = true;
  std::memset(p, kGarbage, bytes);
  hooks->fresh(p, bytes);
#ifdef __SANITIZE_ADDRESS__
  __asan_poison_memory_region(p, bytes);
#endif
  retired.emplace_back(p, bytes);
  retired_bytes += bytes;
  while (retired_bytes > kMostKept || retired.size() > kMostBlocksKept) let_go_of_the_oldest();
}

}  // namespace simt
