#include "kernels/cuda/sparse_product.hpp"

#include <cmath>

#include "host/error.hpp"
#include "tests/conformance.hpp"

// The three ways of a sparse product, each forced by its limits: all give what the whole matrix gives.

namespace aloft::cuda {
namespace {

using namespace conformance;

class CudaSparseProduct : public testing::Test {
 protected:
  std::unique_ptr<CudaDevice> device = make_cuda_device();
  Vendor vendor{*device};
  HostCsr<double> host = random_real(41, 67, 9, 1);
  Csr<double> a = host.on(*device);
  Dense x = random_dense(67, 5, 2), want = host.dense() * x;

  Dense product(const ProductLimits& limits) {
    // Both are columns of wider matrices.
    const Matrix narrow = matrix_from(*device, {x.data(), x.data() + x.size()}, 67, 5);
    Matrix from = matrix_from(*device, std::vector<double>(67 * 8, kNan), 67, 8),
           to = matrix_from(*device, std::vector<double>(41 * 9, kNan), 41, 9);
    copy(*device, narrow.view(), from.view().block(0, 2, 67, 5));
    multiply(*device, vendor, a.view(), from.view().block(0, 2, 67, 5), to.view().block(0, 1, 41, 5), limits);
    const auto all = aloft::to_host(to.data);
    for (std::size_t i = 0; i < all.size(); ++i)
      EXPECT_EQ(std::isnan(all[i]), i % 9 < 1 || i % 9 >= 6) << "beside the block";
    return Eigen::Map<const Dense>(all.data(), 41, 9).middleCols(1, 5);
  }
};

constexpr double kNever = 2, kAlways = 0;  // as shares of non-zeros from which the product turns dense

TEST_F(CudaSparseProduct, BlocksOfRowsWithinWhatOneCallTakes) {
  std::int64_t longest = 0;
  for (std::size_t i = 0; i < 41; ++i)
    longest = std::max(longest, std::int64_t(host.row_offsets[i + 1] - host.row_offsets[i]));
  for (const std::int64_t nnz : {longest, longest + 1, std::int64_t{40}, a.nnz() - 1, a.nnz()})
    EXPECT_LE((product({kNever, 0, nnz}) - want).norm(), 1e-14 * want.norm()) << nnz;
  EXPECT_THROW((void)product({kNever, 0, longest - 1}), ResourceError);
}

TEST_F(CudaSparseProduct, DenseStripesOfAnyHeight) {
  for (const std::int64_t rows : {0, 1, 2, 40, 41, 1000})  // 0: one row is the least
    EXPECT_LE((product({kAlways, rows * 67 * 8, 1}) - want).norm(), 1e-14 * want.norm()) << rows;
}

TEST_F(CudaSparseProduct, TheSameWaysInSinglePrecision) {
  const HostCsr<float> floats{
      host.rows, host.cols, host.row_offsets, host.columns, {host.values.begin(), host.values.end()}};
  const FloatCsr a_on = floats.on(*device);
  const std::vector<float> x_values(x.data(), x.data() + x.size());
  FloatMatrix from(*device, 67, 5), to(*device, 41, 5);
  device->upload(from.data.data(), x_values.data(), x_values.size() * sizeof(float));
  device->synchronize();
  for (const ProductLimits& limits :
       {ProductLimits{kNever, 0, 40}, {kNever, 0, a.nnz()}, {kAlways, 2 * 67 * 4, 1}, {kAlways, 0, 1}}) {
    multiply(*device, vendor, a_on.view(), from.view(), to.view(), limits);
    const std::vector<float> all = aloft::to_host(to.data);
    const Dense got =
        Eigen::Map<const Eigen::Matrix<float, 41, 5, Eigen::RowMajor>>(all.data()).cast<double>();
    EXPECT_LE((got - want).norm(), 1e-6 * host.dense().norm() * x.norm()) << limits.call_nnz;
  }
}

}  // namespace
}  // namespace aloft::cuda
