#pragma once
#include "pipeline/model/architecture.hpp"

namespace aloft {

/// What decides whether a design fits: in words, and whether an architecture has it.
struct Trait {
  const char* what;
  bool (*had_by)(const Architecture&);
};

namespace trait {

using A = Architecture;
inline bool never(const A&) { return false; }
inline bool rotates(const A& a) { return a.position == A::Position::rope; }

inline constexpr Trait kQkNorm{"normalised queries and keys (QK-norm)", [](const A& a) { return a.qk_norm; }};
inline constexpr Trait kPostNorms{"norms after attention and MLP", never};
inline constexpr Trait kNoPreNorms{"no norm before attention", never};
inline constexpr Trait kSoftCaps{"soft caps on scores and logits", never};
inline constexpr Trait kLogitCap{"a soft cap on logits", never};
inline constexpr Trait kGainFromOne{"norm gains that count from 1 (1 + w)", never};
inline constexpr Trait kNormedEmbedding{"a norm on the embedding", never};
inline constexpr Trait kInnerNorms{"norms inside attention and MLP", never};
inline constexpr Trait kClipped{"clipped queries, keys and values", never};
inline constexpr Trait kLatent{"latent attention (MLA)", never};
inline constexpr Trait kSinks{"attention sinks", never};
inline constexpr Trait kDifferential{"differential attention", never};
inline constexpr Trait kChosenHeads{"heads that a router chooses", never};
inline constexpr Trait kRecurrent{"layers that are no attention", never};
inline constexpr Trait kEncoder{"an encoder", never};
inline constexpr Trait kBothSides{"attention to both sides (it is an encoder)", never};
inline constexpr Trait kTwoRotations{"rotations that differ from layer to layer", never};
inline constexpr Trait kUnrotated{"layers without positions",
                                  [](const A& a) { return a.unrotated_every > 0 || !a.rotating.empty(); }};
inline constexpr Trait kScaledEmbedding{"a multiplied embedding",
                                        [](const A& a) { return a.embedding_multiplier != 1; }};
inline constexpr Trait kScaledLogits{"scaled logits", [](const A& a) { return a.logits_multiplier != 1; }};
inline constexpr Trait kUnscaledScores{"scores of a scale of its own",
                                       [](const A& a) { return a.score_scale.has_value(); }};
inline constexpr Trait kLayerNorm{"LayerNorm", [](const A& a) { return a.norm == A::Norm::layernorm; }};
inline constexpr Trait kRmsNorm{"RMSNorm", [](const A& a) { return a.norm == A::Norm::rmsnorm; }};
inline constexpr Trait kInterleaved{"rotary pairs of neighbouring rows", [](const A& a) {
                                      return rotates(a) && a.pairing == A::Pairing::interleaved;
                                    }};
inline constexpr Trait kHalfPairs{"rotary pairs half a head apart",
                                  [](const A& a) { return rotates(a) && a.pairing == A::Pairing::half; }};
inline constexpr Trait kPartialRotary{"heads of which a part rotates",
                                      [](const A& a) { return rotates(a) && a.rotary_fraction < 1; }};
inline constexpr Trait kRope{"rotary positions", rotates};
inline constexpr Trait kLearned{"learned positions",
                                [](const A& a) { return a.position == A::Position::learned; }};
inline constexpr Trait kSines{"positions from fixed sines", never};
inline constexpr Trait kRelative{"relative positions", never};
inline constexpr Trait kAlibi{"ALiBi", [](const A& a) { return a.position == A::Position::alibi; }};

}  // namespace trait
}  // namespace aloft
