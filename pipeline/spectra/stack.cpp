#include "pipeline/spectra/stack.hpp"

#include <span>

#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/spectra/planes.hpp"

namespace aloft {
namespace {

constexpr double kVanished = 1e-8;

/// Rows grow from the top; [capacity, d].
struct Basis {
  Matrix rows;
  std::int64_t size = 0;
  [[nodiscard]] ConstMatrixView view() const { return rows.view().row_block(0, size); }
};

/// x ← x (I − QᵀQ), x: [k, d], Q the basis' rows.
void remove_span(Context& ctx, const Basis& basis, MatrixView x) {
  if (basis.size == 0) return;
  Matrix inner(ctx.device(), x.rows, basis.size);
  ctx.linear().gemm(1, Op::none, x, Op::transpose, basis.view(), 0, inner.view());
  ctx.linear().gemm(-1, Op::none, inner.view(), Op::none, basis.view(), 1, x);
}

}  // namespace

std::vector<std::int32_t> stacking_order(std::int32_t own, std::int32_t lags) {
  std::vector<std::int32_t> out{own};
  for (std::int32_t lag = 1; lag <= lags; ++lag)
    if (lag != own) out.push_back(lag);
  return out;
}

Matrix stack_lags(Context& ctx, const SkewPlanes& planes, const std::vector<std::int32_t>& order,
                  const std::vector<double>& weights, std::int64_t modes) {
  expects(weights.size() >= order.size() && modes >= 1, "a weight for each lag, at least one mode");
  Device& device = ctx.device();
  const std::int64_t d = planes.left.cols, m = planes.left.rows, taken = std::min(modes, m);
  // The planes kept so far, in three parallel lists: all of them fit into m, as their rows are orthonormal.
  Matrix left(device, m, d), right(device, m, d);
  std::vector<double> sigma;
  Basis basis{Matrix(device, 2 * m, d)};

  for (std::size_t i = 0; i < order.size(); ++i) {
    ctx.check_interrupt();
    const std::int64_t lag = order[i] - 1;
    const double* const sigmas = HostView(planes.sigma, m).row(lag);
    const std::span<const double> top(sigmas, sigmas + taken);
    if (top.empty() || !(top[0] > 0)) continue;
    Matrix l = copy_of(device, planes.left.view().item(lag).row_block(0, taken)),
           r = copy_of(device, planes.right.view().item(lag).row_block(0, taken));
    remove_span(ctx, basis, l.view());
    remove_span(ctx, basis, r.view());
    const SkewPlanes outside = planes_of(ctx, from_planes(ctx, top, l.view(), r.view()).view());
    std::int64_t kept = 0;
    const std::int64_t room = m - static_cast<std::int64_t>(sigma.size());
    while (kept < std::min(taken, room) && at(outside.sigma, kept) > kVanished * top[0]) ++kept;
    if (kept == 0) continue;

    const auto have = static_cast<std::int64_t>(sigma.size());
    const ConstMatrixView new_left = outside.left.view().row_block(0, kept),
                          new_right = outside.right.view().row_block(0, kept);
    copy(device, new_left, left.view().row_block(have, kept));
    copy(device, new_right, right.view().row_block(have, kept));
    copy(device, new_left, basis.rows.view().row_block(basis.size, kept));
    copy(device, new_right, basis.rows.view().row_block(basis.size + kept, kept));
    basis.size += 2 * kept;
    for (std::int64_t k = 0; k < kept; ++k) sigma.push_back(weights[i] * at(outside.sigma, k));
  }
  sigma.resize(static_cast<std::size_t>(m), 0.0);
  // Rows that were never filled belong to planes of weight 0, but 0 · garbage need not be 0.
  const auto filled = basis.size / 2;
  zero(device, left.view().row_block(filled, m - filled));
  zero(device, right.view().row_block(filled, m - filled));
  return from_planes(ctx, sigma, left.view(), right.view());
}

Peak stack_memory(const LinearOps& ops, std::int64_t d) {
  const auto squares = [d](std::int64_t n) { return on_device(matrix_bytes(d, d, n)); };
  Peak out;  // planes kept, their basis, a lag's planes; what these sum up to, or its planes
  const Footprint values = on_device(matrix_bytes(d, 2));
  out.reach(squares(3) + squares(3) + values);
  out.reach(squares(3) + squares(2) + values + ops.skew_spectrum_scratch(d, 1));
  return out;
}

}  // namespace aloft
