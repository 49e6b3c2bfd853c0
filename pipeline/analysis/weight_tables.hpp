#pragma once
#include <vector>

#include "pipeline/analysis/match.hpp"
#include "pipeline/analysis/measurement_table.hpp"
#include "pipeline/analysis/weight_figures.hpp"

namespace aloft::analysis {

/// Tables of what weights say by themselves, filled a group of layers at a time.
class WeightTables {
 public:
  /// draws: Gaussian layers, of which each is measured as the checkpoint's are.
  WeightTables(const ModelShape& shape, const std::optional<PositionSetup>& positions,
               const std::vector<GroupMeasures>& draws, std::uint64_t seed, std::int64_t permutations);
  void add(const MeasuredGroup& group);
  /// Once all layers are there.
  void add_twinning();
  void add_labels();

  MeasurementTable weights, profiles, twinning, heads;
  Table positions, labels, spectra;

 private:
  void add_figures(MeasurementTable& table, const std::vector<Cell>& leading, const std::string& scope,
                   const std::vector<Figure>& figures, const std::vector<std::vector<Figure>>& null,
                   std::int64_t tests);
  void add_head(const MeasuredGroup& group, std::int64_t item);

  const ModelShape& shape_;
  const std::optional<PositionSetup>& setup_;
  const std::vector<GroupMeasures>& draws_;
  std::uint64_t seed_;
  std::int64_t permutations_;
  std::vector<std::vector<Figure>> layer_null_, head_null_, profile_null_;  ///< [draws]
  std::vector<std::vector<double>> q_, k_, v_;                              ///< [layers] singular values
  std::vector<std::vector<double>> mass_;                                   ///< [layers·heads]
};

}  // namespace aloft::analysis
