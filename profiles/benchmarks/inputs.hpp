#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "host/token.hpp"
#include "profiles/benchmarks/harness.hpp"

namespace aloft::profiles {

/// One stream of ids to count: a single document.
struct CountInput {
  std::string benchmark;  ///< "B1" (bytes), "B2" (dense) or "B3" (sparse)
  std::string source;     ///< "zipf", or "text": its bytes for B1, its words for B2 and B3
  std::int64_t vocab = 0;
  std::int64_t tokens = 0;  ///< zipf: how many; text: it is repeated until it has at least as many
  Scale scale;              ///< text: how much of it is read; the rest is scaled already

  [[nodiscard]] std::string name() const;  ///< "B2_zipf_V4096"
};

/// The inputs of B1, B2 and B3 for a backend ("cpu" or "cuda"): sizes differ, as their memories do. Those
/// from a text only if there is one.
[[nodiscard]] std::vector<CountInput> count_inputs(const std::string& backend, bool with_text, Scale scale);

/// text: the file that "text" reads. Throws InputError if it cannot be read.
[[nodiscard]] std::vector<TokenId> make_ids(const CountInput& input, const std::string& text);

/// Independent draws with probability proportional to 1/(id + 1). The same seed gives the same ids on every
/// machine.
[[nodiscard]] std::vector<TokenId> zipf_ids(std::int64_t n, std::int64_t vocab, std::uint64_t seed);

}  // namespace aloft::profiles
