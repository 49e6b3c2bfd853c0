#pragma once
#include <cstdint>
#include <string>

namespace aloft {

/// "512M", "4G", "1.5GiB", plain bytes; powers of 1024. Throws UsageError.
[[nodiscard]] std::uint64_t parse_bytes(const std::string& text);
/// What --device-memory says; 0 without it.
[[nodiscard]] std::uint64_t device_memory_asked(const std::string& text);
/// What --memory says; without it nine tenths of what is available now.
[[nodiscard]] std::uint64_t memory_budget(const std::string& text);

}  // namespace aloft
