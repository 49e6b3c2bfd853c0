#pragma once
#include <cstddef>

// Stacks, and the switch from one to another.

namespace simt {

/// One suspended flow of control on a stack of its own.
struct Context {
  void* sp = nullptr;     ///< saved stack pointer (x86-64), otherwise a ucontext_t
  void* asan = nullptr;   ///< AddressSanitizer's fake stack
  char* stack = nullptr;  ///< lowest address; null: the stack of the thread that launches
};

/// `bytes` of stack above a guard page, so that an overflow faults instead of reaching a neighbour.
[[nodiscard]] char* map_stack(std::size_t bytes);
/// The next switch to `context` begins `entry` on an empty stack. `entry` never returns.
void arm(Context& context, std::size_t stack_bytes, void (*entry)());
/// Saves where we are into `from` and goes on with `to`; comes back when somebody switches to `from`.
void switch_context(Context& from, Context& to, std::size_t stack_bytes);
/// The first thing a new fiber does.
void entered_new_fiber();

}  // namespace simt
