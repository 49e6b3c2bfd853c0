#pragma once
#include <cmath>
#include <map>

namespace aloft::offset {

/// Values that a scalar may take: step i of a geometric ladder, between a lowest and a highest step.
struct Ladder {
  int lowest, highest;
  double (*value)(int step);
};

/// ..., 0.3, 1, 3, 10, 30, ...: step 0 is 1.
[[nodiscard]] inline double half_decades(int step) {
  const int decade = (step - (step & 1)) / 2;
  const double digit = (step & 1) != 0 ? 3 : 1;
  return decade < 0 ? digit / std::pow(10, -decade) : digit * std::pow(10, decade);
}
/// ..., 100, 200, 400, ...: step 0 is 100.
[[nodiscard]] inline double hundred_doubled(int step) { return std::ldexp(100, step); }

/// The step of least loss, walking from `start` down to where both neighbours are worse: there is no grid
/// whose end could be the answer. loss(step) is asked once for a step.
template <class Loss>
[[nodiscard]] int walk_down(const Ladder& ladder, int start, const Loss& loss) {
  std::map<int, double> known;
  const auto at = [&](int step) {
    const auto found = known.find(step);
    return found != known.end() ? found->second : known.emplace(step, loss(step)).first->second;
  };
  for (int best = start;;) {
    const auto better = [&](int step) {
      return step >= ladder.lowest && step <= ladder.highest && at(step) < at(best);
    };
    if (better(best + 1)) {
      ++best;
    } else if (better(best - 1)) {
      --best;
    } else {
      return best;
    }
  }
}

}  // namespace aloft::offset
