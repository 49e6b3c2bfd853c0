#pragma once
#include <cstdint>

namespace aloft {

/// What counting chunk by chunk, without a table, holds at most: the parts that wait to be added up as
/// accumulator.cpp does it, and either a chunk's work or what adding takes.
struct PartsShape {
  double chunks = 1;           ///< that the corpus has
  double growth = 1;           ///< entries of w chunks together: as w to this power
  std::uint64_t result = 0;    ///< bytes of the entries of all chunks together
  std::uint64_t largest = 0;   ///< ... that one chunk can have at most
  std::uint64_t offsets = 0;   ///< bytes of a part beside its entries
  std::uint64_t counting = 0;  ///< bytes of work on a chunk, without its entries and offsets
  std::int32_t lags = 1;       ///< are added up one after the other
};
[[nodiscard]] std::uint64_t most_bytes_of_parts(const PartsShape& shape);

}  // namespace aloft
