#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "pipeline/model/architecture.hpp"
#include "pipeline/model/model.hpp"

namespace aloft {

/// What heads that nothing is designed for start as.
enum class Background { random, zero, orthogonal, mimetic, invariants };

/// How the `offset` recipe is placed in a model. What is 0 or empty is chosen.
struct OffsetParams {
  /// Designed: lag n looks n − 1 tokens back; 0: one a layer, 8 at most; 4 where ids are many.
  std::int32_t lags = 0;
  /// [lags] layer of each lag; empty: two lags a layer from the first on, where the model has four key-value
  /// heads, source_dims is open and ids are not many, else lag n in layer n − 1.
  std::vector<std::int32_t> lag_layers;
  std::int64_t source_dims =
      0;  ///< d_s; 0: a quarter of the heads where two lags share a layer, else half of the width
  std::int64_t position_frequencies =
      0;                   ///< of a position table; 0: as few as put 97% of a head on its offset
  double sharpness = 15;   ///< score of a designed head at its offset, above that of distances out of phase
  double write_norm = 1;   ///< norm of what designed heads write; S has 1
  double own_norm = 1;     ///< tied: largest norm of a token's output coordinates in its embedding
  double constant = 0.5;   ///< tied, no norm bias: what drives the log p coordinate
  double bias_norm = 0.1;  ///< tied: largest size of the log p coordinate
  bool induction = false;  ///< room for a pair of induction heads, and for the code they match
  bool zero_outputs = false;  ///< output projections of all that is not designed start at zero
  Background background = Background::random;
  double prior_sharpness =
      0;  ///< undesigned heads also lean this much towards an offset of their own, 1, 2, 4, ...
  /// Scores of undesigned heads fall by this much from the token itself to the farther half of the context:
  /// by 4/3 of it in the first layer, 2/3 in the last. Absent: 4 for `offset`, 0 for its parts.
  std::optional<double> recency;
};

/// Which coordinates of the residual stream and which heads mean what. -1 or an empty range: not there.
///   [ source | constant | padding | position | log p | match | output ]
struct OffsetLayout {
  std::int32_t lags = 0;
  std::vector<std::int32_t> lag_layers;  ///< [lags]
  std::vector<std::int64_t> lag_heads;   ///< [lags] first key-value head of each in its layer
  std::int64_t d_s = 0, d_o = 0;
  std::int64_t constant = -1, padding = 0, log_p = -1;
  std::int64_t position = -1, output = 0;      ///< where they start
  std::vector<double> frequencies;             ///< RoPE's, or of the position table
  std::int64_t carrying = 0;                   ///< key-value heads that carry S at one lag
  std::int64_t erasing = 0, erasing_head = 0;  ///< tied: key-value heads of layer 0 that erase, and the first
  bool drives_log_p = false;                   ///< tied, no norm bias: a value row of layer 0 does it
  std::int64_t match = -1, match_dims = 0;     ///< induction: where the code of the token before is copied to
  std::vector<std::int64_t> still_rows;        ///< [match_dims] rows of a head that positions hardly turn
  std::int64_t copy_layer = -1, copy_head = -1;    ///< induction: key-value head that copies the code
  std::int64_t match_layer = -1, match_head = -1;  ///< key-value head that finds it
  std::int64_t log_p_head = -1;                    ///< its key-value head; erasing covers log p, too, then
};

/// Whether there are so many ids for each coordinate of the residual stream that statistics are to have as
/// many directions as there is room for: more than 32 (profiles/training.md, "Width and estimator").
[[nodiscard]] bool many_ids(std::int64_t corpus_vocab, const ModelShape& shape);

/// Throws UsageError, saying why, for models that cannot host the recipe: no usable position encoding (ALiBi,
/// none), normalised queries and keys, a tied head without a known final norm or without spare heads, too
/// narrow a width; for induction, heads that turn too fast or too few layers.
/// A corpus of few ids has no more directions than ids: d_s and d_o are at most corpus_vocab.
[[nodiscard]] OffsetLayout plan_offset(const Architecture& arch, const ModelShape& shape,
                                       const OffsetParams& p, std::int32_t counted_lags,
                                       std::int64_t corpus_vocab = std::numeric_limits<std::int64_t>::max());

}  // namespace aloft
