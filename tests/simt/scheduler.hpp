#pragma once
#include <memory>
#include <string>
#include <vector>

#include "tests/simt/engine.hpp"
#include "tests/simt/fiber.hpp"

// The engine's state: fibers, resident blocks and who runs next. launch.cpp fills it for one grid,
// collectives.cpp holds fibers back and lets them go.

namespace simt {

enum class State : std::uint8_t { ready, at_block_barrier, in_warp_op, at_grid_barrier, done };

struct Fiber {
  Context context;
  Where where;
  uint3 index{};  ///< threadIdx
  State state = State::done;
  // The warp operation it waits in, or the barrier.
  WarpOp op{};
  unsigned mask = 0;
  int source = 0;
  std::uint64_t value = 0, result = 0;
  const char* file = "";
  int line = 0;
};

struct PendingWarpOp {
  WarpOp op;
  unsigned mask, arrived;
};
struct Warp {
  unsigned alive = 0;  ///< lanes that have not exited
  std::vector<PendingWarpOp> pending;
};

struct Block {
  uint3 index{};  ///< blockIdx
  unsigned slot = 0;
  unsigned alive = 0, exited = 0;               ///< threads
  unsigned arrived = 0, votes = 0, result = 0;  ///< of the barrier in progress
  BlockOp op{};
  const char* file = "";
  int line = 0;
  std::vector<Warp> warps;
  char* dynamic_shared = nullptr;
  std::vector<char> static_shared;  ///< its values while another block's are in place
};

inline constexpr std::size_t kMaxFibers = 132 * 2048;  ///< one H100 full of threads

struct Scheduler {
  std::vector<Fiber> fibers;    ///< [slot][thread]; never reallocated, parked fibers keep pointers into it
  std::vector<Block> blocks;    ///< resident ones, by slot
  std::vector<unsigned> ready;  ///< indices of fibers; those before `head` have been taken
  std::size_t head = 0;
  std::vector<unsigned> order;  ///< in which blocks start
  std::size_t next_block = 0, finished = 0, n_blocks = 0, n_threads = 0;
  std::size_t waiting_for_grid = 0;
  std::size_t dynamic_bytes = 0;
  const std::function<void()>* body = nullptr;
  Fiber* current = nullptr;   ///< null: the launching stack
  Block* in_place = nullptr;  ///< whose static shared memory is in the variables
  std::vector<Range> shared;  ///< those of them that the running kernel can reach
  Context launcher;
  bool aborting = false, depth_first = false;
  std::uint64_t random_state = 0;  ///< 0: no randomness
  std::uint64_t switches_at_start = 0;
  unsigned since_switch = 0;  ///< atomics since the last switch

  std::uint64_t random();
  void make_ready(Fiber& fiber);
  /// Runs somebody else; returns when this fiber is picked again (at once if it picks itself).
  void run_next();
  void switch_to(Fiber* fiber);  ///< null: back to the launching stack
  void start_block(unsigned slot);
  void grow(std::size_t fibers_needed);
  void reset_fibers();  ///< after an aborted launch the stacks hold half-run kernels

 private:
  void move_shared(Block* next);
};
extern Scheduler scheduler;

/// In collectives.cpp: a thread has left its kernel.
void on_exit(Fiber& fiber);
/// Who waits where, when nobody can run.
[[nodiscard]] std::string deadlock_report();

}  // namespace simt
