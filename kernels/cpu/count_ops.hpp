#pragma once
#include <cstdint>
#include <vector>

#include "kernels/ops.hpp"

namespace aloft::cpu {

/// The counting half of the contract. count_dense.cpp: tables; count_sparse.cpp: rows of grouped positions;
/// csr_counts.cpp: compact, add, subtract and total.
class CpuCountOps final : public CountOps {
 public:
  explicit CpuCountOps(Device& device) : device_(device) {}
#include "kernels/count_ops_methods.inc"

 private:
  Device& device_;
};

/// Positions [begin, end) of a chunk, halo included, that hold no document break.
struct Segment {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};
[[nodiscard]] std::vector<Segment> document_segments(TokenChunk chunk);

}  // namespace aloft::cpu
