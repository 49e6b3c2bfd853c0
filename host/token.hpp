#pragma once
#include <cstdint>

namespace aloft {

using TokenId = std::uint32_t;

/// Stands between two documents in every token stream. It belongs to neither: it is no source and no target
/// of a pair, it is not in the unigram, and a walk over the lags of a position ends at the first one it
/// meets.
inline constexpr TokenId kDocumentBreak = 0xFFFF'FFFFu;

}  // namespace aloft
