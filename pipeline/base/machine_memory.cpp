#include "pipeline/base/machine_memory.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <thread>

namespace aloft {

std::uint64_t device_budget(const Device& device, std::uint64_t asked) {
  const DeviceMemory memory = device.memory();
  if (memory.total == 0) return 0;
  if (asked > 0) return asked;
  const std::uint64_t reserve = device_reserve(memory.total);
  return std::max<std::uint64_t>(memory.free - std::min(memory.free, reserve), 1);
}

std::string device_memory_note(const Device& device, std::uint64_t asked) {
  if (asked == 0 || !device.shares_host_memory()) return "";
  return "note: --device-memory is for a GPU's own memory and is not used: this runs on the CPU (--memory)";
}

std::uint64_t left_of(std::uint64_t budget, std::uint64_t taken) {
  return budget == 0 ? 0 : std::max<std::uint64_t>(budget - std::min(budget, taken), 1);
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

std::uint64_t program_memory(int threads) {
  // Small allocations, files' buffers; a stack, malloc's spare pages, and what a product of matrices packs.
  constexpr std::uint64_t of_program = std::uint64_t{8} << 20, of_worker = std::uint64_t{8} << 20;
  const auto workers =
      static_cast<std::uint64_t>(threads > 0 ? threads : std::max(1U, std::thread::hardware_concurrency()));
  return resident_memory() + of_program + of_worker * workers;
}

}  // namespace aloft
