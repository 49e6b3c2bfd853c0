#include "host/tidy_up.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <string>

namespace aloft {
namespace {

constexpr int kInterruptedCode = 5;               // ExitCode::interrupted of tools/aloft
constexpr std::chrono::milliseconds kGrace{500};  // for work to come to its next check
constexpr std::size_t kThreadStack = std::size_t{256} << 10;

int bell[2] = {-1, -1};  // a pipe: a signal handler may not do more than write to it
pid_t watched = 0;       // the process whose thread listens; a fork of it has none

}  // namespace

/// Who changes files, and what is to be tidied up. Never destroyed: the thread may outlive main().
struct TidyUps {
  std::mutex mutex;
  std::condition_variable changed;
  int sections = 0;     // threads in KeepWhole
  bool closed = false;  // the thread is at work: nobody gets into KeepWhole any more
  bool over = false;
  TidyUp* last = nullptr;

  static TidyUps& all() {
    static auto* const only = new TidyUps;
    return *only;
  }
  void run() {
    for (; last != nullptr; last = last->before_) last->work_(last->object_);
  }
};

namespace {

thread_local int depth = 0;  // of KeepWhole

/// Ends the process, unless it is through by then.
void end_process() {
  TidyUps& all = TidyUps::all();
  std::unique_lock lock(all.mutex);
  if (all.changed.wait_for(lock, kGrace, [&] { return all.over; })) return;
  all.closed = true;
  all.changed.wait(lock, [&] { return all.sections == 0; });
  if (all.over) {
    all.closed = false;
    all.changed.notify_all();
    return;
  }
  lock.unlock();
  depth = 1;  // what tidies up may go where others may not
  all.run();
  const std::string line =
      std::string(::isatty(STDERR_FILENO) != 0 ? "\r\033[K" : "") + "aloft: " + kInterruptedText + "\n";
  (void)!::write(STDERR_FILENO, line.data(), line.size());
  ::_exit(kInterruptedCode);
}

void* watch(void*) {
  char byte = 0;
  while (::read(bell[0], &byte, 1) < 0 && errno == EINTR) {
  }
  end_process();
  return nullptr;
}

}  // namespace

/// Without it (no thread to be had), signals are answered at the next check.
void start_tidy_up_thread() {
  if (bell[0] >= 0 && watched == ::getpid()) return;
  if (::pipe2(bell, O_CLOEXEC | O_NONBLOCK) != 0) return;
  watched = ::getpid();
  TidyUps::all().over = false;
  ::fcntl(bell[0], F_SETFL, 0);  // the thread waits, the handler never does
  sigset_t ours, former;
  sigemptyset(&ours);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&ours, number);
  pthread_sigmask(SIG_BLOCK, &ours, &former);  // the signal is for a thread whose read() it is to end
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) == 0) {
    pthread_attr_setstacksize(&attributes, kThreadStack);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread{};
    pthread_create(&thread, &attributes, watch, nullptr);
    pthread_attr_destroy(&attributes);
  }
  pthread_sigmask(SIG_SETMASK, &former, nullptr);
}

void ring_for_tidy_up() noexcept {
  const int kept = errno;
  if (bell[1] >= 0) (void)!::write(bell[1], "", 1);
  errno = kept;
}

void interrupts_are_over() noexcept {
  const KeepWhole whole;  // not while that thread is at work
  TidyUps& all = TidyUps::all();
  const std::lock_guard lock(all.mutex);
  all.over = true;
  all.changed.notify_all();
}

KeepWhole::KeepWhole() noexcept {
  if (depth++ > 0) return;
  TidyUps& all = TidyUps::all();
  std::unique_lock lock(all.mutex);
  all.changed.wait(lock, [&] { return !all.closed; });
  ++all.sections;
}

KeepWhole::~KeepWhole() {
  if (--depth > 0) return;
  TidyUps& all = TidyUps::all();
  const std::lock_guard lock(all.mutex);
  --all.sections;
  all.changed.notify_all();
}

TidyUp::TidyUp(void* object, void (*work)(void* object)) noexcept : object_(object), work_(work) {
  const KeepWhole whole;
  TidyUps& all = TidyUps::all();
  const std::lock_guard lock(all.mutex);
  before_ = all.last;
  if (before_ != nullptr) before_->after_ = this;
  all.last = this;
}

TidyUp::~TidyUp() {
  const KeepWhole whole;
  TidyUps& all = TidyUps::all();
  const std::lock_guard lock(all.mutex);
  (after_ != nullptr ? after_->before_ : all.last) = before_;
  if (before_ != nullptr) before_->after_ = after_;
}

}  // namespace aloft
