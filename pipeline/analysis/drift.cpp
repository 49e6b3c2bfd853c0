#include "pipeline/analysis/drift.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"

namespace aloft::analysis {
namespace {

/// diag(√p)(x − 1 pᵀx).
Matrix weighted_and_centred(Context& ctx, ConstMatrixView x, const std::vector<double>& p) {
  const std::int64_t v = x.rows, d = x.cols;
  const Matrix weights = matrix_from(ctx.device(), p, v, 1);
  Matrix mean(ctx.device(), d, 1), out = copy_of(ctx.device(), x);
  ctx.linear().gemm(1, Op::transpose, x, Op::none, weights.cview(), 0, mean.view());
  const Matrix ones = matrix_from(ctx.device(), host_vector(v, 1), v, 1);
  ctx.linear().gemm(-1, Op::none, ones.cview(), Op::transpose, mean.cview(), 1, out.view());
  std::vector<double> roots;
  for (const double x_i : p) roots.push_back(std::sqrt(x_i));
  const auto scale = to_device<const double>(ctx.device(), roots);
  ctx.linear().scale(out.view(), scale.data(), nullptr);
  ctx.device().synchronize();
  return out;
}

Matrix gram_of(Context& ctx, const Matrix& a, const Matrix& b) {
  Matrix out(ctx.device(), a.cols, b.cols);
  ctx.linear().gemm(1, Op::transpose, a.cview(), Op::none, b.cview(), 0, out.view());
  return out;
}

/// aᵀ x b: [n][d, d].
Matrix between(Context& ctx, const Matrix& a, ConstMatrixView x, const Matrix& b) {
  Matrix half(ctx.device(), a.cols, x.cols, x.batch), out(ctx.device(), a.cols, b.cols, x.batch);
  ctx.linear().gemm(1, Op::transpose, a.cview(), Op::none, x, 0, half.view());
  ctx.linear().gemm(1, Op::none, half.cview(), Op::none, b.cview(), 0, out.view());
  return out;
}

struct Subject {
  std::string name;
  Matrix first, second;  ///< [layers][rows, d]
};

std::vector<double> correlations(Context& ctx, ConstMatrixView first, ConstMatrixView second,
                                 const Permutations& permutations) {
  const std::int64_t rows = first.rows, cols = first.cols;
  const auto elements = static_cast<double>(rows * cols);
  const Matrix ones =
      matrix_from(ctx.device(), std::vector<double>(static_cast<std::size_t>(rows * cols), 1.0), rows, cols);
  const double sum_first = inner_products(ctx, first, ones.cview())[0],
               own = inner_products(ctx, first, first)[0], other = inner_products(ctx, second, second)[0];
  std::vector<double> out;
  Matrix turned(ctx.device(), rows, cols);
  for (std::int64_t i = -1; i < permutations.count(); ++i) {
    if (i < 0) {
      copy(ctx.device(), second, turned.view());
    } else {
      const auto columns = to_device<const std::int32_t>(ctx.device(), permutations.columns(i));
      ctx.linear().permute(second, nullptr, columns.data(), turned.view());
      ctx.device().synchronize();
    }
    const double product = inner_products(ctx, first, turned.cview())[0],
                 sum = inner_products(ctx, turned.cview(), ones.cview())[0];
    const double a = own - sum_first * sum_first / elements, b = other - sum * sum / elements;
    out.push_back(a > 0 && b > 0 ? (product - sum_first * sum / elements) / std::sqrt(a * b) : 0);
  }
  return out;
}

/// Of QK (left and right both embeddings) or OV (left the head): ⟨·,·⟩ of the V×V matrices of both models.
std::vector<double> token_correlations(Context& ctx, ConstMatrixView first, ConstMatrixView second,
                                       const Matrix& left, const Matrix& right, const Matrix& left_first,
                                       const Matrix& right_first, const Matrix& left_second,
                                       const Matrix& right_second, const Permutations& permutations) {
  // ⟨F_l M F_rᵀ, G_l N G_rᵀ⟩ = ⟨(F_lᵀG_l)ᵀ M (F_rᵀG_r), N⟩
  const Matrix moved_first = between(ctx, left, first, right);
  const double own = inner_products(ctx, between(ctx, left_first, first, right_first).cview(), first)[0];
  std::vector<double> out;
  Matrix turned(ctx.device(), second.rows, second.cols);
  for (std::int64_t i = -1; i < permutations.count(); ++i) {
    if (i < 0) {
      copy(ctx.device(), second, turned.view());
    } else {
      const auto rows = to_device<const std::int32_t>(ctx.device(), permutations.rows(i));
      ctx.linear().permute(second, rows.data(), rows.data(), turned.view());
      ctx.device().synchronize();
    }
    const double other = inner_products(ctx, between(ctx, left_second, turned.cview(), right_second).cview(),
                                        turned.cview())[0];
    const double product = inner_products(ctx, moved_first.cview(), turned.cview())[0];
    out.push_back(own > 0 && other > 0 ? product / std::sqrt(own * other) : 0);
  }
  return out;
}

}  // namespace

TokenGrams token_grams(Context& ctx, const TokenRows& first, const TokenRows& second,
                       const std::vector<double>& p) {
  const Matrix e = weighted_and_centred(ctx, first.e(), p), u = weighted_and_centred(ctx, first.u(), p),
               e2 = weighted_and_centred(ctx, second.e(), p), u2 = weighted_and_centred(ctx, second.u(), p);
  return {gram_of(ctx, e, e2), gram_of(ctx, u, u2),  gram_of(ctx, e, e),
          gram_of(ctx, u, u),  gram_of(ctx, e2, e2), gram_of(ctx, u2, u2)};
}

void drift_group(Context& ctx, const ModelShape& s, const MeasuredGroup& group, const LayerGroup& second,
                 const TokenGrams* grams, const Permutations& permutations, MeasurementTable& out) {
  const LayerGroup& first = group.weights;
  const auto kernels = [&](const LayerGroup& w, bool qk) {
    const Matrix sums = summed_by_group(ctx, s, qk ? w.query : w.output);
    return whole(ctx, {sums.cview(), qk ? w.key.cview() : w.value.cview()});
  };
  std::vector<Subject> subjects;
  subjects.push_back({"Q", copy_of(first.query), copy_of(second.query)});
  subjects.push_back({"K", copy_of(first.key), copy_of(second.key)});
  subjects.push_back({"V", copy_of(first.value), copy_of(second.value)});
  subjects.push_back({"O", copy_of(first.output), copy_of(second.output)});
  subjects.push_back({"QK", kernels(first, true), kernels(second, true)});
  subjects.push_back({"OV", kernels(first, false), kernels(second, false)});
  for (std::int64_t l = 0; l < first.layers(); ++l)
    for (const Subject& subject : subjects) {
      ctx.check_interrupt();
      const ConstMatrixView a = subject.first.cview().item(l), b = subject.second.cview().item(l);
      const auto leading = [&](const char* measure) {
        return std::vector<Cell>{Cell(group.first_layer + l), Cell(subject.name), Cell(std::string(measure))};
      };
      Matrix difference = copy_of(ctx.device(), b);
      ctx.linear().add_scaled(-1, a, difference.view());
      const double moved = inner_products(ctx, difference.cview(), difference.cview())[0],
                   size = inner_products(ctx, a, a)[0];
      out.add("", leading("drift"), Measured(size > 0 ? std::sqrt(moved / size) : 0));
      const std::vector<double> r = correlations(ctx, a, b, permutations);
      if (permutations.by_formula())
        out.add_normal("correlation/" + subject.name, Side::both, leading("correlation"), r[0],
                       {0, 1 / std::sqrt(static_cast<double>(a.rows * a.cols))});
      else
        out.add("correlation/" + subject.name, Side::both, leading("correlation"), r);
      if (grams == nullptr || subject.name.size() == 1) continue;
      const bool qk = subject.name == "QK";
      out.add("token_correlation/" + subject.name, Side::both, leading("token_correlation"),
              token_correlations(ctx, a, b, qk ? grams->embedding : grams->head, grams->embedding,
                                 qk ? grams->first_e : grams->first_u, grams->first_e,
                                 qk ? grams->second_e : grams->second_u, grams->second_e, permutations));
    }
}

MeasurementTable drift_table() {
  return MeasurementTable({"drift",
                           "the second checkpoint's layers against the first's",
                           with_measurement({{"layer", "from 0"},
                                             {"subject", "Q, K, V, O: weights; QK, OV: circuits"},
                                             {"measure", "drift, correlation or token_correlation"}}),
                           {}});
}

}  // namespace aloft::analysis
