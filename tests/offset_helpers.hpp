#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "pipeline/counts/counts.hpp"
#include "tests/stage_helpers.hpp"
#include "tests/stream_source.hpp"

// What the tests of the offset recipe share: text whose tokens depend on the last few.

namespace aloft::stages {

/// Counted as a run counts it, the held-out slice included.
inline Counts counted(Context& ctx, const std::vector<TokenId>& ids, std::int64_t vocab,
                      std::int32_t max_lag) {
  CountParams p;
  p.vocab = vocab;
  p.max_lag = max_lag;
  return count_transitions(ctx, p, [&] { return std::make_unique<StreamSource>(ids); });
}

/// Each token follows from the one before it (mostly), from the one two before, or from nothing; frequent
/// ids are small. A document every `document` tokens or so; 0: one document.
inline std::vector<TokenId> dependent_text(std::size_t tokens, TokenId vocab, unsigned seed,
                                           std::uint64_t document = 0) {
  std::mt19937_64 random(seed);
  const auto skewed = [&] { return static_cast<TokenId>(std::min(random() % vocab, random() % vocab)); };
  std::vector<TokenId> out{0, 1};
  while (out.size() < tokens) {
    if (document > 0 && random() % document == 0) {
      out.push_back(kDocumentBreak);
      continue;
    }
    const TokenId last = out.back() == kDocumentBreak ? 0 : out.back(), older = out[out.size() - 2];
    const std::uint64_t die = random() % 10;
    if (die < 5) {
      out.push_back(static_cast<TokenId>((last * 3 + 1 + random() % 2) % vocab));
    } else if (die < 7 && older != kDocumentBreak) {
      out.push_back(static_cast<TokenId>((older * 5 + 2) % vocab));
    } else {
      out.push_back(skewed());
    }
  }
  return out;
}

/// Ids come in groups that follow each other, some of few ids and some of many: the spectra of its statistics
/// fall, so that a few hundred directions span what there is.
inline std::vector<TokenId> grouped_text(std::size_t tokens, TokenId vocab, TokenId groups, unsigned seed) {
  std::mt19937_64 random(seed);
  std::vector<TokenId> out;
  for (TokenId group = 0; out.size() < tokens;) {
    group = (random() % 4 == 0 ? static_cast<TokenId>(random() % groups) : group + 1 + group % 3) % groups;
    const std::uint64_t width = 1 + (vocab / groups - 1) * (group + 1) / groups;
    out.push_back(group + groups * static_cast<TokenId>(std::min(random() % width, random() % width)));
  }
  return out;
}

}  // namespace aloft::stages
