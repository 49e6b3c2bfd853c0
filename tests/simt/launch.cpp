#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <thread>

#include "tests/simt/scheduler.hpp"
#include "tests/simt/symbols.hpp"

// One grid from launch to its end.

namespace simt {

Config config = [] {
  Config out;
  if (const char* kernel = std::getenv("SIMT_FAIL_KERNEL"); kernel != nullptr) out.fail_kernel = kernel;
  if (const char* seed = std::getenv("SIMT_SEED"); seed != nullptr) {
    out.seed = std::strtoull(seed, nullptr, 10);
    out.resident = 1 + static_cast<unsigned>(out.seed % 3);
  }
  return out;
}();
std::string last_error;
cudaError_t (*defer)(cudaStream_t, const Arguments&, std::function<cudaError_t()>) = nullptr;

namespace {

Hooks no_hooks;
std::set<const void*> launched_kernels;
std::map<const void*, std::size_t> shared_allowed;

std::size_t threads_of(dim3 d) { return std::size_t{d.x} * d.y * d.z; }

cudaError_t refuse(cudaError_t code, const char* why) {
  last_error = why;
  return code;
}

void fill_slots(std::size_t slots) {
  scheduler.grow(slots * scheduler.n_threads);
  scheduler.blocks.assign(slots, {});
  for (unsigned slot = 0; slot < slots; ++slot) {
    scheduler.blocks[slot].slot = slot;
    void* p = nullptr;  // of the exact size, so that AddressSanitizer sees its end
    if (scheduler.dynamic_bytes != 0 && posix_memalign(&p, 128, scheduler.dynamic_bytes) != 0) std::abort();
    scheduler.blocks[slot].dynamic_shared = static_cast<char*>(p);
    for (unsigned t = 0; t < scheduler.n_threads; ++t) {
      Fiber& fiber = scheduler.fibers[slot * scheduler.n_threads + t];
      const char* stack = fiber.context.stack;
      fiber.where = {slot, t, t / 32, t % 32, stack, stack + config.stack_bytes, true};
      fiber.state = State::done;
    }
  }
}

cudaError_t execute(bool cooperative, const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
                    const std::function<void()>& body) {
  const InEngine here_only;
  static std::thread::id owner = std::this_thread::get_id();
  if (owner != std::this_thread::get_id()) {  // parked stacks may hold addresses of another thread's storage
    owner = std::this_thread::get_id();
    scheduler.reset_fibers();
  }
  last_error.clear();
  Scheduler& s = scheduler;
  s.n_threads = threads_of(block);
  s.n_blocks = threads_of(grid);
  s.dynamic_bytes = shared_bytes;
  s.body = &body;
  s.random_state = config.seed != 0 ? config.seed * 0x2545f4914f6cdd1dull | 1 : 0;
  s.depth_first = (config.seed & 1) != 0;  // odd seeds: depth first; even: uniformly random; 0: in order
  s.order.resize(s.n_blocks);
  std::iota(s.order.begin(), s.order.end(), 0u);
  if (s.random_state != 0)
    for (std::size_t i = s.n_blocks; i > 1; --i) std::swap(s.order[i - 1], s.order[s.random() % i]);
  s.ready.clear();
  s.head = s.next_block = s.finished = s.waiting_for_grid = 0;
  s.aborting = false;
  s.in_place = nullptr;
  s.switches_at_start = switches;
  here.gridDim = grid;
  here.blockDim = block;
  s.shared = static_shared_within(kernel);
  const std::size_t resident = std::clamp<std::size_t>(config.resident, 1, kMaxFibers / s.n_threads);
  const std::size_t slots = cooperative ? s.n_blocks : std::min(s.n_blocks, resident);
  fill_slots(slots);
  hooks->launch_begin();
  for (unsigned slot = 0; slot < slots; ++slot) s.start_block(slot);
  s.run_next();  // comes back when nobody is ready any more
  for (const Block& b : s.blocks) {
    hooks->written(b.dynamic_shared, shared_bytes);  // whoever gets this address next may be the host
    std::free(b.dynamic_shared);
  }
  if (!s.aborting && s.finished == s.n_blocks) return cudaSuccess;
  if (!s.aborting) last_error = deadlock_report();
  s.reset_fibers();
  return cudaErrorLaunchFailure;
}

}  // namespace

Hooks* hooks = &no_hooks;

void Arguments::add_words(const void* value, std::size_t bytes) {
  const std::size_t first = words.size();  // pointers are aligned, so they are whole words
  words.resize(first + bytes / sizeof(std::uintptr_t));
  if (words.size() != first)
    std::memcpy(&words[first], value, (words.size() - first) * sizeof(std::uintptr_t));
}

const std::set<const void*>& launched() { return launched_kernels; }

std::size_t blocks_at_once(const void* kernel, std::size_t threads, std::size_t dynamic_shared) {
  const std::size_t shared = dynamic_shared + static_shared_bytes(kernel);
  if (threads == 0 || threads > 1024 || shared > config.max_shared_opt_in) return 0;
  const std::size_t by_threads = kThreadsPerMultiprocessor / ((threads + 31) / 32 * 32);
  // A multiprocessor has what one block may have at most and its reserve: so on 8.0, 8.6, 8.9, 9.0 and 12.0.
  const std::size_t by_shared = (config.max_shared_opt_in + kSharedReserved) / (shared + kSharedReserved);
  return std::min({by_threads, by_shared, std::size_t{32}});
}

cudaError_t allow_shared(const void* kernel, std::size_t bytes) {
  if (bytes + static_shared_bytes(kernel) > config.max_shared_opt_in)
    return refuse(cudaErrorInvalidValue, "more dynamic shared memory than the device has");
  shared_allowed[kernel] = bytes;
  return cudaSuccess;
}

cudaError_t run(bool cooperative, const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
                cudaStream_t stream, Arguments arguments, std::function<void()> body) {
  if (scheduler.current != nullptr) return refuse(cudaErrorNotSupported, "launch from inside a kernel");
  launched_kernels.insert(kernel);
  const std::size_t threads = threads_of(block);
  if (threads == 0 || threads_of(grid) == 0 || threads > 1024 || block.x > 1024 || block.y > 1024 ||
      block.z > 64 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    return refuse(cudaErrorInvalidConfiguration, "invalid launch configuration");
  const std::size_t shared = shared_bytes + static_shared_bytes(kernel);
  if (shared > config.max_shared_opt_in)
    return refuse(cudaErrorInvalidValue, "more shared memory than a block has");
  const auto allowed = shared_allowed.find(kernel);
  if (shared > config.max_shared_default &&
      (allowed == shared_allowed.end() || shared_bytes > allowed->second))
    return refuse(cudaErrorInvalidValue, "more dynamic shared memory than was asked for");
  if (cooperative && threads_of(grid) > kMultiprocessors * blocks_at_once(kernel, threads, shared_bytes))
    return refuse(cudaErrorCooperativeLaunchTooLarge, "cooperative grid does not fit");
  if (!config.fail_kernel.empty() && function_name(kernel).find(config.fail_kernel) != std::string::npos)
    body = [] { fail("made to fail"); };
  auto work = [cooperative, kernel, grid, block, shared_bytes, body = std::move(body)] {
    return execute(cooperative, kernel, grid, block, shared_bytes, body);
  };
  return defer != nullptr ? defer(stream, arguments, std::move(work)) : work();
}

void fail(const char* format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (scheduler.current == nullptr) {
    std::fprintf(stderr, "simt: %s (outside a kernel)\n", text);
    std::abort();
  }
  last_error = text;
  scheduler.aborting = true;
  scheduler.switch_to(nullptr);  // the fibers' stacks are re-armed before the next launch
  __builtin_unreachable();
}

std::string deadlock_report() {
  std::map<std::string, std::string> waiting;  // where -> block/thread ...
  for (const Block& block : scheduler.blocks)
    for (unsigned t = 0; t < scheduler.n_threads; ++t) {
      const Fiber& fiber = scheduler.fibers[block.slot * scheduler.n_threads + t];
      static const char* const kNames[] = {"runnable", "__syncthreads", "warp op", "grid sync", "exited"};
      std::string place = kNames[static_cast<int>(fiber.state)];
      if (fiber.state == State::in_warp_op) {
        char mask[24];
        std::snprintf(mask, sizeof mask, " mask %08x", fiber.mask);
        place += mask;
      }
      if (fiber.state != State::done)
        place += std::string(" at ") + fiber.file + ":" + std::to_string(fiber.line);
      std::string& threads = waiting[place];
      if (threads.size() < 60)
        threads += " " + std::to_string(block.index.x) + "/" + std::to_string(t);
      else if (threads.back() != '.')
        threads += " ...";
    }
  std::string out = "deadlock (block/thread):";
  for (const auto& [place, threads] : waiting) out += "\n  " + place + ":" + threads;
  return out;
}

}  // namespace simt
