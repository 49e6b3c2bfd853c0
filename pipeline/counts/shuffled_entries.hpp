#pragma once
#include <cstdint>
#include <span>
#include <vector>

// How many different pairs shuffled text has: more than the text itself, whose words keep to topics and
// grammar.

namespace aloft {

/// Types of nearly the same frequency.
struct FrequencyClass {
  double share = 0;  ///< of all tokens, that each of them has
  double types = 0;
};

/// Of ids that occurred so often, `tokens` times in all. whole: there are no other tokens; else the ids that
/// did not occur share what is likely not seen yet (Good, 1953: as much as occurred once).
[[nodiscard]] std::vector<FrequencyClass> frequency_classes(std::span<const std::uint64_t> unigram,
                                                            bool whole);

/// Expected number of different pairs among `tokens` pairs of independent tokens.
[[nodiscard]] double shuffled_entries(const std::vector<FrequencyClass>& classes, std::uint64_t tokens);

}  // namespace aloft
