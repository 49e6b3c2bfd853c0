#pragma once
#include <memory>
#include <vector>

#include "pipeline/counts/plan.hpp"

namespace aloft {

/// One way of counting, chunk by chunk, in as many passes over the same chunks as the plan says.
class Accumulator {
 public:
  Accumulator() = default;
  Accumulator(const Accumulator&) = delete;
  Accumulator& operator=(const Accumulator&) = delete;
  virtual ~Accumulator() = default;

  /// Once a pass, before its chunks. pass: 0, 1, ...
  virtual void begin_pass(std::int32_t pass) = 0;
  /// unigram [vocab], on the device: of all chunks of the first pass so far, this one included.
  virtual void add(TokenChunk chunk, const Buffer<std::uint64_t>& unigram) = 0;
  /// J_1..J_max_lag, nothing if there was no chunk. May be called once.
  [[nodiscard]] virtual std::vector<CountCsr> finish() = 0;
};

[[nodiscard]] std::unique_ptr<Accumulator> make_accumulator(Context& ctx, const CountParams& p,
                                                            const CountPlan& plan);

}  // namespace aloft
