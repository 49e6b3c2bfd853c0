#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "host/token.hpp"

namespace aloft::profiles {

/// One stream of ids to count: a single document.
struct CountInput {
  std::string benchmark;  ///< "B1" (bytes), "B2" (dense) or "B3" (sparse)
  std::string source;     ///< "zipf" or "text"
  std::int64_t vocab = 0;
  std::vector<TokenId> ids;

  [[nodiscard]] std::string name() const;  ///< "B2_zipf_V4096"
};

/// Independent draws with probability proportional to 1/(id + 1). The same seed gives the same ids on every
/// machine.
[[nodiscard]] std::vector<TokenId> zipf_ids(std::int64_t n, std::int64_t vocab, std::uint64_t seed);

/// The inputs of B1, B2 and B3 for a backend ("cpu" or "cuda"): sizes differ, as their memories do. Without a
/// text (path "") only Zipf streams. The text's bytes serve B1, its words B2 and B3; B2 repeats them until
/// they are at least kLeastDenseTokens.
[[nodiscard]] std::vector<CountInput> count_inputs(const std::string& backend, const std::string& text);

}  // namespace aloft::profiles
