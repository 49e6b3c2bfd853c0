#pragma once
#include <Eigen/Core>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "pipeline/base/context.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/spectra/spectra.hpp"
#include "tests/per_backend.hpp"

// What tests of the stages after counting need: a small corpus counted naively, and matrices as Eigen sees
// them.

namespace aloft::stages {

using Dense = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

struct Bench {
  explicit Bench(const std::string& name) : backend(make_backend(name)) {}
  Backend backend;
  NoProgress progress;
  Context ctx{backend, progress};
};

/// Text with structure: a noisy walk over the vocabulary, one document. Ids from vocab − unused on never
/// occur.
inline std::vector<TokenId> walk(std::size_t tokens, std::int64_t vocab, unsigned seed,
                                 std::int64_t unused = 0) {
  std::mt19937_64 random(seed);
  const auto used = static_cast<std::uint64_t>(vocab - unused);
  std::vector<TokenId> out{0};
  while (out.size() < tokens)
    out.push_back(
        static_cast<TokenId>((random() % 3 == 0 ? random() : out.back() * 2 + random() % 3) % used));
  return out;
}

inline std::vector<Dense> naive_counts(const std::vector<TokenId>& ids, std::int64_t vocab,
                                       std::int32_t max_lag) {
  std::vector<Dense> out(static_cast<std::size_t>(max_lag), Dense::Zero(vocab, vocab));
  for (std::size_t k = 0; k < ids.size(); ++k)
    for (std::size_t n = 1; n <= out.size() && k + n < ids.size(); ++n) out[n - 1](ids[k], ids[k + n]) += 1;
  return out;
}

inline CountCsr csr_of(Device& device, const Dense& m) {
  std::vector<std::uint64_t> offsets{0}, values;
  std::vector<std::uint32_t> columns;
  for (Eigen::Index i = 0; i < m.rows(); ++i) {
    for (Eigen::Index j = 0; j < m.cols(); ++j)
      if (m(i, j) != 0) {
        columns.push_back(static_cast<std::uint32_t>(j));
        values.push_back(static_cast<std::uint64_t>(m(i, j)));
      }
    offsets.push_back(columns.size());
  }
  CountCsr out;
  out.rows = m.rows();
  out.cols = m.cols();
  out.row_offsets = to_device<const std::uint64_t>(device, offsets);
  out.columns = to_device<const std::uint32_t>(device, columns);
  out.values = to_device<const std::uint64_t>(device, values);
  return out;
}

inline Counts counts_of(Device& device, const std::vector<TokenId>& ids, std::int64_t vocab,
                        std::int32_t max_lag) {
  Counts out;
  out.vocab = vocab;
  out.max_lag = max_lag;
  out.tokens = ids.size();
  out.corpus_hash = "walk";
  out.unigram.assign(static_cast<std::size_t>(vocab), 0);
  for (const TokenId t : ids) ++out.unigram[t];
  for (const Dense& j : naive_counts(ids, vocab, max_lag)) {
    out.lags.push_back(csr_of(device, j));
    out.pairs.push_back(static_cast<std::uint64_t>(j.sum()));
  }
  return out;
}

inline Dense dense_of(const Matrix& m, std::int64_t item = 0) {
  const auto host = to_host(m.data);
  return Eigen::Map<const Dense>(host.data() + item * m.rows * m.cols, m.rows, m.cols);
}

inline Matrix matrix_of(Device& device, const Dense& m) {
  return matrix_from(device, {m.data(), m.data() + m.size()}, m.rows(), m.cols());
}

/// Σ_k sigma_k (l_k r_kᵀ − r_k l_kᵀ) of one item.
inline Dense assembled(const SkewPlanes& p, std::int64_t item) {
  const Dense l = dense_of(p.left, item), r = dense_of(p.right, item);
  Dense out = Dense::Zero(l.cols(), l.cols());
  for (Eigen::Index k = 0; k < l.rows(); ++k) {
    const double s = p.sigma[static_cast<std::size_t>(item * l.rows() + k)];
    out += s * (l.row(k).transpose() * r.row(k) - r.row(k).transpose() * l.row(k));
  }
  return out;
}

/// ‖rows·rowsᵀ − I‖ of both halves of one item together.
inline double orthonormality(const SkewPlanes& p, std::int64_t item) {
  const Dense l = dense_of(p.left, item), r = dense_of(p.right, item);
  Dense both(2 * l.rows(), l.cols());
  both << l, r;
  return (both * both.transpose() - Dense::Identity(both.rows(), both.rows())).norm();
}

/// (Σσ²)²/Σσ⁴ of any matrix: ‖M‖⁴/‖MᵀM‖².
inline double pr_of(const Dense& m) {
  return std::pow(m.squaredNorm(), 2) / (m.transpose() * m).squaredNorm();
}

}  // namespace aloft::stages
