#pragma once
#include <string>
#include <utility>
#include <vector>

#include "pipeline/model/model.hpp"

namespace aloft {

/// What was designed for one layer, for the report.
struct LayerComposition {
  double scale = 0;                ///< M = scale · A_expanded (sign included); 0 where nothing was injected
  double kernel_norm = 0;          ///< ‖M‖ of the target
  double truncation_residual = 0;  ///< ‖M − M_truncated‖/‖M‖ where the heads cannot hold the full rank
  std::vector<std::pair<std::string, double>> measures;  ///< the recipe's own figures
};

struct Composition {
  HeadWeights weights;
  std::vector<LayerComposition> layers;  ///< [layers]
};

}  // namespace aloft
