#include "pipeline/offset/layer_heads.hpp"
#include "pipeline/offset/offset.hpp"
#include "pipeline/offset/residual.hpp"
#include "pipeline/offset/tables.hpp"

namespace aloft {
namespace {

/// How well the heads of a lag find their offset, and how many directions they carry.
void describe_lag(const OffsetRequest& r, std::int32_t lag, LayerComposition& figures) {
  const std::vector<double>& frequencies = r.layout.frequencies;
  const OffsetPattern pattern = offset_pattern(frequencies, lag, r.shape.context);
  const std::string name = "lag" + std::to_string(lag + 1) + "_";
  figures.measures.emplace_back(name + "margin", pattern.margin);
  figures.measures.emplace_back(name + "mass_on_offset", mass_on_offset(pattern, frequencies, lag,
                                                                        r.shape.context, r.params.sharpness));
  figures.measures.emplace_back(name + "participation_ratio", at(r.factors.participation, lag));
}

}  // namespace

Composition design_offset(Context& ctx, const OffsetRequest& request) {
  const std::int32_t lags = offset::designed_lags(request.part, request.layout);
  const LagFactors& factors = request.factors;
  expects(factors.d_s == request.layout.d_s && factors.d_o == request.layout.d_o && factors.lags >= lags,
          "factors of the layout's sizes");
  const offset::ResidualBudget budget = offset::residual_budget(request);
  const offset::HeadDesigner heads(request, budget);

  Composition out;
  for (std::int64_t layer = 0; layer < request.shape.layers; ++layer) {
    ctx.check_interrupt();
    out.weights.layers.push_back(heads.layer(layer));
    LayerComposition figures;
    for (std::int32_t lag = 0; lag < lags; ++lag)
      if (at(request.layout.lag_layers, lag) == layer) describe_lag(request, lag, figures);
    out.layers.push_back(std::move(figures));
  }
  out.weights.embedding = offset::embedding_table(ctx, request, budget);
  if (!request.arch.tied_head) out.weights.head = offset::head_table(ctx, request, budget);
  if (request.layout.position >= 0) out.weights.position = offset::position_table(request, budget);
  if (request.arch.tied_head) offset::write_final_norm(request, budget, out.weights);
  return out;
}

}  // namespace aloft
