#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "host/error.hpp"
#include "host/interrupt.hpp"
#include "host/progress.hpp"
#include "kernels/ops.hpp"

// The page to begin with for what all stages share: a Context to work in, and beside it stage.hpp (a stage as
// data, results by key), plan.hpp (what stages will take), artifact_file.hpp (results as files),
// device_math.hpp and krylov_eigen.hpp (on the device), host_matrix.hpp (on the host).

namespace aloft {

/// Seconds spent in one stage, in the order they ran.
struct StageTime {
  std::string name;
  double seconds = 0;
  bool resumed = false;
  std::uint64_t peak_bytes = 0;  ///< the most of the device's memory that was in use
};

/// What every stage gets: the backend, a place to report to, and nothing else that is shared.
class Context {
 public:
  Context(Backend& backend, ProgressSink& progress) : backend_(backend), progress_(progress) {}

  [[nodiscard]] Device& device() { return *backend_.device; }
  [[nodiscard]] CountOps& count() { return *backend_.count; }
  [[nodiscard]] LinearOps& linear() { return *backend_.linear; }
  [[nodiscard]] ProgressSink& progress() { return progress_; }
  [[nodiscard]] std::vector<StageTime>& times() { return times_; }
  /// Throws Interrupted after Ctrl-C or SIGTERM; stages call it between units of work of at most a second or
  /// so.
  void check_interrupt() const { aloft::check_interrupt(); }

  /// A trace range and a row of times() for as long as it lives.
  class Scope;
  [[nodiscard]] Scope scope(std::string name);

 private:
  Backend& backend_;
  ProgressSink& progress_;
  std::vector<StageTime> times_;
  std::size_t open_scopes_ = 0;
};

class Context::Scope {
 public:
  Scope(Context& context, std::string name);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  Context& context_;
  std::string name_;
  double start_;
};

}  // namespace aloft
