#pragma once
#include <cuda_runtime_api.h>
#include <vector_functions.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

// What kernels, tests and the checkers see of the engine that runs fibers.

/// The caller's place, so that a report can name the kernel's line.
#define SIMT_AT const char *file = __builtin_FILE(), int line = __builtin_LINE()
/// Keeps the engine's own inline code out of the race checker's sight.
#define SIMT_RAW __attribute__((no_sanitize("thread")))

namespace simt {

struct Config {
  std::uint64_t seed = 0;  ///< 0: threads and blocks in order; otherwise a random schedule
  unsigned preempt = 64;   ///< with a seed: pre-empt at one in this many atomics and checked accesses
  unsigned resident = 1;   ///< blocks in flight at once (a cooperative launch: the whole grid)
  bool strict = true;      ///< a thread that exits while others wait in __syncthreads is an error
  std::size_t stack_bytes = 128 << 10;
  std::size_t max_shared_opt_in = 232448;     ///< of a block, static shared memory counted; here sm_90's
  std::size_t max_shared_default = 48 << 10;  ///< more needs cudaFuncSetAttribute, as on a GPU
  std::string fail_kernel;                    ///< kernels of this name fail when they run; "": none
  std::uint64_t max_switches = 1ull << 36;    ///< more is a livelock
};
extern Config config;
extern std::string last_error;  ///< what the last failed launch did wrong
extern std::uint64_t switches;  ///< fiber switches since the start

struct Coordinates {
  uint3 threadIdx, blockIdx;
  dim3 blockDim, gridDim;
};
extern Coordinates here;

// ---- launching

/// What an operation was given, word for word: the addresses among these words are the memory it uses.
/// kernel: null for what is none.
struct Arguments {
  const void* kernel = nullptr;
  std::vector<std::uintptr_t> words;
  template <class T>
  void add(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
#if __has_builtin(__builtin_clear_padding)  // padding holds what lay there before: an address of freed
                                            // memory, say
    __builtin_clear_padding(&value);
    add_words(&value, sizeof value);
#endif
  }

 private:
  void add_words(const void* value, std::size_t bytes);
};

/// Checks the shape, then runs the grid, or hands it to `defer`. Errors: as the runtime would give.
cudaError_t run(bool cooperative, const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
                cudaStream_t stream, Arguments arguments, std::function<void()> body);
/// Set by the stand-in runtime: puts the work into a stream's queue.
extern cudaError_t (*defer)(cudaStream_t, const Arguments&, std::function<cudaError_t()>);
/// cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes).
cudaError_t allow_shared(const void* kernel, std::size_t bytes);
/// Blocks of this shape that a multiprocessor of the made-up GPU runs at once; 0: it cannot run any.
std::size_t blocks_at_once(const void* kernel, std::size_t threads, std::size_t dynamic_shared);
inline constexpr int kMultiprocessors = 4;
inline constexpr std::size_t kThreadsPerMultiprocessor = 2048, kSharedReserved = 1024;  // the latter a block
/// Every kernel that was launched by this process; names come from kernel_name() in symbols.hpp.
const std::set<const void*>& launched();

template <class... P, class... A>
cudaError_t launch_with(bool cooperative, void (*kernel)(P...), dim3 grid, dim3 block,
                        std::size_t shared_bytes, cudaStream_t stream, A&&... args) {
  std::tuple<std::decay_t<P>...> values(static_cast<P>(std::forward<A>(args))...);  // by value, as on a GPU
  Arguments arguments{reinterpret_cast<const void*>(kernel), {}};
  std::apply([&](const auto&... v) { (arguments.add(v), ...); }, values);
  return run(cooperative, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, stream,
             std::move(arguments),
             [kernel, values] { std::apply([&](const auto&... v) { kernel(v...); }, values); });
}

// ---- from inside a kernel

enum class WarpOp : std::uint8_t { sync, shuffle, ballot, match, add, min, max, bit_and, bit_or, bit_xor };
enum class BlockOp { count, all, any };  ///< what __syncthreads and its three relatives return
/// Waits for the lanes of `mask`; 64-bit values in, the lane's result out.
std::uint64_t warp_op(WarpOp op, unsigned mask, std::uint64_t value, int source, const char* file, int line);
unsigned block_op(BlockOp op, int predicate, const char* file, int line);
void grid_sync(const char* file, int line);
/// Before every atomic: alignment, a chance of pre-emption, the race checker's view.
void atomic_point(const void* p, std::size_t bytes, const char* file, int line);
void fence();
void yield();
int lane();
void* dynamic_shared();
/// Ends the launch with cudaErrorLaunchFailure and this text in last_error.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// ---- for checkers

struct Range {
  char* begin;
  std::size_t bytes;
};
/// Who is running. `in_kernel` is false in host code and inside the engine itself.
struct Where {
  unsigned slot = 0, thread = 0, warp = 0, lane = 0;  ///< slot: which of the resident blocks
  const char *stack = nullptr, *stack_end = nullptr;
  bool in_kernel = false;
};
Where where();
bool chance(unsigned one_in);  ///< always false without a seed

/// Events a checker may want; race.cpp is one. The default does nothing.
struct Hooks {
  virtual ~Hooks() = default;
  [[nodiscard]] virtual bool finds_races() const { return false; }
  virtual void launch_begin() {}
  virtual void block_begin(unsigned /*slot*/, unsigned /*warps*/, const Range* /*shared*/,
                           std::size_t /*ranges*/) {}
  virtual void block_sync(unsigned /*slot*/) {}
  virtual void grid_sync() {}
  virtual void warp_sync(unsigned /*slot*/, unsigned /*warp*/, unsigned /*lanes*/) {}
  virtual void atomic(const void*, std::size_t, const char* /*file*/, int /*line*/) {}
  virtual void fresh(void*, std::size_t) {}    ///< device memory that nobody has written yet
  virtual void written(void*, std::size_t) {}  ///< by a copy, a memset or a library
};
extern Hooks* hooks;

/// While one lives, memory accesses are the engine's own and no checker's business.
class InEngine {
 public:
  InEngine();
  ~InEngine();
  InEngine(const InEngine&) = delete;
  InEngine& operator=(const InEngine&) = delete;

 private:
  bool before_;
};

}  // namespace simt
