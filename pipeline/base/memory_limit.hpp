#pragma once
#include <cstdint>
#include <string>

namespace aloft {

/// The most memory that this program may have resident, what it has already included, and what says so.
struct MemoryLimit {
  std::uint64_t bytes = 0;  ///< 0: nothing says how much there is
  std::string holder;       ///< e.g. "cgroup /jobs/7 (memory.max)", to be read after "limited by"
};

/// The smallest of what the machine has available, what the process's control groups (version 1 and 2, with
/// all their ancestors) leave, and what its resource limits (address space and data: `ulimit -v`, `-d`) leave
/// beside what `threads` workers reserve without using it. Files in /proc and /sys are looked for below
/// `root`; what is absent or cannot be read limits nothing.
[[nodiscard]] MemoryLimit memory_limit(int threads, const std::string& root = "");

}  // namespace aloft
