#pragma once
#include <cstdint>
#include <string>

#include "host/device.hpp"

// What there is of memory and disk, here and now.

namespace aloft {

/// Bytes of the device's own memory that a run may use: `asked`, or what is free less a reserve for
/// libraries and other programs. 0: it shares the host's memory.
[[nodiscard]] std::uint64_t device_budget(const Device& device, std::uint64_t asked);
/// Memory this machine could give now, in bytes (MemAvailable); 0 if it does not say.
[[nodiscard]] std::uint64_t available_memory();
/// Free bytes of the file system that `path` (or its nearest existing parent) is on.
[[nodiscard]] std::uint64_t free_disk(const std::string& path);
/// Memory that this program has resident now, in bytes: code and libraries (10 MB; with CUDA's 200) and what
/// it holds.
[[nodiscard]] std::uint64_t resident_memory();

}  // namespace aloft
