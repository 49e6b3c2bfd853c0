#include "pipeline/base/memory_limit.hpp"

#include <gtest/gtest.h>

#include "host/address_space.hpp"
#include "tests/cli_helpers.hpp"

// What holds memory down, read from files as a kernel writes them: below a folder of the test's own.

namespace aloft {
namespace {

constexpr std::uint64_t kMebibyte = std::uint64_t{1} << 20;

class MemoryLimits : public testing::Test {
 protected:
  void SetUp() override {
    write("/proc/meminfo", "MemTotal:  33554432 kB\nMemFree: 100 kB\nMemAvailable:    8388608 kB\n");
    write("/proc/self/status",
          "Name:\taloft\nVmSize:\t  204800 kB\nVmRSS:\t   10240 kB\nVmData:\t  102400 kB\n");
    write("/proc/self/limits", limits("unlimited", "unlimited"));
  }
  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path at = folder_.path.string() + path;
    std::filesystem::create_directories(at.parent_path());
    std::ofstream(at) << text;
  }
  static std::string limits(const std::string& data, const std::string& addresses) {
    return "Limit                     Soft Limit           Hard Limit           Units\n"
           "Max data size             " +
           data +
           "            unlimited            bytes\n"
           "Max address space         " +
           addresses + "            unlimited            bytes\n";
  }
  /// A group of version 1 at `path` below the mount.
  void group1(const std::string& path, std::uint64_t limit, std::uint64_t usage, std::uint64_t cache) const {
    const std::string at = "/sys/fs/cgroup/memory" + path;
    write(at + "/memory.limit_in_bytes", std::to_string(limit) + "\n");
    write(at + "/memory.usage_in_bytes", std::to_string(usage) + "\n");
    write(at + "/memory.stat", "cache 7\ninactive_file 99999999999\ntotal_inactive_file " +
                                   std::to_string(cache) + "\ntotal_active_file 0\n");
  }
  void group2(const std::string& path, const std::string& most, const std::string& high, std::uint64_t usage,
              std::uint64_t cache) const {
    const std::string at = "/sys/fs/cgroup" + path;
    write(at + "/memory.max", most + "\n");
    write(at + "/memory.high", high + "\n");
    write(at + "/memory.current", std::to_string(usage) + "\n");
    write(at + "/memory.stat", "anon 5\nfile 6\ninactive_file " + std::to_string(cache / 2) +
                                   "\nactive_file " + std::to_string(cache / 2) + "\n");
  }
  void mounts(const std::string& lines) const { write("/proc/self/mountinfo", lines); }
  [[nodiscard]] MemoryLimit limit(int threads = 1) const { return memory_limit(threads, folder_.path); }

  static constexpr const char* kMount1 =
      "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
  static constexpr const char* kMount2 =
      "26 22 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
  const cli_tests::Folder folder_;
};

TEST_F(MemoryLimits, TheMachinesFreeMemoryAndWhatTheProgramHas) {
  EXPECT_EQ(limit().bytes, (8192 + 10) * kMebibyte);
  EXPECT_NE(limit().holder.find("machine"), std::string::npos);
}

TEST_F(MemoryLimits, NothingWhereNothingIsSaid) {
  const cli_tests::Folder empty;
  EXPECT_EQ(memory_limit(1, empty.path).bytes, 0u);
}

TEST_F(MemoryLimits, AGroupOfVersion1LeavesWhatOthersDoNotHold) {
  mounts(kMount1);
  write("/proc/self/cgroup", "5:cpu,cpuacct:/other\n4:memory:/jobs/7\n0::/\n");
  group1("", 9223372036854771712u, 4096 * kMebibyte, 0);
  group1("/jobs", 2048 * kMebibyte, 100 * kMebibyte, 0);
  // 200 MiB in use, of them 60 page cache and 10 this program's.
  group1("/jobs/7", 512 * kMebibyte, 200 * kMebibyte, 60 * kMebibyte);
  EXPECT_EQ(limit().bytes, (512 - 200 + 60 + 10) * kMebibyte);
  EXPECT_EQ(limit().holder, "cgroup /jobs/7 (memory.limit_in_bytes)");
}

TEST_F(MemoryLimits, AnAncestorsLimitHoldsToo) {
  mounts(kMount1);
  write("/proc/self/cgroup", "4:memory:/jobs/7\n");
  group1("", 9223372036854771712u, 4096 * kMebibyte, 0);
  group1("/jobs", 300 * kMebibyte, 250 * kMebibyte, 0);
  group1("/jobs/7", 512 * kMebibyte, 20 * kMebibyte, 0);
  EXPECT_EQ(limit().bytes, (300 - 250 + 10) * kMebibyte);
  EXPECT_EQ(limit().holder, "cgroup /jobs (memory.limit_in_bytes)");
}

TEST_F(MemoryLimits, Version2HasTwoLimits) {
  mounts(kMount2);
  write("/proc/self/cgroup", "0::/a.slice/b\n");
  group2("/a.slice", "max", "max", 900 * kMebibyte, 0);
  group2("/a.slice/b", "1073741824", "max", 30 * kMebibyte, 20 * kMebibyte);
  EXPECT_EQ(limit().bytes, 1024 * kMebibyte) << "what is not page cache is this program";
  EXPECT_EQ(limit().holder, "cgroup /a.slice/b (memory.max)");
  group2("/a.slice/b", "1073741824", "268435456", 30 * kMebibyte, 0);
  EXPECT_EQ(limit().bytes, (256 - 20) * kMebibyte);
  EXPECT_EQ(limit().holder, "cgroup /a.slice/b (memory.high)");
}

TEST_F(MemoryLimits, InAContainerTheMountIsTheGroup) {
  // Version 1: the mount shows the container's own group, which /proc/self/cgroup names from outside.
  mounts("35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  write("/proc/self/cgroup", "4:memory:/docker/abc\n");
  group1("", 512 * kMebibyte, 10 * kMebibyte, 0);
  EXPECT_EQ(limit().bytes, 512 * kMebibyte);
  // A namespace of groups, seen from where a process came into it: its path leads out.
  mounts(kMount2);
  write("/proc/self/cgroup", "0::/../xyz\n");
  group2("", "402653184", "max", 0, 0);
  EXPECT_EQ(limit().bytes, 384 * kMebibyte);
}

TEST_F(MemoryLimits, DamagedFilesLimitNothing) {
  mounts("\n - \nnonsense\n35 31 - cgroup\n" + std::string(kMount1));
  write("/proc/self/cgroup", "x\n:\n4:memory:/gone\n");
  write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "-1\n");
  write("/proc/self/limits", limits("12x", ""));
  EXPECT_EQ(limit().bytes, (8192 + 10) * kMebibyte);
}

TEST_F(MemoryLimits, ResourceLimitsLeaveOutWhatIsReserved) {
  write("/proc/self/limits", limits("unlimited", "2147483648"));
  const std::uint64_t reserved = address_space_of_workers(2);
  EXPECT_EQ(limit(2).bytes, (2048 - 200 + 10) * kMebibyte - reserved);
  EXPECT_NE(limit(2).holder.find("ulimit -v"), std::string::npos);
  EXPECT_GT(limit(1).bytes, limit(2).bytes);
  write("/proc/self/limits", limits("1073741824", "unlimited"));
  EXPECT_EQ(limit(1).bytes, (1024 - 100 + 10) * kMebibyte - address_space_of_workers(1));
  EXPECT_NE(limit(1).holder.find("ulimit -d"), std::string::npos);
  write("/proc/self/limits", limits("unlimited", "1048576"));
  EXPECT_EQ(limit(1).bytes, 10 * kMebibyte) << "what it has, it has";
}

}  // namespace
}  // namespace aloft
