#pragma once
#include <Eigen/Core>
#include <cmath>
#include <vector>

#include "tests/decompositions.hpp"
#include "tests/offset_helpers.hpp"

// The two estimators of the offset recipe written down as formulas on dense V×V matrices, straight from the
// text. Shares no code with pipeline/offset.

namespace aloft {

using stages::Dense;

struct OracleStatistics {
  std::vector<Dense> j;      ///< [lags] of [V, V]
  Eigen::VectorXd count, p;  ///< unigram + 1/2, and its shares
  std::int64_t vocab;

  OracleStatistics(const std::vector<TokenId>& ids, std::int64_t v, std::int32_t lags)
      : j(static_cast<std::size_t>(lags), Dense::Zero(v, v)),
        count(Eigen::VectorXd::Constant(v, 0.5)),
        vocab(v) {
    for (std::size_t k = 0; k < ids.size(); ++k) {
      if (ids[k] == kDocumentBreak) continue;
      count(ids[k]) += 1;
      for (std::size_t n = 1; n <= j.size() && k + n < ids.size() && ids[k + n] != kDocumentBreak; ++n)
        j[n - 1](ids[k], ids[k + n]) += 1;
    }
    p = count / count.sum();
  }
};

/// logit_j = bias_j + Σ_n maps[n](token n places back, j).
struct OracleModel {
  std::vector<Dense> maps;
  Eigen::VectorXd bias;
};

/// E[x_a x_bᵀ] of the last `lags` embedded tokens.
inline Dense oracle_moments(const OracleStatistics& s, const Dense& rows) {
  const Eigen::Index d = rows.cols(), lags = static_cast<Eigen::Index>(s.j.size());
  Dense out(lags * d, lags * d);
  for (Eigen::Index a = 0; a < lags; ++a)
    for (Eigen::Index b = 0; b < lags; ++b) {
      Dense block = rows.transpose() * s.p.asDiagonal() * rows;
      if (a != b) {
        const Dense& j = s.j[static_cast<std::size_t>(std::abs(a - b) - 1)];
        block = rows.transpose() * j * rows / j.sum();
        if (a < b) block.transposeInPlace();
      }
      out.block(a * d, b * d, d, d) = block;
    }
  return out;
}

/// axes: what S and C are made of; null: s too.
inline OracleModel oracle_discriminant(const OracleStatistics& s, std::int64_t d_s, std::int64_t d_o,
                                       double alpha, double kappa, double ridge,
                                       const OracleStatistics* axes = nullptr) {
  if (axes == nullptr) axes = &s;
  const Dense& j = axes->j[0];
  const Eigen::VectorXd rows = j.rowwise().sum(), cols = j.colwise().sum().transpose();
  Dense pmi = Dense::Zero(s.vocab, s.vocab);
  for (Eigen::Index a = 0; a < s.vocab; ++a)
    for (Eigen::Index b = 0; b < s.vocab; ++b)
      if (j(a, b) > 0) pmi(a, b) = std::max(0.0, std::log(j(a, b) * j.sum() / (rows(a) * cols(b))));
  const oracle::Svd svd = oracle::svd(pmi);
  Dense x = svd.u.leftCols(d_s) * svd.values.head(d_s).cwiseSqrt().asDiagonal();
  x = (x.rowwise() - (axes->p.transpose() * x).eval().row(0)).eval();
  x = x.rowwise().normalized().eval();

  const Eigen::Index lags = static_cast<Eigen::Index>(s.j.size()), width = lags * d_s;
  const Dense c = oracle_moments(*axes, x);
  Dense mu(width, s.vocab);
  for (Eigen::Index a = 0; a < lags; ++a)
    mu.middleRows(a * d_s, d_s) = (s.j[static_cast<std::size_t>(a)].transpose() * x).transpose() *
                                  (s.count.array() + kappa).inverse().matrix().asDiagonal();
  Dense w =
      oracle::solve(c + ridge * c.trace() / static_cast<double>(width) * Dense::Identity(width, width), mu);
  OracleModel out;
  out.bias = s.p.array().log() - alpha / 2 * (mu.array() * w.array()).colwise().sum().transpose();
  out.bias.array() -= out.bias.dot(s.p);
  w.colwise() -= (w * s.p).eval();

  // The best approximation of rank d_o where inputs are whitened by their covariance and classes count by √p.
  const Dense c0 = c.topLeftCorner(d_s, d_s);
  const Dense chol =
      oracle::upper_cholesky(c0 + 1e-4 * c0.trace() / static_cast<double>(d_s) * Dense::Identity(d_s, d_s));
  Dense white(width, s.vocab);
  for (Eigen::Index a = 0; a < lags; ++a)
    white.middleRows(a * d_s, d_s) = chol * w.middleRows(a * d_s, d_s) * s.p.cwiseSqrt().asDiagonal();
  const oracle::Svd best = oracle::svd(white);
  const Eigen::Index rank = std::min<Eigen::Index>(d_o, best.values.size());
  const Dense reduced =
      best.u.leftCols(rank) * best.values.head(rank).asDiagonal() * best.v.leftCols(rank).transpose();
  for (Eigen::Index a = 0; a < lags; ++a)
    out.maps.emplace_back(alpha * x * oracle::solve(chol, reduced.middleRows(a * d_s, d_s)) *
                          s.p.cwiseSqrt().cwiseInverse().asDiagonal());
  return out;
}

/// log of (J + κp)/((J_i. + κ) p) of every lag, centred under p: what softmax ignores drops out.
inline std::vector<Dense> oracle_ratios(const OracleStatistics& s, double kappa) {
  std::vector<Dense> out;
  for (const Dense& j : s.j) {
    Dense ratio(s.vocab, s.vocab);
    for (Eigen::Index a = 0; a < s.vocab; ++a)
      for (Eigen::Index b = 0; b < s.vocab; ++b)
        ratio(a, b) = std::log((j(a, b) + kappa * s.p(b)) / ((j.row(a).sum() + kappa) * s.p(b)));
    ratio.colwise() -= (ratio * s.p).eval();
    out.push_back(std::move(ratio));
  }
  return out;
}

/// axes: what S and the space of U are made of; null: s too.
inline OracleModel oracle_tucker(const OracleStatistics& s, std::int64_t d_s, std::int64_t d_o, double kappa,
                                 const std::vector<double>& weights, const OracleStatistics* axes = nullptr) {
  if (axes == nullptr) axes = &s;
  const Eigen::VectorXd root = axes->p.cwiseSqrt();
  Dense left = Dense::Zero(s.vocab, s.vocab), right = left;
  const std::vector<Dense> seen = oracle_ratios(*axes, kappa), m = oracle_ratios(s, kappa);
  for (std::size_t n = 0; n < seen.size(); ++n) {
    const double mix = n == 0 ? 1 : n == 1 ? 0.6 : n < 4 ? 0.4 : 0.3;
    const Dense x = root.asDiagonal() * seen[n] * root.asDiagonal();
    left += mix * mix * x * x.transpose();
    right += mix * mix * x.transpose() * x;
  }
  const oracle::Eigh rows = oracle::eigh(left), cols = oracle::eigh(right);
  Dense x = root.cwiseInverse().asDiagonal() * rows.vectors.rightCols(d_s) *
            rows.values.tail(d_s).cwiseMax(0).cwiseSqrt().asDiagonal();
  x = x.rowwise().normalized().eval();
  Dense u = root.cwiseInverse().asDiagonal() * cols.vectors.rightCols(d_o);
  const Dense chol = oracle::upper_cholesky(u.transpose() * s.p.asDiagonal() * u);
  u = oracle::solve(chol.transpose(), u.transpose()).transpose().eval();  // UᵀDU = I
  const Dense gram = x.transpose() * s.p.asDiagonal() * x;
  const Dense ridged = gram + 1e-5 * gram.trace() / static_cast<double>(d_s) * Dense::Identity(d_s, d_s);
  OracleModel out;
  for (std::size_t n = 0; n < m.size(); ++n) {
    const Dense core = oracle::solve(ridged, x.transpose() * s.p.asDiagonal() * m[n] * s.p.asDiagonal() * u);
    out.maps.emplace_back(weights[n] * x * core * u.transpose());
  }
  out.bias = s.p.array().log();
  out.bias.array() -= out.bias.dot(s.p);
  return out;
}

}  // namespace aloft
