#include "pipeline/base/machine_memory.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

namespace aloft {

std::uint64_t device_budget(const Device& device, std::uint64_t asked) {
  const DeviceMemory memory = device.memory();
  if (memory.total == 0) return 0;
  if (asked > 0) return asked;
  const std::uint64_t reserve = device_reserve(memory.total);
  return std::max<std::uint64_t>(memory.free - std::min(memory.free, reserve), 1);
}

std::uint64_t available_memory() {
  std::ifstream in("/proc/meminfo");
  std::string key, unit;
  std::uint64_t kib = 0;
  while (in >> key >> kib) {
    std::getline(in, unit);
    if (key == "MemAvailable:") return kib * 1024;
  }
  return 0;
}

std::uint64_t free_disk(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code failed;
  fs::path at = fs::absolute(path, failed);
  while (!at.empty() && !fs::exists(at, failed) && at.has_parent_path() && at != at.parent_path())
    at = at.parent_path();
  const auto space = fs::space(at, failed);
  return failed ? ~std::uint64_t{0} : space.available;
}

std::uint64_t resident_memory() {
  unsigned long pages = 0;
  if (std::FILE* in = std::fopen("/proc/self/statm", "r"); in != nullptr) {
    if (std::fscanf(in, "%*u %lu", &pages) != 1) pages = 0;
    (void)std::fclose(in);
  }
  return pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace aloft
