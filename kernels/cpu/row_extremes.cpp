#include <cmath>

#include "host/error.hpp"
#include "kernels/cpu/linear_ops.hpp"
#include "kernels/cpu/parallel.hpp"

namespace aloft::cpu {

void CpuLinearOps::row_extremes(ConstMatrixView x, double* out) {
  expects(x.batch == 1, "row_extremes: one matrix");
  parallel_for(
      x.rows,
      [&](std::int64_t i) {
        const double* const row = x.row(i);
        double extreme = 0;
        for (std::int64_t j = 0; j < x.cols; ++j)
          if (std::abs(row[j]) > std::abs(extreme)) extreme = row[j];
        out[i] = extreme;
      },
      4);
}

}  // namespace aloft::cpu
