#pragma once
#include <cstdint>
#include <string>

namespace aloft {

/// Plain bytes, "512M", "4G", "1.5GiB" (powers of 1024), "500MB", "8GB" (powers of 1000). Throws UsageError.
[[nodiscard]] std::uint64_t parse_bytes(const std::string& text);
/// What --device-memory says; 0 without it.
[[nodiscard]] std::uint64_t device_memory_asked(const std::string& text);
struct MemoryBudget {
  std::uint64_t bytes = 0;  ///< that the program may have resident; 0: no limit
  std::string limit;        ///< what they come from: "--memory", or nine tenths of what
  std::string warning;      ///< a line for the user; "": none
};
/// What --memory says; without it nine tenths of memory_limit().
[[nodiscard]] MemoryBudget memory_budget(const std::string& text, int threads);

}  // namespace aloft
