#include <fmt/format.h>

#include <cmath>

#include "pipeline/recipes/stream_scale.hpp"

namespace aloft::recipes {
namespace {

void check_number(const char* what, double value, bool zero_allowed) {
  if (!std::isfinite(value) || value < 0 || (value == 0 && !zero_allowed))
    throw UsageError(
        fmt::format("{} is {}: give a finite number {} 0", what, value, zero_allowed ? ">=" : ">"));
}

void check_request(const ComposeParams& p, const ModelShape& s) {
  check_number("init_std", p.init_std, false);
  check_number("noise", p.noise, true);
  check_number("strength", p.strength, true);
  check_number("mimetic_value", p.mimetic_value, true);
  check_number("mimetic_value_noise", p.mimetic_value_noise, true);
  if (!std::isfinite(p.mimetic_key)) throw UsageError("mimetic_key is not a finite number");
  if (s.layers <= 0 || s.heads <= 0 || s.kv_heads <= 0 || s.head_dim <= 0 || s.d_model <= 0 || s.vocab <= 0)
    throw UsageError(fmt::format(
        "a model of {} layers, {} heads, {} kv heads, head_dim {}, d {}, vocabulary {} cannot be: "
        "all must be positive",
        s.layers, s.heads, s.kv_heads, s.head_dim, s.d_model, s.vocab));
  if (s.heads % s.kv_heads != 0)
    throw UsageError(fmt::format("{} heads cannot share {} kv heads evenly", s.heads, s.kv_heads));
  if (s.rotary_dim < 0 || s.rotary_dim > s.head_dim || s.rotary_dim % 2 != 0)
    throw UsageError(
        fmt::format("rotary_dim {} must be even and at most head_dim, here {}", s.rotary_dim, s.head_dim));
}

}  // namespace

Composition compose_layers(Context& ctx, LayerFunction design, const RecipeInput& in) {
  check_request(in.params, in.shape);
  Composition out;
  for (std::int64_t layer = 0; layer < in.shape.layers; ++layer) {
    ctx.check_interrupt();
    LayerDesign one = design(ctx, in, layer);
    out.weights.layers.push_back(std::move(one.heads));
    out.layers.push_back(std::move(one.figures));
    const auto done = static_cast<std::uint64_t>(layer) + 1;
    ctx.progress().update(std::string(kCompose.name), static_cast<double>(done),
                          static_cast<double>(in.shape.layers), done, "layers");
  }
  return out;
}

Design design_attention(DesignRun& run, const DesignRequest& request, LayerFunction layer) {
  check_stream_scale(request);
  return run.stages.run(kCompose, [&] {
    Design out;
    out.composition = compose_layers(run.ctx, layer, {request.params.compose, request.shape});
    scale_stream(run.ctx, request, out.composition.weights);
    return out;
  });
}

}  // namespace aloft::recipes
