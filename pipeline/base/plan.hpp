#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "host/footprint.hpp"
#include "pipeline/base/stage.hpp"

namespace aloft {

/// What one stage will take, estimated before any work. Bytes; memory is its peak with what earlier stages
/// keep.
struct StagePlan {
  std::string stage;
  std::uint64_t memory_bytes = 0;  ///< resident memory of the program; on the CPU backend all of it
  std::uint64_t device_bytes = 0;  ///< of a GPU's own memory, beside the host's
  std::uint64_t disk_bytes = 0;
  std::string note;
};

/// Collects the plan's rows. What earlier stages left is in the device's memory where it has its own.
class Planner {
 public:
  /// program: bytes that are resident whatever it does. apart: the device has memory of its own.
  Planner(std::uint64_t program, bool apart) : program_(program), apart_(apart) {}

  /// held: what earlier stages left; work: what this one takes beside it; disk: of what it writes.
  void row(const Stage& s, Footprint held, const Peak& work, std::uint64_t disk, std::string note = "") {
    const std::uint64_t host = apart_ ? held.host + work.host() : held.host + held.device + work.together();
    rows_.push_back({std::string(s.name), program_ + host, apart_ ? held.device + work.device() : 0, disk,
                     std::move(note)});
  }
  /// Buffers of so many bytes, the largest of `largest`, while they are saved or read again. Saving copies
  /// all of them to the host where that is another memory; reading needs one at a time there.
  [[nodiscard]] Footprint kept(std::uint64_t bytes, std::uint64_t largest) const {
    return on_device(bytes) + on_host(apart_ ? bytes : largest);
  }
  [[nodiscard]] std::uint64_t program() const { return program_; }
  [[nodiscard]] const std::vector<StagePlan>& rows() const { return rows_; }

 private:
  std::uint64_t program_;
  bool apart_;
  std::vector<StagePlan> rows_;
};

}  // namespace aloft
