#include <gtest/gtest.h>

#include <complex>
#include <filesystem>
#include <fstream>
#include <numbers>

#include "host/error.hpp"
#include "host/safetensors.hpp"
#include "pipeline/base/krylov_subspace.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/spectra/spectra.hpp"
#include "tests/decompositions.hpp"
#include "tests/stage_helpers.hpp"

namespace aloft {
namespace {

using namespace stages;

class EmbedPpmiSvd : public PerBackend {};
class KrylovEigen : public PerBackend {};
class EmbedMobius : public PerBackend {};
class EmbedFile : public PerBackend {};

Dense ppmi_of(const Dense& j) {
  const Dense s = j + j.transpose();
  const Eigen::VectorXd sums = s.rowwise().sum();
  const double total = s.sum();
  Dense out = Dense::Zero(s.rows(), s.cols());
  for (Eigen::Index i = 0; i < s.rows(); ++i)
    for (Eigen::Index k = 0; k < s.cols(); ++k)
      if (s(i, k) > 0) out(i, k) = std::max(0.0, std::log(s(i, k) * total / (sums(i) * sums(k))));
  return out;
}

/// |λ|, falling, and Σ_{k<d} |λ_k| v_k v_kᵀ: what E Eᵀ has to be whatever the solver's choice of vectors.
struct Truth {
  std::vector<double> magnitudes;
  Dense gram;
};
Truth truth_of(const Dense& symmetric, std::size_t d) {
  const auto [values, vectors] = oracle::eigh(symmetric);
  std::vector<Eigen::Index> order(static_cast<std::size_t>(symmetric.rows()));
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<Eigen::Index>(i);
  const auto size = [&values = values](Eigen::Index i) { return std::abs(values[i]); };
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return size(a) > size(b); });
  Truth out{{}, Dense::Zero(symmetric.rows(), symmetric.rows())};
  for (std::size_t k = 0; k < std::min(d, order.size()); ++k) {
    out.magnitudes.push_back(size(order[k]));
    const Eigen::VectorXd v = vectors.col(order[k]);
    out.gram += size(order[k]) * v * v.transpose();
  }
  return out;
}

TEST_P(EmbedPpmiSvd, SmallVocabularyAgainstADenseSolver) {
  Bench b(GetParam());
  const std::int64_t vocab = 50, d = 9;
  const auto ids = walk(3000, vocab, 1);
  const Embedding e = embed_ppmi_svd(b.ctx, counts_of(b.ctx.device(), ids, vocab, 1), d, 1);
  const Truth truth = truth_of(ppmi_of(naive_counts(ids, vocab, 1)[0]), d);
  const Dense rows = dense_of(e.rows);
  EXPECT_LE((rows * rows.transpose() - truth.gram).norm(), 1e-6 * truth.gram.norm());  // values are floats
  EXPECT_EQ(e.rank, d);
  for (Eigen::Index k = 0; k < d; ++k) {
    EXPECT_NEAR(rows.col(k).squaredNorm(), truth.magnitudes[static_cast<std::size_t>(k)], 1e-5);
    EXPECT_EQ(rows.col(k).maxCoeff(), rows.col(k).cwiseAbs().maxCoeff()) << "sign of column " << k;
  }
  for (Eigen::Index i = 0; i < rows.size(); ++i)
    EXPECT_EQ(rows.data()[i], static_cast<double>(static_cast<float>(rows.data()[i])));
}

TEST_P(EmbedPpmiSvd, LargeVocabularyThroughTheKrylovSpace) {
  Bench b(GetParam());
  const std::int64_t vocab = 1040, d = 12;
  const auto ids = walk(20000, vocab, 2);
  const Counts counts = counts_of(b.ctx.device(), ids, vocab, 1);
  const Dense x = ppmi_of(naive_counts(ids, vocab, 1)[0]);
  const Truth truth = truth_of(x, d);
  const Embedding e = embed_ppmi_svd(b.ctx, counts, d, 1);
  const Dense rows = dense_of(e.rows);
  for (Eigen::Index k = 0; k < d; ++k)
    EXPECT_NEAR(rows.col(k).squaredNorm() / truth.magnitudes[static_cast<std::size_t>(k)], 1, 1e-6) << k;
  EXPECT_LE((rows * rows.transpose() - truth.gram).norm(), 1e-4 * truth.gram.norm());
  const Embedding again = embed_ppmi_svd(b.ctx, counts, d, 99);  // the seed chooses the start, not the result
  EXPECT_LE((dense_of(again.rows) - rows).norm(), 1e-3 * rows.norm());
}

RealCsr real_csr(Device& device, const Dense& m) {
  std::vector<std::uint64_t> offsets{0};
  std::vector<std::uint32_t> columns;
  std::vector<double> values;
  for (Eigen::Index i = 0; i < m.rows(); ++i) {
    for (Eigen::Index j = 0; j < m.cols(); ++j)
      if (m(i, j) != 0) {
        columns.push_back(static_cast<std::uint32_t>(j));
        values.push_back(m(i, j));
      }
    offsets.push_back(columns.size());
  }
  RealCsr out;
  out.rows = out.cols = m.rows();
  out.row_offsets = to_device<const std::uint64_t>(device, offsets);
  out.columns = to_device<const std::uint32_t>(device, columns);
  out.values = to_device<const double>(device, values);
  return out;
}

/// Where powers of x lead nowhere new: low rank, zero, and two eigenvalues of multiplicity 600.
TEST_P(KrylovEigen, ExhaustedSpaces) {
  Bench b(GetParam());
  const Eigen::Index n = 1200;
  Dense low = Dense::Zero(n, n), swap = Dense::Zero(n, n);
  low(3, 3) = 5;
  low(700, 20) = low(20, 700) = 2;
  for (Eigen::Index i = 0; i < n; i += 2) swap(i, i + 1) = swap(i + 1, i) = 3;
  struct Case {
    Dense x;
    std::vector<double> magnitudes;
  };
  for (const auto& [x, want] :
       {Case{low, {5, 2, 2, 0}}, Case{Dense::Zero(n, n), {0, 0, 0, 0}}, Case{swap, {3, 3, 3, 3}}}) {
    const RealCsr csr = real_csr(b.ctx.device(), x);
    const EigenPairs got = largest_eigenpairs(b.ctx, csr.view(), 70, 1, "test");
    const Dense v = dense_of(got.vectors);
    EXPECT_LE((v * v.transpose() - Dense::Identity(70, 70)).norm(), 1e-10);
    for (std::size_t k = 0; k < 4; ++k) EXPECT_NEAR(std::abs(got.values[k]), want[k], 1e-9);
    const Eigen::Map<const Eigen::VectorXd> lambda(got.values.data(), 70);
    EXPECT_LE((v * x - lambda.asDiagonal() * v).norm(), 1e-4);
  }
}

/// leading_subspace() of a dense symmetric x.
Subspace rough(Bench& b, const Dense& x, Eigen::Index k) {
  FloatMatrix on(b.ctx.device(), x.rows(), x.cols());
  b.ctx.linear().round(
      matrix_from(b.ctx.device(), {x.data(), x.data() + x.size()}, x.rows(), x.cols()).cview(), on.view());
  const auto product = [&](ConstFloatView in, FloatView out) {
    b.ctx.linear().gemm(1.0F, Op::none, on.cview(), Op::none, in, 0.0F, out);
  };
  return leading_subspace(b.ctx, x.rows(), product, k, 2, 5, "test");
}

/// What is said of the rough pairs: the first are exact, all are orthonormal, and they catch nearly what the
/// best k would, at any spectrum; what catches least is a flat one, of which no direction is worth more than
/// another.
TEST_P(KrylovEigen, RoughSpacesCatchWhatTheBestWould) {
  Bench b(GetParam());
  const Eigen::Index n = 1400, k = 100;
  Eigen::VectorXd u(n);
  std::mt19937_64 random(3);
  for (double& value : u) value = std::normal_distribution<double>()(random);
  const Dense q = Dense::Identity(n, n) - 2 / u.squaredNorm() * u * u.transpose();  // a reflection
  for (const double decay : {0.0, 0.5, 1.0}) {
    Eigen::VectorXd lambda(n);
    for (Eigen::Index i = 0; i < n; ++i) lambda(i) = std::pow(i + 1.0, -decay);
    const Dense x = q * lambda.asDiagonal() * q.transpose();
    const Subspace got = rough(b, x, k);
    const Dense v = dense_of(got.columns);
    EXPECT_LE((v.transpose() * v - Dense::Identity(k, k)).norm(), 1e-5) << decay;
    const double caught = (v.transpose() * x * v).trace(), best = lambda.head(k).sum();
    EXPECT_LE(caught, best + 1e-5) << decay;
    EXPECT_GE(caught, 0.95 * best) << decay;
    if (decay < 1) continue;
    for (Eigen::Index i = 0; i < 5; ++i) EXPECT_NEAR(got.values[std::size_t(i)], lambda(i), 1e-6) << i;
  }
}

/// Where powers of x lead nowhere new after a block or at once.
TEST_P(KrylovEigen, RoughSpacesThatAreExhausted) {
  Bench b(GetParam());
  const Eigen::Index n = 1200, k = 100;
  Dense low = Dense::Zero(n, n);
  low(3, 3) = 5;
  low(700, 20) = low(20, 700) = 2;
  for (const Dense& x : {low, Dense(Dense::Zero(n, n)), Dense(1e4 * low)}) {
    const Subspace got = rough(b, x, k);
    const Dense v = dense_of(got.columns);
    EXPECT_LE((v.transpose() * v - Dense::Identity(k, k)).norm(), 1e-4);
    EXPECT_NEAR(got.values[0], x(3, 3), 1e-6 * x(3, 3));
    EXPECT_NEAR(std::abs(got.values[1]), x(700, 20), 1e-6 * x(3, 3));
    for (std::size_t i = 3; i < std::size_t(k); ++i) EXPECT_NEAR(got.values[i], 0, 1e-5 * x(3, 3));
  }
}

TEST_P(EmbedPpmiSvd, FewerDirectionsThanColumns) {
  Bench b(GetParam());
  const Embedding e = embed_ppmi_svd(b.ctx, counts_of(b.ctx.device(), {0, 1, 0, 1, 0, 1}, 5, 1), 8, 1);
  EXPECT_EQ(e.rank, 2);  // the pair (0,1) and nothing else
  const Dense rows = dense_of(e.rows);
  EXPECT_GT(rows.leftCols(2).norm(), 0);
  EXPECT_EQ(rows.rightCols(6).norm(), 0);
  EXPECT_THROW((void)embed_ppmi_svd(b.ctx, counts_of(b.ctx.device(), {0, 1}, 2, 1), 0, 1), UsageError);
}

/// The definition, by naive transforms.
Dense mobius_kernel(const Dense& j) {
  const Eigen::Index n = j.rows();
  const Dense d = (j + j.transpose()).array().log1p();
  const auto [values, vectors] = oracle::eigh(d);
  const double top = values.cwiseAbs().maxCoeff();
  Eigen::VectorXd f = Eigen::VectorXd::Zero(n);
  for (Eigen::Index k = 0; k < n; ++k) {
    const double l = values[k];
    if (std::abs(l) >= 1e-10 * top) f[k] = std::pow(std::abs(l), 0.01 - 1) * (l < 0 ? -1 : 1);
  }
  const Dense kernel = vectors * f.asDiagonal() * vectors.transpose();
  Dense circulant(n, n);
  for (Eigen::Index i = 0; i < n; ++i)
    for (Eigen::Index k = 0; k < n; ++k) circulant(i, k) = kernel(0, (k - i + n) % n);
  Eigen::MatrixXcd dft(n, n);
  for (Eigen::Index i = 0; i < n; ++i)
    for (Eigen::Index k = 0; k < n; ++k)
      dft(i, k) =
          std::polar(1.0, -2 * std::numbers::pi * static_cast<double>(i * k) / static_cast<double>(n));
  const Eigen::MatrixXcd a = dft * d.cast<std::complex<double>>() * dft,
                         c = dft * circulant.cast<std::complex<double>>() * dft;
  const Eigen::MatrixXcd product = a.cwiseProduct(c);
  return (dft.conjugate() * product * dft.conjugate()).real() / static_cast<double>(n * n);
}

TEST_P(EmbedMobius, EigenvectorsOfTheKernelsSymmetricPart) {
  Bench b(GetParam());
  for (const std::int64_t vocab : {12, 15}) {
    const auto ids = walk(300, vocab, 4);
    const Dense w = mobius_kernel(naive_counts(ids, vocab, 1)[0]);
    const Dense symmetric = (w + w.transpose()) / 2;
    const Counts counts = counts_of(b.ctx.device(), ids, vocab, 1);
    const Embedding all = embed_mobius(b.ctx, counts, vocab, 0);
    EXPECT_EQ(all.rank, vocab);
    const Dense full = dense_of(all.rows);
    const Truth truth = truth_of(symmetric, static_cast<std::size_t>(vocab));
    EXPECT_LE((full * full.transpose() - truth.gram).norm(), 1e-6 * truth.gram.norm());
    for (Eigen::Index k = 0; k < vocab; ++k) {  // eigenvectors, in order
      const Eigen::VectorXd v = full.col(k), image = symmetric * v;
      const double lambda = v.dot(image) / v.squaredNorm();
      EXPECT_LE((image - lambda * v).norm(), 1e-5 * symmetric.norm() * v.norm());
      EXPECT_NEAR(v.squaredNorm(), truth.magnitudes[static_cast<std::size_t>(k)], 1e-5 * truth.magnitudes[0]);
    }
    // Fewer columns: the largest, and no pair cut in half.
    const Embedding part = embed_mobius(b.ctx, counts, 4, 0);
    const Dense e = dense_of(part.rows);
    for (Eigen::Index k = part.rank; k < 4; ++k) EXPECT_EQ(e.col(k).norm(), 0);
    const Dense gram = e * e.transpose();
    for (Eigen::Index i = 1; i < vocab; ++i)
      EXPECT_NEAR(gram(i, i), gram(0, 0), 1e-6);  // whole pairs: shift-invariant
  }
}

TEST_P(EmbedMobius, RefusesAboveItsBudget) {
  Bench b(GetParam());
  const Counts counts = counts_of(b.ctx.device(), {0, 1, 2}, 100, 1);
  EXPECT_THROW((void)embed_mobius(b.ctx, counts, 4, 100000), ResourceError);
}

// ---- from a file
// ---------------------------------------------------------------------------------------------------

struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() /
                               ("aloft-embed-" + std::to_string(reinterpret_cast<std::uintptr_t>(this)));
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  [[nodiscard]] std::string file(const std::string& name) const { return (path / name).string(); }
};

void write_safetensors(const std::string& path, const std::vector<TensorInfo>& infos,
                       const std::vector<std::vector<float>>& data) {
  SafetensorsWriter out(path, {{"format", "pt"}}, infos);
  for (const auto& values : data) out.append(std::span<const float>(values));
  out.commit();
}

void write_npy(const std::string& path, std::int64_t rows, std::int64_t cols,
               const std::vector<double>& values) {
  std::string header = "{'descr': '<f8', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
                       std::to_string(cols) + "), }";
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::ofstream out(path, std::ios::binary);
  out << "\x93NUMPY" << '\1' << '\0' << static_cast<char>(header.size() & 0xff)
      << static_cast<char>(header.size() >> 8) << header;
  out.write(reinterpret_cast<const char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(double)));
}

TEST_P(EmbedFile, ReadsBothFormatsAndTheFirstRows) {
  Bench b(GetParam());
  const Folder folder;
  write_npy(folder.file("e.npy"), 3, 2, {1, 2, 3, 4, 0.1, 6});
  write_safetensors(folder.file("e.safetensors"), {{"bias", DType::f32, {2}}, {"wte", DType::f32, {3, 2}}},
                    {{9, 9}, {1, 2, 3, 4, 0.1F, 6}});
  for (const auto* name : {"e.npy", "e.safetensors"}) {
    const Embedding e = embed_from_file(b.ctx, folder.file(name), "", 3, 2);
    EXPECT_EQ(to_host(e.rows.data), (std::vector<double>{1, 2, 3, 4, static_cast<double>(0.1F), 6}));
    EXPECT_EQ(e.rank, 2);
    EXPECT_EQ(embed_from_file(b.ctx, folder.file(name), "", 2, 2).rows.rows, 2);  // a padded vocabulary
    EXPECT_THROW((void)embed_from_file(b.ctx, folder.file(name), "", 4, 2), InputError);
    EXPECT_THROW((void)embed_from_file(b.ctx, folder.file(name), "", 3, 3), InputError);
  }
  EXPECT_EQ(embed_from_file(b.ctx, folder.file("e.safetensors"), "wte", 3, 2).rows.rows, 3);
  EXPECT_THROW((void)embed_from_file(b.ctx, folder.file("e.safetensors"), "bias", 3, 2), InputError);
  EXPECT_THROW((void)embed_from_file(b.ctx, folder.file("e.safetensors"), "lost", 3, 2), InputError);
  EXPECT_THROW((void)embed_from_file(b.ctx, folder.file("e.txt"), "", 3, 2), UsageError);
  EXPECT_THROW((void)embed_from_file(b.ctx, folder.file("absent.npy"), "", 3, 2), InputError);
}

TEST_P(EmbedFile, RefusesAmbiguityAndWhatIsNotFinite) {
  Bench b(GetParam());
  const Folder folder;
  write_safetensors(folder.file("two.safetensors"), {{"a", DType::f32, {2, 2}}, {"b", DType::f32, {3, 2}}},
                    {{1, 2, 3, 4}, {1, 2, 3, 4, 5, 6}});
  EXPECT_THROW((void)embed_from_file(b.ctx, folder.file("two.safetensors"), "", 2, 2), InputError);
  EXPECT_EQ(embed_from_file(b.ctx, folder.file("two.safetensors"), "", 3, 2).rows.rows, 3);
  write_npy(folder.file("nan.npy"), 2, 2, {1, 2, std::nan(""), 4});
  write_npy(folder.file("huge.npy"), 2, 2, {1, 2, 1e300, 4});  // infinite as F32
  write_npy(folder.file("zero.npy"), 2, 2, {0, 0, 0, 0});
  for (const auto* name : {"nan.npy", "huge.npy", "zero.npy"})
    EXPECT_THROW((void)embed_from_file(b.ctx, folder.file(name), "", 2, 2), InputError) << name;
}

ALOFT_ON_EACH_BACKEND(EmbedPpmiSvd);
ALOFT_ON_EACH_BACKEND(KrylovEigen);
ALOFT_ON_EACH_BACKEND(EmbedMobius);
ALOFT_ON_EACH_BACKEND(EmbedFile);

}  // namespace
}  // namespace aloft
