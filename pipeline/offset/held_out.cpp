#include "pipeline/offset/held_out.hpp"

#include <algorithm>
#include <cmath>
#include <span>

#include "pipeline/base/host_matrix.hpp"

namespace aloft::offset {
namespace {

constexpr std::int64_t kProducts = std::int64_t{1} << 32, kFewest = 512;
constexpr double kRough = 2e-2, kFine = 1e-6;

}  // namespace

std::int64_t screening_positions(std::int64_t vocab, std::int64_t width) {
  return std::clamp(kProducts / std::max<std::int64_t>(1, vocab * width), kFewest, kHoldoutPositions);
}

double screening_tolerance(std::int64_t terms, const HoldoutPositions& few, const HoldoutPositions& all) {
  return few.size() < all.size() ? kRough / static_cast<double>(terms) : kFine;
}

double final_tolerance(std::int64_t terms, const HoldoutPositions& few, const HoldoutPositions& all) {
  return few.size() < all.size() ? 4 * static_cast<double>(terms) / static_cast<double>(few.size()) : kFine;
}

Matrix rows_of_tokens(Context& ctx, ConstMatrixView rows, const HoldoutPositions& positions, std::int32_t a) {
  std::vector<std::int32_t> tokens;
  const HostView context(positions.context, positions.lags);
  for (std::int64_t k = 0; k < positions.size(); ++k) tokens.push_back(signed_index(context(k, a), false));
  const Buffer<std::int32_t> on_device = to_device(ctx.device(), std::span(tokens));
  Matrix out(ctx.device(), positions.size(), rows.cols);
  ctx.linear().permute(rows, on_device.data(), nullptr, out.view());
  return out;
}

std::vector<float> floats_of_logarithms(const std::vector<double>& p) {
  std::vector<float> out;
  for (const double x : p) out.push_back(static_cast<float>(std::log(x)));
  return out;
}

}  // namespace aloft::offset
