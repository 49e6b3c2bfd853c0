#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "host/token.hpp"

namespace aloft {

/// rank[id] = number of ids that occur more often (ties: the lower id first), so that the counters most in
/// use can lie together. Nothing when renumbering would gain little: a table of at most 256 ids is in a cache
/// whatever its order, and where the first eighth of the ids covers at least nine tenths of what the most
/// frequent eighth would, the ids are nearly in that order already (a vocabulary sorted by frequency, as
/// `words` builds it; most BPE merges). counts: [vocab], of a sample.
[[nodiscard]] std::optional<std::vector<TokenId>> frequency_rank(const std::vector<std::uint64_t>& counts);

}  // namespace aloft
