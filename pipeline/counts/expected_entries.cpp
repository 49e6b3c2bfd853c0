#include "pipeline/counts/expected_entries.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "host/token.hpp"

namespace aloft {
namespace {

constexpr std::size_t kWhole = std::size_t{2} << 20;   // a corpus of so many tokens is looked at whole,
constexpr std::size_t kSample = std::size_t{1} << 20;  // of a longer one the beginning
constexpr std::size_t kPiece = std::size_t{1} << 16;
constexpr double kMargin = 1.02;  // of what follows from random bits, and from where a text begins

/// How many different numbers were added, from how many of its bits they set (linear counting: Whang et al.,
/// 1990); the error is below half a percent for two million.
class Distinct {
 public:
  void add(std::uint64_t x) {
    x *= 0x9e3779b97f4a7c15u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x >>= 64 - kLogBits;
    bits_[x / 64] |= std::uint64_t{1} << (x % 64);
  }
  [[nodiscard]] double count() const {
    std::int64_t set = 0;
    for (const std::uint64_t word : bits_) set += std::popcount(word);
    const double bits = std::ldexp(1.0, kLogBits);
    return -bits * std::log1p(-std::min(static_cast<double>(set), bits - 1) / bits);
  }

 private:
  static constexpr int kLogBits = 24;
  std::vector<std::uint64_t> bits_ = std::vector<std::uint64_t>(std::size_t{1} << (kLogBits - 6));
};

std::vector<TokenId> beginning(TokenSource& corpus, std::size_t most) {
  std::vector<TokenId> ids(most);
  std::size_t have = 0;
  while (have < most) {
    const std::size_t got = corpus.read(std::span(ids).subspan(have, std::min(kPiece, most - have)));
    if (got == 0) break;
    have += got;
  }
  ids.resize(have);
  return ids;
}

}  // namespace

ExpectedEntries expected_entries(TokenSource& corpus, std::int64_t vocab, std::int32_t lags,
                                 std::uint64_t tokens) {
  const bool whole = tokens > 0 && tokens <= kWhole;
  const std::vector<TokenId> ids = beginning(corpus, whole ? kWhole : kSample);
  if (ids.empty()) return {};
  const bool ended = ids.size() < (whole ? kWhole : kSample);
  const auto seen = static_cast<double>(ids.size());
  // Of a pipe kept in a file nothing is known but that it goes on.
  const double all = ended         ? seen
                     : tokens == 0 ? std::max(seen, 64 * static_cast<double>(vocab))
                                   : std::max(seen, static_cast<double>(tokens));
  std::vector<std::uint32_t> run(ids.size());  // tokens since the last document break
  for (std::size_t i = 0; i < ids.size(); ++i)
    run[i] = ids[i] == kDocumentBreak ? 0 : 1 + (i > 0 ? run[i - 1] : 0);

  ExpectedEntries out{{}, 0};
  std::vector<std::uint64_t> unigram(static_cast<std::size_t>(vocab));
  for (const TokenId id : ids)
    if (id != kDocumentBreak && id < unigram.size()) ++unigram[id];
  out.frequencies = frequency_classes(unigram, ended);
  const auto v = static_cast<double>(vocab);
  for (std::int32_t lag = 1; lag <= lags; ++lag) {
    const auto back = static_cast<std::size_t>(lag);
    Distinct pairs;
    double half = 0;
    for (std::size_t i = back; i < ids.size(); ++i) {
      if (i == ids.size() / 2) half = pairs.count();
      if (run[i] > back) pairs.add((std::uint64_t{ids[i - back]} << 32) | ids[i]);
    }
    const double found = pairs.count();
    const double growth = half > 0 ? std::clamp(std::log2(found / half), 0.0, 1.0) : 1.0;
    const double expected = kMargin * found * std::pow(all / seen, growth);
    out.growth += growth / lags;
    out.entries.push_back(static_cast<std::int64_t>(std::ceil(std::min({expected, v * v, all}))));
  }
  return out;
}

}  // namespace aloft
