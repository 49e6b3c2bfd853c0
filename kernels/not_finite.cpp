#include "kernels/not_finite.hpp"

#include <fmt/format.h>

#include "host/error.hpp"

namespace aloft {

void throw_not_finite(const char* operation, std::int64_t item, std::int64_t row, std::int64_t column,
                      double value) {
  throw NumericError(fmt::format("{}: entry ({}, {}) of matrix {} is {}: check what was computed before it",
                                 operation, row, column, item, value));
}

}  // namespace aloft
