#pragma once
#include <cstdint>

namespace aloft {

/// What every backend says of a NaN or an infinity where `operation` needs numbers: a NumericError. item: of
/// the batch.
[[noreturn]] void throw_not_finite(const char* operation, std::int64_t item, std::int64_t row,
                                   std::int64_t column, double value);

}  // namespace aloft
