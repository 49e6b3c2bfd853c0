#pragma once
#include <cstdint>
#include <vector>

#include "pipeline/base/context.hpp"

namespace aloft {

/// Row and column sums of one lag's counts, exact.
struct Marginals {
  std::vector<std::uint64_t> source, target;  ///< [vocab] each
};
[[nodiscard]] Marginals marginals_of(Context& ctx, const CountCsr& counts);

/// 1/x on the device, 0 where x = 0: the row scale that turns J_n into T_n (a row without pairs stays zero).
[[nodiscard]] Buffer<double> reciprocals(Device& device, const std::vector<std::uint64_t>& x);

}  // namespace aloft
