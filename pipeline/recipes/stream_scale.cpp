#include "pipeline/recipes/stream_scale.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "pipeline/recipes/mlp_outputs.hpp"

namespace aloft::recipes {
namespace {

void multiply(std::vector<float>& x, double factor) {
  for (float& v : x) v = static_cast<float>(v * factor);
}

}  // namespace

double stream_scale(const DesignRequest& request) {
  if (const auto& given = request.params.compose.stream_scale) return *given;
  return request.recipe.stream_scale != nullptr ? request.recipe.stream_scale(request) : 1;
}

double standing_scale(const DesignRequest& request, double rms) {
  const ModelShape& s = request.shape;
  const double moved = kFirstStep * mlp_moved(request.params.compose, s, hidden_of(request.arch),
                                              s.mlp_width > 0 ? s.mlp_width : 4 * s.d_model);
  return std::max(1.0, std::min(moved / kStandable, kLargestCoordinate) / rms);
}

void check_stream_scale(const DesignRequest& request) {
  const double c = stream_scale(request);
  if (c == 1 || request.recipe.stream_scale != nullptr) return;  // these write all that it takes
  const std::string what = fmt::format("--stream-scale {}: ", c);
  if (request.recipe.reads_corpus() && !request.params.compose.emit_embedding)
    throw UsageError(what + "the file has no embedding to scale; leave out --no-embedding");
  if (!request.recipe.reads_corpus() && request.shape.vocab <= 1)
    throw UsageError(what + "the embedding's size is not known; give --model-vocab-size");
  if (request.arch.tied_head && request.arch.final_norm.empty())
    throw UsageError(what + fmt::format("architecture {} ties its head and names no final_norm, whose gain "
                                        "has to be divided by it",
                                        request.arch.name));
}

void scale_stream(Context& ctx, const DesignRequest& request, HeadWeights& weights) {
  const double c = stream_scale(request);
  if (c == 1) return;
  const UsualInit& usual = request.params.compose;
  const ModelShape& s = request.shape;
  const auto draw = [&](std::int64_t rows, std::int64_t number, double std) {
    return normal_f32(ctx, rows, s.d_model, usual.seed, stream_of(Part::embedding, 0, number), std);
  };
  if (weights.embedding.empty()) weights.embedding = draw(s.vocab, 0, embedding_std(usual));
  multiply(weights.embedding, c);
  if (!request.arch.position_embedding.empty()) {
    weights.position = draw(s.context, 1, usual.init_std);  // no multiplier acts on it
    multiply(weights.position, c);
  }
  if (request.recipe.designs_outputs)
    for (LayerHeads& layer : weights.layers) multiply(layer.output, c);
  if (request.arch.tied_head) {
    // A usual gain is 1 in the file. The canonical form has both multipliers in the weights, and a tied head
    // is its embedding: there that gain is the ratio of what the two are multiplied by.
    const double gain = usual.logits_multiplier / usual.embedding_multiplier;
    weights.final_norm.assign(static_cast<std::size_t>(s.d_model), static_cast<float>(gain / c));
  }
}

}  // namespace aloft::recipes
