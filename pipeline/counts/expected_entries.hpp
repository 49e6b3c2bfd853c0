#pragma once
#include <cstdint>
#include <vector>

#include "host/token_source.hpp"
#include "pipeline/counts/shuffled_entries.hpp"

namespace aloft {

struct ExpectedEntries {
  std::vector<std::int64_t> entries;             ///< [lags]; empty: nothing is known
  double growth = 1;                             ///< they grow as the number of tokens to this power
  std::vector<FrequencyClass> frequencies = {};  ///< of the ids
};
/// How many different pairs a corpus of `tokens` tokens (0: unknown) will have at each lag. Counts those
/// of its beginning, all of it where it has at most two million tokens, and lets them grow as they grew there
/// last: since the growth of the number of different pairs slows down (Heaps' law), rather too many than too
/// few. Empty where the beginning has no tokens. Takes 30 MB, and a tenth of a second.
[[nodiscard]] ExpectedEntries expected_entries(TokenSource& corpus, std::int64_t vocab, std::int32_t lags,
                                               std::uint64_t tokens);

}  // namespace aloft
