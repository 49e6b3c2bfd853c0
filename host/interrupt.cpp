#include "host/interrupt.hpp"

#include <csignal>

#include "host/error.hpp"
#include "host/tidy_up.hpp"

namespace aloft {
namespace {

volatile std::sig_atomic_t requested = 0;

extern "C" void on_signal(int number) {
  if (requested != 0) {  // the second signal means it
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
  requested = 1;
  ring_for_tidy_up();
}

}  // namespace

void install_interrupt_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: a read from a pipe that never ends must return
  start_tidy_up_thread();
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction hangup {};
  if (sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler != SIG_IGN)  // ignored: nohup
    sigaction(SIGHUP, &action, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);  // then a file that grows beyond `ulimit -f` is an error like a full disk
}

bool interrupt_requested() noexcept { return requested != 0; }

void check_interrupt() {
  if (interrupt_requested()) throw Interrupted(kInterruptedText);
}

void set_interrupt_requested(bool value) noexcept { requested = value ? 1 : 0; }

}  // namespace aloft
