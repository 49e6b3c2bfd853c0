#include "pipeline/recipes/mlp_outputs.hpp"

#include <cmath>

namespace aloft::recipes {
namespace {

constexpr double kPi = 3.14159265358979323846;

double gelu(double z) { return z * 0.5 * std::erfc(-z / std::sqrt(2.0)); }
double relu2(double z) { return z > 0 ? z * z : 0; }
double silu(double z) { return z / (1 + std::exp(-z)); }

/// E g(f(z)) for z normal of this variance: the trapezoidal rule, which is exact to rounding for smooth
/// integrands.
template <class F, class G>
double mean_of(double variance, const F& f, const G& g) {
  constexpr int kSteps = 400;
  constexpr double kReach = 10;  // standard deviations
  const double step = kReach / kSteps, deviation = std::sqrt(variance);
  double sum = 0;
  for (int i = -kSteps; i <= kSteps; ++i) {
    const double z = i * step;
    sum += g(f(z * deviation)) * std::exp(-z * z / 2);
  }
  return sum * step / std::sqrt(2 * kPi);
}
template <class F>
double mean_square(double variance, const F& f) {
  return mean_of(variance, f, [](double y) { return y * y; });
}
template <class F>
double mean_size(double variance, const F& f) {
  return mean_of(variance, f, [](double y) { return std::abs(y); });
}

/// Why nothing can be written; "" where it can.
std::string missing(const DesignRequest& request) {
  if (request.arch.mlp_output.empty()) return "the architecture does not name it";
  return request.shape.mlp_width == 0 ? "give --mlp-width" : "";
}

}  // namespace

Hidden hidden_of(const Architecture& arch) {
  return arch.mlp_gated ? Hidden::gated : arch.mlp_relu2 ? Hidden::relu2 : Hidden::gelu;
}

double mlp_added2(const UsualInit& p, const ModelShape& shape, Hidden hidden, std::int64_t width) {
  const auto d = static_cast<double>(shape.d_model);
  const double variance = d * p.init_std * p.init_std;
  const double hidden2 = hidden == Hidden::gated   ? mean_square(variance, silu) * variance
                         : hidden == Hidden::relu2 ? mean_square(variance, relu2)
                                                   : mean_square(variance, gelu);
  const double out = output_std(p, shape);
  return static_cast<double>(shape.layers) * d * static_cast<double>(width) * out * out * hidden2;
}

double mlp_moved(const UsualInit& p, const ModelShape& shape, Hidden hidden, std::int64_t width) {
  const double variance = static_cast<double>(shape.d_model) * p.init_std * p.init_std;
  const double size = hidden == Hidden::gated   ? mean_size(variance, silu) * std::sqrt(2 * variance / kPi)
                      : hidden == Hidden::relu2 ? mean_size(variance, relu2)
                                                : mean_size(variance, gelu);
  return static_cast<double>(shape.layers * width) * size * p.residual_multiplier;
}

std::vector<std::vector<float>> bounded_mlp_outputs(Context& ctx, const UsualInit& p, const ModelShape& shape,
                                                    Hidden hidden, double allowed2) {
  const double added2 = mlp_added2(p, shape, hidden, shape.mlp_width);
  std::vector<std::vector<float>> out;
  if (added2 <= allowed2) return out;
  const double std = output_std(p, shape) * std::sqrt(allowed2 / added2);
  for (std::int64_t l = 0; l < shape.layers; ++l) {
    ctx.check_interrupt();
    out.push_back(
        normal_f32(ctx, shape.d_model, shape.mlp_width, p.seed, stream_of(Part::mlp_output, l), std));
  }
  return out;
}

MlpOutputs silent_mlp_outputs(const DesignRequest& request) {
  return missing(request).empty() ? MlpOutputs::silent : MlpOutputs::none;
}

MlpOutputs bounded_mlp_outputs(const DesignRequest& request, double allowed2) {
  const ModelShape& s = request.shape;
  const bool writes = missing(request).empty() &&
                      mlp_added2(request.params.compose, s, hidden_of(request.arch), s.mlp_width) > allowed2;
  return writes ? MlpOutputs::drawn : MlpOutputs::none;
}

void write_silent_mlp_outputs(DesignRun& run, const DesignRequest& request, HeadWeights& weights) {
  if (const std::string why = missing(request); !why.empty())
    return run.note("note: the MLP's output projection is left to the model: " + why);
  const ModelShape& s = request.shape;
  weights.mlp_output.assign(static_cast<std::size_t>(s.layers),
                            std::vector<float>(static_cast<std::size_t>(s.mlp_width * s.d_model)));
}

void write_bounded_mlp_outputs(DesignRun& run, const DesignRequest& request, double allowed2,
                               HeadWeights& weights) {
  const UsualInit& usual = request.params.compose;
  const ModelShape& s = request.shape;
  const Hidden hidden = hidden_of(request.arch);
  const std::string why = missing(request);
  if (why.empty()) {
    weights.mlp_output = bounded_mlp_outputs(run.ctx, usual, s, hidden, allowed2);
  } else if (mlp_added2(usual, s, hidden, 4 * s.d_model) > allowed2) {
    run.note(
        "note: the MLP's output projection is left to the model, whose usual one adds more than this "
        "recipe's "
        "heads: " +
        why);
  }
}

}  // namespace aloft::recipes
