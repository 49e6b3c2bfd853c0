#pragma once

namespace aloft {

/// From now on the first SIGINT or SIGTERM only sets a flag; a second one ends the process at once.
void install_interrupt_handlers();
[[nodiscard]] bool interrupt_requested() noexcept;
/// Throws Interrupted once a signal has come.
void check_interrupt();
/// For tests: as if a signal had come (or not).
void set_interrupt_requested(bool requested) noexcept;

}  // namespace aloft
