#include "pipeline/counts/shuffled_entries.hpp"

#include <cmath>
#include <map>

namespace aloft {

std::vector<FrequencyClass> frequency_classes(std::span<const std::uint64_t> unigram, bool whole) {
  constexpr double kPerE = 20;  // classes for each factor e: 5% wide
  struct Sum {
    double tokens = 0, types = 0;
  };
  std::map<int, Sum> sums;
  double all = 0, once = 0, absent = 0;
  for (const std::uint64_t count : unigram) {
    const auto n = static_cast<double>(count);
    all += n;
    once += count == 1 ? 1 : 0;
    absent += count == 0 ? 1 : 0;
    if (count == 0) continue;
    Sum& sum = sums[static_cast<int>(std::floor(std::log(n) * kPerE))];
    sum.tokens += n;
    sum.types += 1;
  }
  const double unseen = whole || absent == 0 ? 0 : once;
  std::vector<FrequencyClass> out;
  for (const auto& [logarithm, sum] : sums)
    out.push_back({sum.tokens / sum.types / (all + unseen), sum.types});
  if (unseen > 0) out.push_back({unseen / absent / (all + unseen), absent});
  return out;
}

double shuffled_entries(const std::vector<FrequencyClass>& classes, std::uint64_t tokens) {
  const auto n = static_cast<double>(tokens);
  double sum = 0;
  for (const FrequencyClass& a : classes)
    for (const FrequencyClass& b : classes)
      sum -= a.types * b.types * std::expm1(-n * a.share * b.share);  // those that occur at least once
  return sum;
}

}  // namespace aloft
