// Counts the pairs of five tokens with an installed aloft: a source of tokens, a backend, one stage.
#include <algorithm>
#include <cstdio>

#include "pipeline/counts/counts.hpp"

struct FiveTokens final : aloft::TokenSource {
  std::size_t read(std::span<aloft::TokenId> out) override {
    const auto n = std::min(out.size(), left.size());
    std::copy_n(left.begin(), n, out.begin());
    left = left.subspan(n);
    return n;
  }
  Position position() const override { return {}; }
  static constexpr aloft::TokenId kIds[] = {0, 1, 2, 0, 1};
  std::span<const aloft::TokenId> left = kIds;
};

int main() {
  aloft::Backend backend = aloft::make_backend("cpu");
  aloft::NoProgress quiet;
  aloft::Context context(backend, quiet);
  const aloft::CountParams params{.vocab = 3, .max_lag = 2};
  const auto counts =
      aloft::count_transitions(context, params, [] { return std::make_unique<FiveTokens>(); });
  for (const std::string& name : aloft::available_backends()) std::printf("%s ", name.c_str());
  for (const aloft::CountCsr& lag : counts.lags)
    std::printf("%llu pairs, %lld different; ",
                static_cast<unsigned long long>(context.count().total(lag.view())),
                static_cast<long long>(lag.nnz()));
  std::printf("%s\n", counts.corpus_hash.c_str());
}
