#pragma once
#include <fmt/format.h>

#include <cstdint>

#include "host/error.hpp"

namespace aloft {

/// What every backend says of a NaN or an infinity where `operation` needs numbers. item: of the batch.
[[noreturn]] inline void throw_not_finite(const char* operation, std::int64_t item, std::int64_t row,
                                          std::int64_t column, double value) {
  throw NumericError(fmt::format("{}: entry ({}, {}) of matrix {} is {}: check what was computed before it",
                                 operation, row, column, item, value));
}

}  // namespace aloft
