#pragma once

// How a signal ends the program. The first one sets a flag; work looks at it between its steps
// (check_interrupt in interrupt.hpp) and ends by an exception. Not every step is short (one singular value
// decomposition of a library may take minutes), so a thread waits for the signal too: where the program
// still runs half a second later, that thread tidies up in its place, says so, and ends the process with exit
// code 5, whatever it was doing.

namespace aloft {

/// While one lives, that thread waits: several changes to files that belong together. For moments, not for
/// writing. They nest.
class KeepWhole {
 public:
  KeepWhole() noexcept;
  ~KeepWhole();
  KeepWhole(const KeepWhole&) = delete;
  KeepWhole& operator=(const KeepWhole&) = delete;
};

/// What is to be removed when the process is ended like that while this lives: `work(object)`, called on that
/// thread while nobody is in KeepWhole (so an object changes what `work` reads only there). What was made
/// last goes first. A member of `object` that is made after, and destroyed before, all that `work` reads.
class TidyUp {
 public:
  TidyUp(void* object, void (*work)(void* object)) noexcept;
  ~TidyUp();
  TidyUp(const TidyUp&) = delete;
  TidyUp& operator=(const TidyUp&) = delete;

 private:
  friend struct TidyUps;
  void* object_;
  void (*work_)(void* object);
  TidyUp *before_ = nullptr, *after_ = nullptr;  // in a list, which needs no memory
};

/// What was asked for is done: from now on no signal ends the process like that.
void interrupts_are_over() noexcept;

/// Starts the thread. ring_for_tidy_up(), which a signal handler may call, wakes it.
void start_tidy_up_thread();
void ring_for_tidy_up() noexcept;

/// What both ways of ending say.
inline constexpr const char* kInterruptedText = "interrupted; run the same command again to resume";

}  // namespace aloft
