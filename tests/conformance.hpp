#pragma once
#include <gtest/gtest.h>
#include <omp.h>

#include <Eigen/Core>
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/ops.hpp"

// What every test of the linear contract needs: one suite per backend, Eigen at its door.

namespace aloft::conformance {

using Dense = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

inline Dense random_dense(std::int64_t rows, std::int64_t cols, unsigned seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal;
  Dense out(rows, cols);
  for (std::int64_t i = 0; i < out.size(); ++i) out.data()[i] = normal(rng);
  return out;
}

/// Every number rounded to single precision.
inline Dense rounded(const Dense& x) { return x.cast<float>().cast<double>(); }

inline double distance_from_identity(const Dense& gram) {
  return (gram - Dense::Identity(gram.rows(), gram.cols())).norm();
}

/// A sparse matrix on the host. Every seventh row is empty; columns follow a skewed law, as words do.
template <class T>
struct HostCsr {
  std::int64_t rows = 0, cols = 0;
  std::vector<std::uint64_t> row_offsets{0};
  std::vector<std::uint32_t> columns;
  std::vector<T> values;

  [[nodiscard]] Csr<T> on(Device& device) const {
    return {rows, cols, to_device<const std::uint64_t>(device, row_offsets),
            to_device<const std::uint32_t>(device, columns), to_device<const T>(device, values)};
  }
  [[nodiscard]] Dense dense() const {
    Dense out = Dense::Zero(rows, cols);
    for (std::int64_t i = 0; i < rows; ++i)
      for (auto e = row_offsets[std::size_t(i)]; e < row_offsets[std::size_t(i) + 1]; ++e)
        out(i, columns[e]) = static_cast<double>(values[e]);
    return out;
  }
  friend bool operator==(const HostCsr&, const HostCsr&) = default;
};

template <class T, class Value>
HostCsr<T> random_csr(std::int64_t rows, std::int64_t cols, std::int64_t per_row, unsigned seed,
                      const Value& value) {
  std::mt19937_64 rng(seed);
  std::uniform_real_distribution<double> uniform;
  HostCsr<T> out{rows, cols, {0}, {}, {}};
  for (std::int64_t i = 0; i < rows; ++i) {
    std::vector<std::uint32_t> row;
    if (i % 7 != 5)
      for (std::int64_t e = 0; e < per_row; ++e) {
        const double u = uniform(rng);
        row.push_back(static_cast<std::uint32_t>(u * u * u * static_cast<double>(cols)));
      }
    std::sort(row.begin(), row.end());
    row.erase(std::unique(row.begin(), row.end()), row.end());
    for (const auto c : row) {
      out.columns.push_back(c);
      out.values.push_back(value(rng));
    }
    out.row_offsets.push_back(out.columns.size());
  }
  return out;
}
inline HostCsr<std::uint64_t> random_counts(std::int64_t rows, std::int64_t cols, std::int64_t per_row,
                                            unsigned seed) {
  return random_csr<std::uint64_t>(rows, cols, per_row, seed, [](auto& rng) { return 1 + rng() % 1000; });
}
inline HostCsr<double> random_real(std::int64_t rows, std::int64_t cols, std::int64_t per_row,
                                   unsigned seed) {
  return random_csr<double>(rows, cols, per_row, seed,
                            [](auto& rng) { return std::normal_distribution<double>()(rng); });
}

template <class T>
HostCsr<T> to_host(const Csr<T>& a) {
  return {a.rows, a.cols, aloft::to_host(a.row_offsets), aloft::to_host(a.columns), aloft::to_host(a.values)};
}

class LinearConformance : public ::testing::TestWithParam<std::string> {
 protected:
  Backend backend = make_backend(GetParam());
  LinearOps& ops = *backend.linear;

  Matrix upload(const std::vector<Dense>& items) {
    std::vector<double> all;
    for (const auto& m : items) all.insert(all.end(), m.data(), m.data() + m.size());
    return matrix_from(*backend.device, all, items[0].rows(), items[0].cols(), std::int64_t(items.size()));
  }
  Matrix upload(const Dense& m) { return upload(std::vector<Dense>{m}); }
  /// Filled with NaN: what an operation forgets to write shows.
  Matrix unwritten(std::int64_t rows, std::int64_t cols, std::int64_t batch = 1) {
    return matrix_from(*backend.device, std::vector<double>(std::size_t(rows * cols * batch), kNan), rows,
                       cols, batch);
  }
  template <class T>
  static Dense download(const MatrixOf<T>& m, std::int64_t item = 0) {
    const auto all = aloft::to_host(m.data);
    Dense out(m.rows, m.cols);
    std::copy_n(all.begin() + item * m.rows * m.cols, m.rows * m.cols, out.data());
    return out;
  }
  Buffer<double> upload_vector(const std::vector<double>& v) {
    return to_device<const double>(*backend.device, v);
  }

  // The same in single precision.
  FloatMatrix upload_floats(const std::vector<Dense>& items) {
    FloatMatrix out(*backend.device, items[0].rows(), items[0].cols(), std::int64_t(items.size()));
    std::vector<float> all;
    for (const auto& m : items)
      for (std::int64_t i = 0; i < m.size(); ++i) all.push_back(static_cast<float>(m.data()[i]));
    backend.device->upload(out.data.data(), all.data(), all.size() * sizeof(float));
    backend.device->synchronize();
    return out;
  }
  FloatMatrix upload_floats(const Dense& m) { return upload_floats(std::vector<Dense>{m}); }
  FloatMatrix unwritten_floats(std::int64_t rows, std::int64_t cols, std::int64_t batch = 1) {
    return upload_floats(std::vector<Dense>(std::size_t(batch), Dense::Constant(rows, cols, kNan)));
  }
};

/// run() -> a container of numbers, the same bits with 1, 2 and 3 workers.
template <class Run>
void expect_same_bits_for_any_worker_count(const Run& run) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  const auto want = run();
  for (const int workers : {2, 3}) {
    omp_set_num_threads(workers);
    const auto got = run();
    ASSERT_EQ(got.size(), want.size());
    EXPECT_EQ(std::memcmp(got.data(), want.data(), sizeof(got[0]) * got.size()), 0) << workers << " workers";
  }
  omp_set_num_threads(before);
}

/// Not under the shim, for which some sizes are too slow.
inline bool on_a_gpu(const std::string& backend) {
  for (const BackendInfo& b : backends())
    if (b.name == backend)
      return !b.gpus.empty() && b.gpus.front().name.find("SIMT shim") == std::string::npos;
  return false;
}

inline std::string backend_name(const ::testing::TestParamInfo<std::string>& info) { return info.param; }

}  // namespace aloft::conformance
