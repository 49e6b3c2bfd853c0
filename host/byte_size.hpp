#pragma once
#include <cstdint>
#include <string>

namespace aloft {

/// A number of bytes as a person reads it, in powers of 1024 and with three digits or more: "0 bytes", "812
/// bytes", "1.50 KiB", "63.2 MiB", "763 MiB", "1.25 GiB", "5.24 TiB".
[[nodiscard]] std::string readable_bytes(std::uint64_t bytes);
/// The same as flags take it, in whole megabytes or, above 10,000 of them, gigabytes, rounded up: "64M",
/// "12G".
[[nodiscard]] std::string size_argument(std::uint64_t bytes);

}  // namespace aloft
