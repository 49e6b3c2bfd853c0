#include "tests/simt/fiber.hpp"

#include <pthread.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdlib>
#include <new>
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace simt {

char* map_stack(std::size_t bytes) {
  constexpr std::size_t kGuard = 4096;
  void* p = mmap(nullptr, bytes + kGuard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                 -1, 0);
  if (p == MAP_FAILED || mprotect(p, kGuard, PROT_NONE) != 0) std::abort();
  return static_cast<char*>(p) + kGuard;
}

// x86-64 has a hand-written switch; anything else uses ucontext, which makes two system calls a switch.
#if defined(__x86_64__) && !defined(SIMT_UCONTEXT)
extern "C" void simt_switch(void** save, void* load);
asm(R"(
.text
.globl simt_switch
.type simt_switch,@function
simt_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi); movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size simt_switch,.-simt_switch
)");

void arm(Context& context, std::size_t stack_bytes, void (*entry)()) {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(context.stack, stack_bytes);  // an aborted launch leaves red zones behind
#endif
  context.asan = nullptr;
  void** top = reinterpret_cast<void**>(context.stack + stack_bytes - 64);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  context.sp = top - 6;  // six registers to pop, then `ret` into entry
}
#else
namespace {
void simt_switch(void** save, void* load) {
  ucontext_t state;
  *save = &state;
  swapcontext(&state, static_cast<ucontext_t*>(load));
}
}  // namespace

void arm(Context& context, std::size_t stack_bytes, void (*entry)()) {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(context.stack, stack_bytes);
#endif
  context.asan = nullptr;
  auto* state = new (context.stack) ucontext_t;  // at the low end of the stack it describes
  getcontext(state);
  state->uc_stack.ss_sp = context.stack + sizeof(ucontext_t);
  state->uc_stack.ss_size = stack_bytes - sizeof(ucontext_t);
  state->uc_link = nullptr;
  makecontext(state, entry, 0);
  context.sp = state;
}
#endif

#ifdef __SANITIZE_ADDRESS__
namespace {
/// Asked once a thread: for the main one the answer is in /proc/self/maps, which is long under
/// AddressSanitizer.
struct ThreadStack {
  void* lowest = nullptr;
  std::size_t bytes = 0;
  ThreadStack() {
    pthread_attr_t attributes;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &lowest, &bytes);
    pthread_attr_destroy(&attributes);
  }
};
}  // namespace
#endif

void switch_context(Context& from, Context& to, [[maybe_unused]] std::size_t stack_bytes) {
#ifdef __SANITIZE_ADDRESS__
  thread_local const ThreadStack launching;
  const bool to_fiber = to.stack != nullptr;
  __sanitizer_start_switch_fiber(&from.asan, to_fiber ? to.stack : launching.lowest,
                                 to_fiber ? stack_bytes : launching.bytes);
#endif
  simt_switch(&from.sp, to.sp);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(from.asan, nullptr, nullptr);
#endif
}

void entered_new_fiber() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

}  // namespace simt
