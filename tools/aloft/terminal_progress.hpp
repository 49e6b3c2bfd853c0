#pragma once
#include <string>

#include "host/progress.hpp"

namespace aloft {

/// Progress on stderr: one line rewritten in place on a terminal, else a line every few seconds; nothing when
/// quiet.
class TerminalProgress final : public ProgressSink {
 public:
  explicit TerminalProgress(bool quiet);
  ~TerminalProgress() override;
  void update(std::string_view stage, double done, double total, std::uint64_t items,
              std::string_view unit) override;
  void finish(std::string_view stage, double seconds, bool resumed) override;
  /// A line of its own that a user should read: a choice made, a warning.
  void note(const std::string& line) override;

 private:
  void clear_line();
  const bool quiet_, terminal_;
  std::string stage_;
  double started_ = 0, shown_ = 0;
  bool line_open_ = false;
};

}  // namespace aloft
