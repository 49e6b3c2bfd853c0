#pragma once

namespace aloft {

/// From now on the first SIGINT, SIGTERM or SIGHUP (unless that is ignored) only sets a flag; a second one
/// ends the process at once. A file beyond the limit of file sizes ends it no more: writing fails with EFBIG.
void install_interrupt_handlers();
[[nodiscard]] bool interrupt_requested() noexcept;
/// Throws Interrupted once a signal has come.
void check_interrupt();
/// For tests: as if a signal had come (or not).
void set_interrupt_requested(bool requested) noexcept;

}  // namespace aloft
