#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/analysis/kernel_spectra.hpp"
#include "pipeline/analysis/position_profile.hpp"

// What weights say by themselves: spectra, norms, asymmetry, eigenvalues, copying, attention by distance. The
// same for the checkpoint's layers and for the Gaussian draws that are their null.

namespace aloft::analysis {

/// Singular values of everything that has any, and shares of eigenvalues, of `items` layers or heads.
struct Spectra {
  std::int64_t items = 0, d = 0;
  std::vector<double> qk, ov;            ///< [items][d]
  std::vector<double> qk_skew, ov_skew;  ///< [items][d/2] planes
  EigenShares qk_eigen, ov_eigen;        ///< [items]
  TopSubspaces top;                      ///< [2·items][k, d] of all QK, then of all OV; empty where k = 0
};

/// All that is measured of one group of layers.
struct GroupMeasures {
  std::int64_t layers = 0, heads = 0;
  std::vector<double> q, k, v, o;       ///< [layers][min(rows, d)], unexpanded
  std::vector<double> qkt;              ///< [layers][H·d_h]
  Spectra of_layers, of_heads;          ///< [layers], [layers·heads]
  std::vector<double> copying;          ///< [layers·heads]
  std::optional<HeadInputs> positions;  ///< nothing where positions are not known
};

/// What one measurement needs beside the weights.
struct MeasureSetup {
  const ModelShape& shape;
  ConstMatrixView token_gram;  ///< Eᵀ U [d, d]
  std::optional<PositionSetup> positions;
};
/// k: rows of the strongest subspaces; 0: none.
[[nodiscard]] GroupMeasures measure_group(Context& ctx, const MeasureSetup& setup, const LayerGroup& group,
                                          const std::vector<bool>& rotating,
                                          const std::vector<LayerBias>& bias, std::int64_t k);

/// One number of a layer or head, named as in docs/analysis.md.
struct Figure {
  std::string subject, measure;
  double value = 0;
  bool has_null = true;
  bool on_log = false;  ///< its null is compared on logarithms
  bool upper = false;   ///< an effect only where it is larger
};
/// Table `weights`: those of layer or head `item`. The same names in the same order for every item.
[[nodiscard]] std::vector<Figure> layer_figures(const GroupMeasures& m, const ModelShape& shape,
                                                std::int64_t item);
[[nodiscard]] std::vector<Figure> head_figures(const GroupMeasures& m, std::int64_t item);
/// Table `profiles` (subject = first, measure = second).
[[nodiscard]] std::vector<Figure> profile_figures(const GroupMeasures& m, const ModelShape& shape,
                                                  std::int64_t item);
/// Table `heads` (subject empty). mass: the head's attention by distance; empty: not known.
[[nodiscard]] std::vector<Figure> attention_figures(double copying, const std::vector<double>& mass);
/// ‖Q‖‖K‖ of a layer: what scores are in proportion to.
[[nodiscard]] double score_scale(const GroupMeasures& m, std::int64_t item);

/// Layer `item`'s part of one of the lists [layers][each].
[[nodiscard]] std::span<const double> of_layer(const std::vector<double>& list, const GroupMeasures& m,
                                               std::int64_t item);

}  // namespace aloft::analysis
