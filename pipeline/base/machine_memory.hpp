#pragma once
#include <cstdint>
#include <string>

#include "host/device.hpp"

// What there is of memory and disk, here and now.

namespace aloft {

/// Bytes of the device's own memory that a run may use: `asked`, or what is free less a reserve for
/// libraries and other programs. 0: it shares the host's memory.
[[nodiscard]] std::uint64_t device_budget(const Device& device, std::uint64_t asked);
/// A line for the user who asked for so many bytes of a device's own memory where it has none; "" otherwise.
[[nodiscard]] std::string device_memory_note(const Device& device, std::uint64_t asked);
/// What of `budget` is left when so much is taken, at least 1; 0: no limit.
[[nodiscard]] std::uint64_t left_of(std::uint64_t budget, std::uint64_t taken);
/// Free bytes of the file system that `path` (or its nearest existing parent) is on.
[[nodiscard]] std::uint64_t free_disk(const std::string& path);
/// Memory that this program has resident now, in bytes: code and libraries, and what it holds.
[[nodiscard]] std::uint64_t resident_memory();
/// What a run has resident whatever it does: what there is now, and what `threads` workers' stacks and
/// buffers take at work (0: one for each processor).
[[nodiscard]] std::uint64_t program_memory(int threads);
/// It differs from start to start by less than this: what a refusal says will do has to do the next time.
inline constexpr std::uint64_t kDifferenceOfStarts = std::uint64_t{1} << 20;

}  // namespace aloft
