#pragma once
#include <cstddef>
#include <cstdint>
#include <map>

#include "tests/simt/engine.hpp"

// Whether device memory is there when it is used. A GPU does not say: memory freed too early belongs to
// somebody else by then, and what comes out is wrong, sometimes. Here it is told from what is queued, at once
// and under every seed: each operation knows which ones are sure to be over before it begins (those before it
// on its stream, what its stream waited for by events, what the host had waited for), and
//   * an operation may use memory only if its allocation is among them;
//   * memory may be freed by a stream only if all that used it is among them, and is not used after that.

namespace simt {

/// Which operations are sure to be over. They are numbered from 1, over all streams.
class Known {
 public:
  void add(int stream, std::uint64_t operation) { last_[stream] = operation; }
  void add(const Known& other);
  [[nodiscard]] bool has(int stream, std::uint64_t operation) const;

 private:
  std::map<int, std::uint64_t> last_;  ///< of a stream's operations, all up to this one
};
/// An operation as it is queued.
struct Queued {
  int stream = 0;
  std::uint64_t operation = 0;
  const Known& before;
};

[[nodiscard]] std::uint64_t next_operation();
/// What the host has waited for.
[[nodiscard]] Known& host_knows();
/// The host has waited for everything that is queued so far.
void host_knows_all();

/// cudaMalloc'ed, for every operation queued from now on.
void life_begins(const void* p, std::size_t bytes);
/// Allocated by an operation.
void life_begins(const void* p, std::size_t bytes, const Queued& by);
/// An operation uses what its arguments point to, as far as that is device memory. A mistake is misuse() of
/// the runtime.
void use(const Arguments& arguments, const Queued& by);
/// An operation frees p.
void life_ends(const void* p, const Queued& by);
/// Whoever allocated p has it no more. Its memory is kept for a while, and with it what is known of it, so
/// that nobody else gets that address and a late use is told.
void retire(void* p, std::size_t bytes);

}  // namespace simt
