#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "host/token.hpp"

namespace aloft {

/// One pass over a corpus as token ids, whatever it is stored as.
class TokenSource {
 public:
  TokenSource() = default;
  TokenSource(const TokenSource&) = delete;
  TokenSource& operator=(const TokenSource&) = delete;
  virtual ~TokenSource() = default;

  /// Writes the next ids (each < vocabulary, or kDocumentBreak) to `out`; returns how many, 0 only at the
  /// end. Throws InputError at ids outside the vocabulary, with file and position.
  [[nodiscard]] virtual std::size_t read(std::span<TokenId> out) = 0;

  /// Callable from any thread: a read() that waits for data (a pipe) ends soon with Interrupted.
  virtual void cancel() noexcept {}

  /// How far this pass is, in bytes of the input files (or the like): for progress and ETA. total 0 =
  /// unknown. Callable from any thread.
  struct Position {
    std::uint64_t done = 0;
    std::uint64_t total = 0;
  };
  [[nodiscard]] virtual Position position() const = 0;
};

}  // namespace aloft
