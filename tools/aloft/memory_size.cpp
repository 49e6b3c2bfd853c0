#include "tools/aloft/memory_size.hpp"

#include <fmt/format.h>

#include <map>

#include "host/error.hpp"
#include "pipeline/base/memory_limit.hpp"

namespace aloft {

std::uint64_t parse_bytes(const std::string& text) {
  std::size_t used = 0;
  double value = -1;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  static const std::map<std::string, double> kUnit{
      {"", 1},         {"B", 1},      {"K", 0x1p10},   {"KiB", 0x1p10}, {"M", 0x1p20},
      {"MiB", 0x1p20}, {"G", 0x1p30}, {"GiB", 0x1p30}, {"T", 0x1p40},   {"TiB", 0x1p40},
      {"KB", 1e3},     {"kB", 1e3},   {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12}};
  const auto unit = used == 0 ? kUnit.end() : kUnit.find(text.substr(used));
  if (unit == kUnit.end() || !(value * unit->second >= 1) || value * unit->second > 1e18)
    throw UsageError(
        fmt::format("'{}' is no size: write bytes, or a number with K, M, G or T (powers of 1024) or KB, MB, "
                    "GB, TB (of 1000)",
                    text));
  return static_cast<std::uint64_t>(value * unit->second);
}

std::uint64_t device_memory_asked(const std::string& text) { return text.empty() ? 0 : parse_bytes(text); }

MemoryBudget memory_budget(const std::string& text, int threads) {
  const MemoryLimit limit = memory_limit(threads);
  if (text.empty()) return {limit.bytes / 10 * 9, "90% of what is left by " + limit.holder, ""};
  MemoryBudget out{parse_bytes(text), "--memory", ""};
  if (limit.bytes > 0 && out.bytes > limit.bytes)
    out.warning = fmt::format("note: --memory {} is more than {} leaves, {} MiB", text, limit.holder,
                              limit.bytes >> 20);
  return out;
}

}  // namespace aloft
