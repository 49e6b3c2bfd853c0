#include <algorithm>
#include <cmath>

#include "host/error.hpp"
#include "kernels/random.hpp"
#include "pipeline/counts/counts.hpp"

namespace aloft {
namespace {

constexpr std::uint64_t kNullStream = 0x6e756c6c;  // "null": apart from every stream the recipes draw from

// Tokens drawn independently from the unigram, by Walker's alias method (Vose's construction).
class UnigramSource final : public TokenSource {
 public:
  UnigramSource(const std::vector<std::uint64_t>& unigram, std::uint64_t tokens, std::uint64_t seed)
      : threshold_(unigram.size()), alias_(unigram.size()), tokens_(tokens), seed_(seed) {
    double total = 0;
    for (const std::uint64_t n : unigram) total += static_cast<double>(n);
    expects(total > 0, "a null of an empty corpus");
    std::vector<std::size_t> small, large;
    for (std::size_t i = 0; i < unigram.size(); ++i) {
      threshold_[i] = static_cast<double>(unigram[i]) * static_cast<double>(unigram.size()) / total;
      alias_[i] = static_cast<TokenId>(i);
      (threshold_[i] < 1 ? small : large).push_back(i);
    }
    while (!small.empty() && !large.empty()) {
      const std::size_t s = small.back(), l = large.back();
      small.pop_back();
      alias_[s] = static_cast<TokenId>(l);
      threshold_[l] -= 1 - threshold_[s];
      if (threshold_[l] < 1) {
        large.pop_back();
        small.push_back(l);
      }
    }
    // What rounding left over takes its own column whole, unless it never occurs.
    for (const auto* rest : {&small, &large})
      for (const std::size_t i : *rest)
        if (unigram[i] > 0) threshold_[i] = 1;
  }

  std::size_t read(std::span<TokenId> out) override {
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), tokens_ - done_));
    for (std::size_t k = 0; k < n; ++k) out[k] = draw(done_ + k);
    done_ += n;
    return n;
  }
  Position position() const override { return {done_, tokens_}; }

 private:
  TokenId draw(std::uint64_t index) const {
    const PhiloxBlock bits = random_block(seed_, kNullStream, index);
    const auto column =
        static_cast<std::size_t>(unit_interval(bits.x[0], bits.x[1]) * static_cast<double>(alias_.size()));
    return unit_interval(bits.x[2], bits.x[3]) < threshold_[column] ? static_cast<TokenId>(column)
                                                                    : alias_[column];
  }
  std::vector<double> threshold_;
  std::vector<TokenId> alias_;
  std::uint64_t tokens_, done_ = 0, seed_;
};

}  // namespace

CountParams params_of_shuffled(const CountParams& counting, std::uint64_t tokens) {
  constexpr double kMargin = 1.02;  // what is drawn is not what is expected
  CountParams out = counting;
  out.strategy = CountStrategy::automatic;
  out.repeatable = true;
  out.expected_tokens = tokens;
  out.expected_entries.clear();
  if (counting.frequencies.empty() || tokens < 2) return out;
  const double all = shuffled_entries(counting.frequencies, tokens),
               half = shuffled_entries(counting.frequencies, tokens / 2);
  out.expected_entries.assign(static_cast<std::size_t>(counting.max_lag),
                              static_cast<std::int64_t>(std::ceil(kMargin * all)));
  out.expected_growth = std::clamp(std::log2(all / std::max(half, 1.0)), 0.0, 1.0);
  return out;
}

Counts count_shuffled_null(Context& ctx, const Counts& counts, std::uint64_t tokens, std::uint64_t seed,
                           const CountParams& limits, std::int32_t max_lag) {
  CountParams p;
  p.memory_bytes = limits.memory_bytes;
  p.program_bytes = limits.program_bytes;
  p.device_bytes = limits.device_bytes;
  p.vocab = counts.vocab;
  p.max_lag = max_lag > 0 ? max_lag : counts.max_lag;
  p.expected_tokens = tokens;
  if (limits.expected_tokens == tokens) {
    p.expected_entries = limits.expected_entries;
    p.expected_growth = limits.expected_growth;
  }
  return count_transitions(ctx, p,
                           [&] { return std::make_unique<UnigramSource>(counts.unigram, tokens, seed); });
}

}  // namespace aloft
