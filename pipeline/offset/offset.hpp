#pragma once
#include <functional>

#include "pipeline/model/architecture.hpp"
#include "pipeline/model/composition.hpp"
#include "pipeline/model/usual_init.hpp"
#include "pipeline/offset/factors.hpp"
#include "pipeline/offset/layout.hpp"
#include "pipeline/offset/matching.hpp"

// The page to begin with for the `offset` recipe (science: section 5.4). factors.hpp: what to carry, an
// additive model of the next token, estimated from counts. layout.hpp: where in the model each part of it
// goes. position_offsets.hpp: how a head looks a fixed number of tokens back. residual.hpp: how large
// everything is in the residual stream. layer_heads.hpp and tables.hpp write the tensors.
//
// Coordinates of the residual stream: source | constant | padding | position | log p | output. A token's
// embedding is [S_i | 1 | padding | 0 | log p | own]; padding makes all rows equally long, so that the norm
// before a block cannot distort S. Designed heads look at one distance each (their queries and keys read the
// constant coordinate, or the position table, alone), carry S, and write S G_n into the output coordinates,
// which no block reads. An untied head reads them with U and log p from the constant coordinate. A tied
// head's embedding itself holds τU there: heads of layer 0 that look at the token itself write −1 × its own
// part, and the final norm's gain selects the coordinates.

namespace aloft {

/// Members of the family: which parts of the offset recipe a model gets. The rest has the usual init.
enum class OffsetPart {
  all,        ///< offset: embedding, head, and attention that carries every lag
  lag_one,    ///< bigram-head: embedding, head, and lag 1 alone
  embedding,  ///< embedding: no designed attention
  induction,  ///< bigram-head, and a pair of heads that repeat what followed the token before (experimental)
  unigram,    ///< log p through the constant coordinate (tied: its own), nothing else
};

/// Squared norm that what is not designed may add to a stream of scale 1 until the final norm: what the
/// recipe reckons with at most, and what MLPs are bounded to.
inline constexpr double kRandomPart2 = 0.2;

struct OffsetRequest {
  OffsetPart part = OffsetPart::all;
  const OffsetParams& params;
  const UsualInit& usual;
  const Architecture& arch;
  const ModelShape& shape;
  const OffsetLayout& layout;
  const LagFactors& factors;  ///< unigram: its log p alone
  const Matching& matching;   ///< induction alone
  double stream_scale;        ///< all that the design writes to the residual stream is multiplied by it
  double undesigned2;         ///< what else is written to it, in squared norm, divided by that
  /// What a layer's heads are before anything is designed.
  std::function<LayerHeads(std::int64_t layer)> background;
};

/// Attention, embedding, output head, norm and position table as the architecture has them.
[[nodiscard]] Composition design_offset(Context& ctx, const OffsetRequest& request);

}  // namespace aloft
