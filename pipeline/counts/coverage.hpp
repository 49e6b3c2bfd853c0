#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "pipeline/counts/counts.hpp"

namespace aloft {

/// How much of a text its vocabulary covers.
struct Coverage {
  std::uint64_t unknown = 0;  ///< tokens that are the unknown id
  double share = 0;           ///< of all tokens
};
/// Nothing where the tokens have no unknown id, or it is not known.
[[nodiscard]] std::optional<Coverage> coverage(const Counts& counts);
[[nodiscard]] Coverage coverage(std::uint64_t unknown, std::uint64_t tokens);

/// One line about it: a warning above a tenth.
[[nodiscard]] std::string coverage_note(const Coverage& c);

}  // namespace aloft
