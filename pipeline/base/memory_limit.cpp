#include "pipeline/base/memory_limit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

#include "host/address_space.hpp"

namespace aloft {
namespace {

using Bytes = std::optional<std::uint64_t>;

Bytes number_from(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failed == std::errc{} && end == text.data() + text.size() ? Bytes(value) : std::nullopt;
}

/// The first word of a file that holds a number; nothing for "max" or an absent file.
Bytes number_in(const std::string& path) {
  std::ifstream in(path);
  std::string word;
  return in >> word ? number_from(word) : std::nullopt;
}

/// The number after `key`, which a line begins with.
Bytes number_after(const std::string& path, const std::string& key) {
  std::ifstream in(path);
  std::string line, word;
  while (std::getline(in, line))
    if (line.rfind(key, 0) == 0) {
      std::istringstream rest(line.substr(key.size()));
      return rest >> word ? number_from(word) : std::nullopt;
    }
  return std::nullopt;
}

std::uint64_t in_kib(const Bytes& kib) { return kib.value_or(0) * 1024; }

// ---- control groups

/// What the two versions call the same things.
struct Version {
  std::string file_system, controller;
  std::vector<std::string> limits;
  std::string usage;
  std::vector<std::string> page_cache;  ///< in memory.stat: given up before anything is killed
};
const std::vector<Version>& versions() {
  static const std::vector<Version> all{
      {"cgroup2", "", {"memory.max", "memory.high"}, "memory.current", {"inactive_file ", "active_file "}},
      {"cgroup",
       "memory",
       {"memory.limit_in_bytes"},
       "memory.usage_in_bytes",
       {"total_inactive_file ", "total_active_file "}}};
  return all;
}

bool among(const std::string& word, const std::string& list) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

struct Mount {
  std::string root, point;  ///< the folder of the hierarchy that is seen at this place
};

/// Where a hierarchy is mounted: /proc/self/mountinfo's "id parent device root point options... - type source
/// options".
std::optional<Mount> mount_of(const Version& version, const std::string& root) {
  std::ifstream in(root + "/proc/self/mountinfo");
  std::string line;
  while (std::getline(in, line)) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream front(line), back(line.substr(dash + 3));
    std::string id, parent, device, type, source, options;
    Mount out;
    if (front >> id >> parent >> device >> out.root >> out.point && back >> type >> source >> options &&
        type == version.file_system && (version.controller.empty() || among(version.controller, options)))
      return out;
  }
  return std::nullopt;
}

/// The process's group: /proc/self/cgroup's "number:controllers:path"; version 2 has number 0 and no
/// controllers.
std::optional<std::string> group_of(const Version& version, const std::string& root) {
  std::ifstream in(root + "/proc/self/cgroup");
  std::string line;
  while (std::getline(in, line)) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (version.controller.empty() ? controllers.empty() && line.rfind("0:", 0) == 0
                                   : among(version.controller, controllers))
      return line.substr(second + 1);
  }
  return std::nullopt;
}

/// What a group leaves: its limit less what its processes (this one not counted) cannot give up.
void lower_to_group(MemoryLimit& least, const Version& version, const std::string& folder,
                    const std::string& name, std::uint64_t own) {
  std::uint64_t cache = 0;
  for (const std::string& key : version.page_cache)
    cache += number_after(folder + "/memory.stat", key).value_or(0);
  const std::uint64_t usage = number_in(folder + "/" + version.usage).value_or(0);
  const std::uint64_t held = usage - std::min(usage, cache), others = held - std::min(held, own);
  for (const std::string& file : version.limits) {
    const Bytes limit = number_in(folder + "/" + file);
    if (!limit) continue;
    const std::uint64_t left = std::max<std::uint64_t>(*limit - std::min(*limit, others), 1);
    if (least.bytes == 0 || left < least.bytes) least = {left, fmt::format("cgroup {} ({})", name, file)};
  }
}

void lower_to_groups(MemoryLimit& least, const std::string& root, std::uint64_t own) {
  for (const Version& version : versions()) {
    const auto mount = mount_of(version, root);
    auto group = group_of(version, root);
    if (!mount || !group) continue;
    // In a container the mount may show the group itself, or a part of the way to it.
    if (mount->root != "/") {
      const bool below = group->rfind(mount->root, 0) == 0;
      group = below ? group->substr(mount->root.size()) : "";
    }
    std::string path = *group == "/" || group->find("/..") != std::string::npos ? "" : *group;
    for (;;) {
      lower_to_group(least, version, root + mount->point + path, path.empty() ? "/" : path, own);
      const std::size_t slash = path.rfind('/');
      if (slash == std::string::npos) break;
      path.resize(slash);
    }
  }
}

// ---- resource limits

void lower_to_resource_limits(MemoryLimit& least, const std::string& root, std::uint64_t own, int threads) {
  const std::string limits = root + "/proc/self/limits", status = root + "/proc/self/status";
  const std::uint64_t reserved = address_space_of_workers(threads);
  struct Kind {
    const char *line, *used, *holder;
  };
  for (const Kind& kind :
       {Kind{"Max address space ", "VmSize:", "the limit of the address space (ulimit -v)"},
        {"Max data size ", "VmData:", "the limit of the data (ulimit -d)"}}) {
    const Bytes limit = number_after(limits, kind.line);
    if (!limit) continue;
    const std::uint64_t taken = in_kib(number_after(status, kind.used)) + reserved;
    const std::uint64_t left = std::max<std::uint64_t>(*limit - std::min(*limit, taken) + own, 1);
    if (least.bytes == 0 || left < least.bytes) least = {left, kind.holder};
  }
}

}  // namespace

MemoryLimit memory_limit(int threads, const std::string& root) {
  const std::uint64_t own = in_kib(number_after(root + "/proc/self/status", "VmRSS:"));
  MemoryLimit out;
  if (const Bytes free = number_after(root + "/proc/meminfo", "MemAvailable:"))
    out = {in_kib(free) + own, "the machine's free memory"};
  lower_to_groups(out, root, own);
  lower_to_resource_limits(out, root, own, threads);
  return out;
}

}  // namespace aloft
