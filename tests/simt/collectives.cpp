#include <algorithm>
#include <bit>
#include <cstring>

#include "tests/simt/scheduler.hpp"

// Barriers, warp collectives and atomics as fibers meet them.

namespace simt {
namespace {

void release_block(Block& block) {
  block.result = block.op == BlockOp::count ? block.votes
                 : block.op == BlockOp::all ? block.votes == block.arrived
                                            : block.votes != 0;
  block.arrived = block.votes = 0;
  // With a seed: a random rotation in whole warps, and direction.
  const auto n = static_cast<unsigned>(scheduler.n_threads);
  const unsigned turn = scheduler.random_state != 0 ? static_cast<unsigned>(scheduler.random()) : 0;
  for (unsigned k = 0; k < n; ++k) {
    const unsigned t = (k + turn / 2 % n / 32 * 32) % n;
    Fiber& fiber = scheduler.fibers[block.slot * n + ((turn & 1) != 0 ? n - 1 - t : t)];
    if (fiber.state == State::at_block_barrier) scheduler.make_ready(fiber);
  }
  hooks->block_sync(block.slot);
}

std::uint64_t reduce(WarpOp op, std::uint64_t a, std::uint64_t b, unsigned lane) {
  switch (op) {
    case WarpOp::ballot:
      return a | b << lane;
    case WarpOp::add:
      return a + b;
    case WarpOp::min:
      return std::min(a, b);
    case WarpOp::max:
      return std::max(a, b);
    case WarpOp::bit_and:
      return a & b;
    case WarpOp::bit_or:
      return a | b;
    case WarpOp::bit_xor:
      return a ^ b;
    default:
      return a;
  }
}

// Gives every lane its result once all lanes of the mask that still live have arrived.
void try_complete(Block& block, unsigned warp_index, std::size_t which) {
  Warp& warp = block.warps[warp_index];
  const PendingWarpOp group = warp.pending[which];
  if (group.arrived != (group.mask & warp.alive)) return;
  Fiber* lanes = &scheduler.fibers[block.slot * scheduler.n_threads + warp_index * 32];
  std::uint64_t total = group.op == WarpOp::min || group.op == WarpOp::bit_and ? ~0ull : 0;
  for (unsigned m = group.arrived; m != 0; m &= m - 1) {
    const auto l = static_cast<unsigned>(std::countr_zero(m));
    total = reduce(group.op, total, lanes[l].value, l);
  }
  warp.pending.erase(warp.pending.begin() + static_cast<std::ptrdiff_t>(which));
  for (unsigned m = group.arrived; m != 0; m &= m - 1) {
    Fiber& fiber = lanes[std::countr_zero(m)];
    fiber.result = total;
    if (group.op == WarpOp::shuffle) {
      const bool there = (group.arrived >> fiber.source & 1) != 0;
      if (!there && config.strict)
        fail(
            "shuffle at %s:%d: lane %u reads lane %d, which is not taking part (mask %08x, arrived "
            "%08x)",
            fiber.file, fiber.line, fiber.where.lane, fiber.source, group.mask, group.arrived);
      fiber.result = there ? lanes[fiber.source].value : 0xdbdbdbdbdbdbdbdbull;
    } else if (group.op == WarpOp::match) {
      unsigned same = 0;
      for (unsigned others = group.arrived; others != 0; others &= others - 1) {
        const auto l = static_cast<unsigned>(std::countr_zero(others));
        same |= static_cast<unsigned>(lanes[l].value == fiber.value) << l;
      }
      fiber.result = same;
    }
    if (fiber.state == State::in_warp_op) scheduler.make_ready(fiber);
  }
  if (group.op == WarpOp::sync) hooks->warp_sync(block.slot, warp_index, group.arrived);
}

}  // namespace

void on_exit(Fiber& fiber) {
  Block& block = scheduler.blocks[fiber.where.slot];
  fiber.state = State::done;
  --block.alive;
  ++block.exited;
  Warp& warp = block.warps[fiber.where.warp];
  warp.alive &= ~(1u << fiber.where.lane);
  if (block.arrived != 0 && config.strict)
    fail("thread %u exits while %u threads wait in __syncthreads at %s:%d", fiber.where.thread, block.arrived,
         block.file, block.line);
  if (block.arrived != 0 && block.arrived == block.alive) release_block(block);
  for (std::size_t i = warp.pending.size(); i-- > 0;)
    if (i < warp.pending.size()) try_complete(block, fiber.where.warp, i);
  if (block.alive == 0) {
    ++scheduler.finished;
    if (scheduler.next_block < scheduler.n_blocks) scheduler.start_block(block.slot);
  }
}

unsigned block_op(BlockOp op, int predicate, const char* file, int line) {
  const InEngine here_only;
  Fiber& self = *scheduler.current;
  Block& block = scheduler.blocks[self.where.slot];
  if (block.exited != 0 && config.strict)
    fail("__syncthreads at %s:%d: %u threads of the block have already exited", file, line, block.exited);
  if (block.arrived == 0)
    block.op = op, block.file = file, block.line = line;
  else if (block.op != op || block.line != line || std::strcmp(block.file, file) != 0)
    fail("divergent __syncthreads: thread %u is at %s:%d, %u others at %s:%d", self.where.thread, file, line,
         block.arrived, block.file, block.line);
  self.file = file, self.line = line;
  block.votes += predicate != 0;
  if (++block.arrived == block.alive) {
    release_block(block);
    if (scheduler.random_state != 0) yield();
  } else {
    self.state = State::at_block_barrier;
    scheduler.run_next();
  }
  return block.result;
}

std::uint64_t warp_op(WarpOp op, unsigned mask, std::uint64_t value, int source, const char* file, int line) {
  const InEngine here_only;
  Fiber& self = *scheduler.current;
  Block& block = scheduler.blocks[self.where.slot];
  if ((mask >> self.where.lane & 1) == 0)
    fail("warp op at %s:%d: lane %u is not in its own mask %08x", file, line, self.where.lane, mask);
  if (chance(config.preempt)) yield();
  self.op = op, self.mask = mask, self.value = value, self.source = source;
  self.file = file, self.line = line;
  self.state = State::in_warp_op;
  Warp& warp = block.warps[self.where.warp];
  std::size_t i = 0;
  while (i < warp.pending.size() && (warp.pending[i].op != op || warp.pending[i].mask != mask)) ++i;
  if (i == warp.pending.size()) warp.pending.push_back({op, mask, 0});
  warp.pending[i].arrived |= 1u << self.where.lane;
  if (warp.pending[i].arrived == (mask & warp.alive)) {
    self.state = State::ready;  // the lane that completes it goes on without a switch
    try_complete(block, self.where.warp, i);
  } else {
    scheduler.run_next();
  }
  return self.result;
}

void grid_sync(const char* file, int line) {
  const InEngine here_only;
  Fiber& self = *scheduler.current;
  if (scheduler.blocks.size() != scheduler.n_blocks)
    fail("grid sync at %s:%d without a cooperative launch", file, line);
  self.state = State::at_grid_barrier;
  self.file = file, self.line = line;
  if (++scheduler.waiting_for_grid < scheduler.n_blocks * scheduler.n_threads) return scheduler.run_next();
  scheduler.waiting_for_grid = 0;
  hooks->grid_sync();
  for (Fiber& fiber : scheduler.fibers)
    if (fiber.state == State::at_grid_barrier && &fiber != &self) scheduler.make_ready(fiber);
  self.state = State::ready;
}

void atomic_point(const void* p, std::size_t bytes, const char* file, int line) {
  if (scheduler.current == nullptr) return;
  if (reinterpret_cast<std::uintptr_t>(p) % bytes != 0)
    fail("misaligned %zu-byte atomic at %s:%d", bytes, file, line);
  hooks->atomic(p, bytes, file, line);
  const InEngine here_only;
  constexpr unsigned kPatience = 4096;  // a spin loop must let the others make progress
  if (chance(config.preempt) || ++scheduler.since_switch > kPatience) yield();
}

void yield() {
  if (scheduler.current == nullptr) return;
  const InEngine here_only;
  scheduler.make_ready(*scheduler.current);
  scheduler.run_next();
}

void fence() {
  if (chance(config.preempt)) yield();
}

int lane() { return static_cast<int>(scheduler.current->where.lane); }
void* dynamic_shared() { return scheduler.blocks[scheduler.current->where.slot].dynamic_shared; }

}  // namespace simt
