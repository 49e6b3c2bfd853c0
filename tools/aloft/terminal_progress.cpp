#include "tools/aloft/terminal_progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "host/printable.hpp"

namespace aloft {
namespace {

constexpr double kTerminalEvery = 0.1;  // seconds
constexpr double kLogEvery = 5;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string short_count(double n) {
  if (n >= 1e9) return fmt::format("{:.2f} G", n / 1e9);
  if (n >= 1e6) return fmt::format("{:.1f} M", n / 1e6);
  if (n >= 1e4) return fmt::format("{:.0f} k", n / 1e3);
  if (n >= 10) return fmt::format("{:.0f} ", n);
  return fmt::format("{:.2g} ", n);  // layers, and how many of them a second
}

std::string duration(double seconds) {
  if (seconds < 60) return fmt::format("{:.0f} s", seconds);
  if (seconds < 3600) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

}  // namespace

TerminalProgress::TerminalProgress(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) != 0) {}

TerminalProgress::~TerminalProgress() { clear_line(); }

void TerminalProgress::clear_line() {
  if (line_open_) std::fputs("\r\033[K", stderr);
  line_open_ = false;
}

void TerminalProgress::update(std::string_view stage, double done, double total, std::uint64_t items,
                              std::string_view unit) {
  if (quiet_) return;
  const double t = now();
  if (stage != stage_) {
    stage_ = stage;
    started_ = shown_ = t;
    return;
  }
  if (t - shown_ < (terminal_ ? kTerminalEvery : kLogEvery)) return;
  shown_ = t;
  const double elapsed = t - started_, rate = static_cast<double>(items) / elapsed;
  std::string line = fmt::format("{:<12}{}{} {}{}/s", stage, short_count(static_cast<double>(items)), unit,
                                 short_count(rate), unit);
  if (total > 0 && done > 0)
    line += fmt::format("  {:.0f}%  ETA {}", 100 * done / total, duration(elapsed * (total - done) / done));
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    line_open_ = true;
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  std::fflush(stderr);
}

void TerminalProgress::finish(std::string_view stage, double seconds, bool resumed) {
  if (quiet_) return;
  clear_line();
  stage_.clear();
  std::fputs(resumed ? fmt::format("{:<12}resumed\n", stage).c_str()
                     : fmt::format("{:<12}{:.2f} s\n", stage, seconds).c_str(),
             stderr);
}

void TerminalProgress::note(const std::string& line) {
  if (quiet_) return;
  clear_line();
  std::fprintf(stderr, "%s\n", printable_message(line).c_str());
}

}  // namespace aloft
