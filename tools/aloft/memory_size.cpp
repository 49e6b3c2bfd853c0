#include "tools/aloft/memory_size.hpp"

#include <fmt/format.h>

#include <cmath>
#include <map>

#include "host/error.hpp"
#include "pipeline/run/plan.hpp"

namespace aloft {

std::uint64_t parse_bytes(const std::string& text) {
  std::size_t used = 0;
  double value = -1;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  static const std::map<std::string, int> kShift{{"", 0},   {"B", 0},    {"K", 10}, {"KiB", 10},
                                                 {"M", 20}, {"MiB", 20}, {"G", 30}, {"GiB", 30},
                                                 {"T", 40}, {"TiB", 40}};
  const auto unit = kShift.find(text.substr(used));
  if (used == 0 || unit == kShift.end() || !(value > 0) || value > 1e18)
    throw UsageError(fmt::format("'{}' is no size: write bytes, or a number with K, M, G or T", text));
  return static_cast<std::uint64_t>(std::ldexp(value, unit->second));
}

std::uint64_t device_memory_asked(const std::string& text) { return text.empty() ? 0 : parse_bytes(text); }

std::uint64_t memory_budget(const std::string& text) {
  return text.empty() ? available_memory() / 10 * 9 : parse_bytes(text);
}

}  // namespace aloft
