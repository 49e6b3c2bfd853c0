#include "tests/simt/scheduler.hpp"

#include <algorithm>
#include <cstring>

namespace simt {

Scheduler scheduler;
std::uint64_t switches = 0;
Coordinates here;

namespace {

bool engine_runs = true;  // false only while a kernel's own code does

void fiber_main() {
  entered_new_fiber();
  for (;;) {
    Fiber& self = *scheduler.current;
    here.blockIdx = scheduler.blocks[self.where.slot].index;  // a fiber may go on as the next block's
    engine_runs = false;
    (*scheduler.body)();
    engine_runs = true;
    on_exit(*scheduler.current);
    scheduler.run_next();
  }
}

}  // namespace

InEngine::InEngine() : before_(engine_runs) { engine_runs = true; }
InEngine::~InEngine() { engine_runs = before_; }

Where where() {
  if (scheduler.current == nullptr) return {};
  Where out = scheduler.current->where;
  out.in_kernel = !engine_runs;
  return out;
}

std::uint64_t Scheduler::random() {  // splitmix64
  std::uint64_t z = (random_state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

bool chance(unsigned one_in) {
  return scheduler.random_state != 0 && one_in != 0 && scheduler.random() % one_in == 0;
}

void Scheduler::make_ready(Fiber& fiber) {
  fiber.state = State::ready;
  ready.push_back(static_cast<unsigned>(&fiber - fibers.data()));
}

void Scheduler::run_next() {
  if (switches - switches_at_start > config.max_switches) fail("livelock: switch limit reached");
  if (head == ready.size()) return switch_to(nullptr);
  Fiber* next = nullptr;
  if (depth_first && random() % 64 != 0) {  // newest first: one warp runs far ahead of the others
    next = &fibers[ready.back()];
    ready.pop_back();
  } else {
    if (random_state != 0) std::swap(ready[head], ready[head + random() % (ready.size() - head)]);
    next = &fibers[ready[head++]];
  }
  if (head > 4096 && head * 2 > ready.size()) {
    ready.erase(ready.begin(), ready.begin() + static_cast<std::ptrdiff_t>(head));
    head = 0;
  }
  if (next != current) switch_to(next);
}

void Scheduler::switch_to(Fiber* fiber) {
  Context& from = current != nullptr ? current->context : launcher;
  current = fiber;
  since_switch = 0;
  ++switches;
  if (fiber != nullptr) {
    Block& block = blocks[fiber->where.slot];
    move_shared(&block);
    here.blockIdx = block.index;
    here.threadIdx = fiber->index;
  }
  switch_context(from, fiber != nullptr ? fiber->context : launcher, config.stack_bytes);
}

// Saves the values of the block whose turn is over and restores those of `next`.
void Scheduler::move_shared(Block* next) {
  if (next == in_place) return;
  const auto copy = [this](std::vector<char>& saved, bool save) {
    std::size_t at = 0;
    for (const Range& r : shared) {
      saved.resize(std::max(saved.size(), at + r.bytes));
      save ? std::memcpy(&saved[at], r.begin, r.bytes) : std::memcpy(r.begin, &saved[at], r.bytes);
      at += r.bytes;
    }
  };
  if (in_place != nullptr) copy(in_place->static_shared, true);
  if (!next->static_shared.empty()) copy(next->static_shared, false);
  in_place = next;
}

void Scheduler::start_block(unsigned slot) {
  Block& block = blocks[slot];
  const std::size_t linear = order[next_block++];
  block.index = {static_cast<unsigned>(linear % here.gridDim.x),
                 static_cast<unsigned>(linear / here.gridDim.x % here.gridDim.y),
                 static_cast<unsigned>(linear / here.gridDim.x / here.gridDim.y)};
  block.alive = static_cast<unsigned>(n_threads);
  block.arrived = block.exited = block.votes = 0;
  move_shared(&block);
  const int garbage = (config.seed & 1) != 0 ? 0xff : 0xdb;  // as a GPU's shared memory begins
  for (const Range& r : shared) std::memset(r.begin, garbage, r.bytes);
  if (dynamic_bytes != 0) std::memset(block.dynamic_shared, garbage, dynamic_bytes);
  block.warps.assign((n_threads + 31) / 32, {});
  for (unsigned t = 0; t < n_threads; ++t) {
    Fiber& fiber = fibers[slot * n_threads + t];
    fiber.index = {t % here.blockDim.x, t / here.blockDim.x % here.blockDim.y,
                   t / here.blockDim.x / here.blockDim.y};
    block.warps[t / 32].alive |= 1u << (t % 32);
    make_ready(fiber);
  }
  std::vector<Range> all = shared;
  if (dynamic_bytes != 0) all.push_back({block.dynamic_shared, dynamic_bytes});
  hooks->block_begin(slot, static_cast<unsigned>(block.warps.size()), all.data(), all.size());
}

void Scheduler::grow(std::size_t fibers_needed) {
  fibers.reserve(kMaxFibers);
  while (fibers.size() < fibers_needed) {
    Fiber fiber;
    fiber.context.stack = map_stack(config.stack_bytes);
    fibers.push_back(fiber);
    arm(fibers.back().context, config.stack_bytes, fiber_main);
  }
}

void Scheduler::reset_fibers() {
  for (Fiber& fiber : fibers) {
    fiber.state = State::done;
    arm(fiber.context, config.stack_bytes, fiber_main);
  }
}

}  // namespace simt
