#pragma once
#include <string>
#include <vector>

#include "pipeline/analysis/measurement_table.hpp"

namespace aloft::analysis {

/// Below this p_family a measurement is called an effect.
inline constexpr double kSignificant = 0.01;

/// The tables of a run whose rows can be effects.
struct ClaimSources {
  const MeasurementTable& weights;
  const MeasurementTable& profiles;
  const MeasurementTable& twinning;
  const MeasurementTable& heads;
  const MeasurementTable& match;
  const MeasurementTable& correlations;
  const MeasurementTable& bands;
  const MeasurementTable& drift;
};
/// Table `claims`: for each kind of effect the row that is furthest from its null, and whether it is one.
[[nodiscard]] Table claims_table(const ClaimSources& sources);

}  // namespace aloft::analysis
