#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "pipeline/model/usual_init.hpp"
#include "pipeline/offset/layout.hpp"
#include "pipeline/offset/offset.hpp"
#include "pipeline/spectra/spectra.hpp"

namespace aloft {

/// M ∝ +A, M ∝ −A (scores are x_queryᵀ M x_key, the query later in the text).
enum class Sign { paper, causal };

/// How a layer's heads are filled, beside the usual init.
struct ComposeParams : UsualInit {
  std::string recipe = "offset";
  Sign sign = Sign::causal;
  double noise = 1;             ///< × the usual random part
  double strength = 1;          ///< ‖M‖ relative to that of the usual random init
  bool emit_embedding = true;   ///< asymmetry and spread: the file carries E
  double mimetic_value = 0.05;  ///< β: W_O W_V ≈ −β I
  double mimetic_value_noise = 0.01;
  double mimetic_key = -1;             ///< α: W_Qᵀ W_K ≈ α I; < 0: 0.7/√d
  std::optional<double> stream_scale;  ///< stream_scale.hpp; absent: the recipe's own
};

/// What becomes of the statistics before anything is designed from them.
enum class Control { none, shuffled, reversed };

/// What a run of the offset family was asked for.
struct OffsetConfig {
  OffsetParams placement;
  FactorParams factors;                ///< estimator, lags and sizes are the recipe's
  std::optional<Estimator> estimator;  ///< absent: chosen by the model's sizes
  Control control = Control::none;
};

/// Everything that a user can set about a design.
struct DesignParams {
  EmbedParams embed;
  std::uint64_t null_tokens = std::uint64_t{1}
                              << 24;  ///< at most this many for the shuffled null; 0: no null
  ExpandParams expand;                ///< layer_lags empty: layer l takes lag l+1, the last lag repeats
  ComposeParams compose;
  OffsetConfig offset;
};

}  // namespace aloft
