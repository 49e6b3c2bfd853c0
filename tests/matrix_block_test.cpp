#include <algorithm>
#include <cmath>

#include "host/error.hpp"
#include "tests/conformance.hpp"

// Matrices within larger ones, whose rows do not lie one after the other. What surrounds a block is NaN:
// read, it would spoil the result; written, it would no longer be NaN.

namespace aloft {
namespace {

using namespace conformance;

TEST(MatrixView, KnowsItsRowsItemsAndBlocks) {
  std::vector<double> x(2 * 5 * 7);
  const MatrixView all(x.data(), 5, 7, 2);
  EXPECT_TRUE(all.contiguous());
  EXPECT_EQ(all.item(1).data, x.data() + 35);
  EXPECT_EQ(all.row(6), x.data() + 42);
  EXPECT_EQ(&all.element(69), &x.back());

  const MatrixView block = all.block(1, 2, 3, 4);
  EXPECT_FALSE(block.contiguous());
  EXPECT_EQ(block.size(), 24);
  EXPECT_EQ(block.data, x.data() + 9);
  EXPECT_EQ(block.item(1).row(2), x.data() + 35 + 3 * 7 + 2);
  EXPECT_EQ(block.row(5), block.item(1).row(2));
  EXPECT_EQ(&block.element(12 + 4 + 3), x.data() + 35 + 2 * 7 + 2 + 3);
  EXPECT_EQ(block.block(1, 1, 2, 2).data, all.block(2, 3, 2, 2).data);

  EXPECT_FALSE(all.row_block(1, 3).contiguous()) << "items do not follow each other";
  EXPECT_TRUE(all.row_block(0, 5).contiguous());
  EXPECT_TRUE(all.item(0).row_block(1, 3).contiguous());
  EXPECT_TRUE(all.item(0).block(1, 2, 1, 4).contiguous()) << "one row has no next";
  EXPECT_THROW((void)all.block(3, 0, 3, 1), Error);
  EXPECT_THROW((void)all.block(0, 4, 1, 4), Error);
  EXPECT_THROW((void)all.block(-1, 0, 1, 1), Error);
}

/// A batch of blocks and what they lie in.
template <class T>
struct FramedOf {
  static constexpr std::int64_t kAbove = 2, kBelow = 1, kLeft = 3, kRight = 5;
  MatrixOf<T> whole;
  [[nodiscard]] MatrixViewOf<T> view() {
    return whole.view().block(kAbove, kLeft, whole.rows - kAbove - kBelow, whole.cols - kLeft - kRight);
  }
};
using Framed = FramedOf<double>;
using FloatFramed = FramedOf<float>;

// Sides around the tile, two tiles and three; one-dimensional extremes.
constexpr std::pair<int, int> kShapes[] = {{1, 1},   {1, 33},  {33, 1},  {31, 32},
                                           {32, 33}, {63, 65}, {97, 64}, {5, 400}};
constexpr std::size_t kItems = 3;

class BlockOps : public LinearConformance {
 protected:
  static std::vector<Dense> random_items(std::int64_t m, std::int64_t n, unsigned seed,
                                         std::size_t items = kItems) {
    std::vector<Dense> out;
    for (std::size_t i = 0; i < items; ++i) out.push_back(random_dense(m, n, seed + 100 * unsigned(i)));
    return out;
  }
  static std::vector<Dense> with_frames(const std::vector<Dense>& items) {
    std::vector<Dense> whole;
    for (const Dense& x : items) {
      whole.emplace_back(Dense::Constant(x.rows() + Framed::kAbove + Framed::kBelow,
                                         x.cols() + Framed::kLeft + Framed::kRight, kNan));
      whole.back().block(Framed::kAbove, Framed::kLeft, x.rows(), x.cols()) = x;
    }
    return whole;
  }
  Framed framed(const std::vector<Dense>& items) { return {upload(with_frames(items))}; }
  Framed framed(const Dense& x) { return framed(std::vector<Dense>{x}); }
  FloatFramed framed_floats(const std::vector<Dense>& items) { return {upload_floats(with_frames(items))}; }
  FloatFramed framed_floats(const Dense& x) { return framed_floats(std::vector<Dense>{x}); }
  Framed unwritten_block(std::int64_t m, std::int64_t n, std::size_t items = 1) {
    return framed(std::vector<Dense>(items, Dense::Constant(m, n, kNan)));
  }
  FloatFramed unwritten_floats_block(std::int64_t m, std::int64_t n, std::size_t items = 1) {
    return framed_floats(std::vector<Dense>(items, Dense::Constant(m, n, kNan)));
  }
  /// The block, when all around it is still NaN.
  template <class T>
  static Dense inside(FramedOf<T>& f, std::int64_t item = 0) {
    const Dense all = download(f.whole, item);
    const MatrixViewOf<T> view = f.view();
    const Dense out = all.block(Framed::kAbove, Framed::kLeft, view.rows, view.cols);
    std::int64_t kept = 0, nan_inside = 0;
    for (std::int64_t i = 0; i < all.size(); ++i) kept += std::isnan(all.data()[i]) ? 1 : 0;
    for (std::int64_t i = 0; i < out.size(); ++i) nan_inside += std::isnan(out.data()[i]) ? 1 : 0;
    EXPECT_EQ(nan_inside, 0);
    EXPECT_EQ(kept, all.size() - out.size()) << "written beside the block";
    return out;
  }
};

TEST_P(BlockOps, CopyFromToAndBetweenBlocks) {
  for (const auto& [m, n] : kShapes) {
    const std::vector<Dense> x = random_items(m, n, 1);
    Framed from = framed(x), to = unwritten_block(m, n, kItems);
    Matrix packed = copy_of(*backend.device, from.view());
    copy(*backend.device, packed.view(), to.view());
    Framed last = unwritten_block(m, n, kItems);
    copy(*backend.device, to.view(), last.view());
    for (std::size_t b = 0; b < kItems; ++b) {
      EXPECT_EQ(download(packed, std::int64_t(b)), x[b]);
      EXPECT_EQ(inside(to, std::int64_t(b)), x[b]);
      EXPECT_EQ(inside(last, std::int64_t(b)), x[b]);
    }
  }
  Matrix two = unwritten(2, 2), three = unwritten(3, 2);
  EXPECT_THROW(copy(*backend.device, two.view(), three.view()), Error);
}

TEST_P(BlockOps, ZeroOfABlock) {
  Framed x = unwritten_block(33, 5, kItems);
  zero(*backend.device, x.view());
  for (std::size_t b = 0; b < kItems; ++b) EXPECT_EQ(inside(x, std::int64_t(b)), Dense::Zero(33, 5));
}

TEST_P(BlockOps, GemmForEveryOrientation) {
  for (const auto& [m, n, k] : {std::tuple{1, 1, 1}, {1, 33, 5}, {31, 32, 33}, {129, 127, 40}, {257, 600, 9}})
    for (const Op op_a : {Op::none, Op::transpose})
      for (const Op op_b : {Op::none, Op::transpose}) {
        const Dense a = op_a == Op::none ? random_dense(m, k, 1) : random_dense(k, m, 1);
        const Dense b = op_b == Op::none ? random_dense(k, n, 2) : random_dense(n, k, 2);
        const Dense before = random_dense(m, n, 3);
        Framed a_on = framed(a), b_on = framed(b), c = framed(before), fresh = unwritten_block(m, n);
        ops.gemm(-1.5, op_a, a_on.view(), op_b, b_on.view(), 0.25, c.view());
        ops.gemm(1, op_a, a_on.view(), op_b, b_on.view(), 0, fresh.view());
        const Dense product =
            (op_a == Op::none ? a : Dense(a.transpose())) * (op_b == Op::none ? b : Dense(b.transpose()));
        const Dense want = -1.5 * product + 0.25 * before;
        EXPECT_LE((inside(c) - want).norm(), 1e-13 * (want.norm() + before.norm()))
            << m << ' ' << n << ' ' << k;
        EXPECT_LE((inside(fresh) - product).norm(), 1e-13 * product.norm());
      }
}

TEST_P(BlockOps, GemmOfBatchesAndOfSharedOperands) {
  const std::vector<Dense> a = random_items(33, 20, 4), b = random_items(20, 31, 5);
  Framed many_a = framed(a), many_b = framed(b), one_a = framed(a[0]), one_b = framed(b[0]);
  for (const auto& [left, right] :
       {std::pair{&many_a, &many_b}, {&one_a, &many_b}, {&many_a, &one_b}, {&one_a, &one_b}}) {
    Framed c = unwritten_block(33, 31, kItems);
    ops.gemm(2, Op::none, left->view(), Op::none, right->view(), 0, c.view());
    for (std::size_t i = 0; i < kItems; ++i) {
      const Dense want = 2 * a[left->whole.batch == 1 ? 0 : i] * b[right->whole.batch == 1 ? 0 : i];
      EXPECT_LE((inside(c, std::int64_t(i)) - want).norm(), 1e-13 * want.norm());
    }
  }
  Framed scaled = framed(a);  // no inner dimension
  const Matrix nothing(*backend.device, 33, 0, kItems), no_more(*backend.device, 0, 20, kItems);
  ops.gemm(1, Op::none, nothing.cview(), Op::none, no_more.cview(), 0.5, scaled.view());
  EXPECT_EQ(inside(scaled, 2), Dense(0.5 * a[2]));
  ops.gemm(1, Op::none, nothing.cview(), Op::none, no_more.cview(), 0, scaled.view());
  EXPECT_EQ(inside(scaled, 2), Dense::Zero(33, 20));
}

TEST_P(BlockOps, ScaleAndAddScaled) {
  for (const auto& [m, n] : kShapes) {
    const std::vector<Dense> x = random_items(m, n, 6), y = random_items(m, n, 7);
    const Dense rows = random_dense(m, 1, 8), cols = random_dense(n, 1, 9);
    const auto row_scale = upload_vector({rows.data(), rows.data() + m});
    const auto column_scale = upload_vector({cols.data(), cols.data() + n});
    Framed from = framed(x), to = framed(y), scaled = framed(x);
    Matrix packed = upload(y);
    ops.scale(scaled.view(), row_scale.data(), column_scale.data());
    ops.add_scaled(-1.5, from.view(), to.view());
    ops.add_scaled(-1.5, from.view(), packed.view());
    for (std::size_t b = 0; b < kItems; ++b) {
      const auto item = std::int64_t(b);
      const Dense got = inside(scaled, item);
      for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j) ASSERT_DOUBLE_EQ(got(i, j), x[b](i, j) * (rows(i) * cols(j)));
      EXPECT_LE((inside(to, item) - (y[b] - 1.5 * x[b])).norm(), 1e-15 * (y[b].norm() + x[b].norm()));
      EXPECT_EQ(inside(to, item), download(packed, item)) << m << " x " << n;
    }
  }
}

TEST_P(BlockOps, TransposeIntoABlock) {
  for (const auto& [m, n] : kShapes) {
    const std::vector<Dense> x = random_items(m, n, 10);
    Framed from = framed(x), to = unwritten_block(n, m, kItems);
    ops.transpose(from.view(), to.view());
    for (std::size_t b = 0; b < kItems; ++b)
      EXPECT_EQ(inside(to, std::int64_t(b)), Dense(x[b].transpose())) << m << " x " << n;
  }
}

TEST_P(BlockOps, SkewPartIntoABlock) {
  for (const int n : {1, 2, 31, 32, 33, 65, 97}) {
    const std::vector<Dense> x = random_items(n, n, 11);
    Framed from = framed(x), to = unwritten_block(n, n, kItems);
    ops.skew_part(from.view(), to.view());
    for (std::size_t b = 0; b < kItems; ++b)
      EXPECT_EQ(inside(to, std::int64_t(b)), Dense(0.5 * (x[b] - x[b].transpose()))) << n;
  }
}

TEST_P(BlockOps, InnerHasTheBitsOfContiguousMatrices) {
  for (const auto& [m, n] : {std::pair{1, 1}, {1, 4097}, {257, 1}, {127, 129}, {3, 1400}, {1400, 3}}) {
    const std::vector<Dense> x = random_items(m, n, 12), y = random_items(m, n, 13);
    const Matrix packed_x = upload(x), packed_y = upload(y);
    Framed a = framed(x), b = framed(y);
    Buffer<double> out = upload_vector(std::vector<double>(3 * kItems, kNan));
    ops.inner(packed_x.view(), packed_y.view(), out.data());
    ops.inner(a.view(), b.view(), out.data() + kItems);
    ops.inner(a.view(), packed_y.view(), out.data() + 2 * kItems);
    const std::vector<double> got = aloft::to_host(out);
    for (std::size_t i = 0; i < kItems; ++i) {
      EXPECT_NEAR(got[i], x[i].cwiseProduct(y[i]).sum(), 1e-13 * x[i].norm() * y[i].norm());
      EXPECT_EQ(got[kItems + i], got[i]) << m << " x " << n;
      EXPECT_EQ(got[2 * kItems + i], got[i]) << m << " x " << n;
    }
  }
}

TEST_P(BlockOps, FillNormalCountsTheBlocksElements) {
  for (const auto& [m, n] : {std::pair{1, 1}, {5, 7}, {33, 31}}) {
    Framed block = unwritten_block(m, n, kItems);
    Matrix packed = unwritten(m, n, kItems);
    ops.fill_normal(block.view(), 7, 3, 2);
    ops.fill_normal(packed.view(), 7, 3, 2);
    for (std::int64_t b = 0; b < std::int64_t(kItems); ++b) EXPECT_EQ(inside(block, b), download(packed, b));
  }
}

TEST_P(BlockOps, SpmmFromABlockIntoABlock) {
  for (const std::int64_t per_row : {0, 3, 60})
    for (const std::int64_t k : {1, 5, 33}) {
      const HostCsr<double> host = random_real(65, 97, per_row, 14);
      const auto a = host.on(*backend.device);
      const Dense x = random_dense(97, k, 15), want = host.dense() * x;
      Framed from = framed(x), to = unwritten_block(65, k);
      ops.spmm(a.view(), from.view(), to.view());
      EXPECT_LE((inside(to) - want).norm(), 1e-13 * want.norm()) << per_row << ' ' << k;
    }
}

TEST_P(BlockOps, GemmInSinglePrecision) {
  for (const auto& [m, n, k] : {std::tuple{1, 1, 1}, {1, 33, 5}, {31, 32, 33}, {129, 127, 40}, {257, 600, 9}})
    for (const Op op_a : {Op::none, Op::transpose})
      for (const Op op_b : {Op::none, Op::transpose}) {
        std::vector<Dense> a = op_a == Op::none ? random_items(m, k, 1) : random_items(k, m, 1);
        for (Dense& x : a) x = rounded(x);
        const Dense b = rounded(op_b == Op::none ? random_dense(k, n, 2) : random_dense(n, k, 2));
        FloatFramed a_on = framed_floats(a), b_on = framed_floats(b),
                    c = unwritten_floats_block(m, n, kItems);
        ops.gemm(-1.5F, op_a, a_on.view(), op_b, b_on.view(), 0.0F, c.view());
        ops.gemm(1.0F, op_a, a_on.view(), op_b, b_on.view(), 2.0F, c.view());  // -1.5 · 2 + 1
        for (std::size_t i = 0; i < kItems; ++i) {
          const Dense product = (op_a == Op::none ? a[i] : Dense(a[i].transpose())) *
                                (op_b == Op::none ? b : Dense(b.transpose()));
          EXPECT_LE((inside(c, std::int64_t(i)) + 2 * product).norm(), 4e-6 * a[i].norm() * b.norm())
              << m << ' ' << n << ' ' << k;
        }
      }
}

TEST_P(BlockOps, SinglePrecisionHasTheBitsOfContiguousMatrices) {
  for (const auto& [m, n] : kShapes) {
    const std::vector<Dense> x = random_items(m, n, 18), y = random_items(m, n, 19);
    const auto weights = upload_vector(std::vector<double>(std::size_t(n), 0.3)),
               rows = upload_vector(std::vector<double>(std::size_t(m), 1.7));
    Framed from = framed(x);
    FloatFramed rounded_block = unwritten_floats_block(m, n, kItems), to = framed_floats(y);
    FloatMatrix packed = unwritten_floats(m, n, kItems), packed_to = upload_floats(y);
    ops.round(from.view(), rounded_block.view());
    ops.round(upload(x).cview(), packed.view());
    ops.add_scaled(-1.5F, rounded_block.view(), to.view());
    ops.add_scaled(-1.5F, packed.view(), packed_to.view());
    ops.scale(to.view(), rows.data(), weights.data());
    ops.scale(packed_to.view(), rows.data(), weights.data());
    Buffer<double> norms = upload_vector(std::vector<double>(4 * std::size_t(m), kNan)),
                   extremes = upload_vector(std::vector<double>(2 * std::size_t(m), kNan));
    const Matrix whole_x = upload(x);
    ops.row_extremes(from.view().item(1), extremes.data());
    ops.row_extremes(whole_x.view().item(1), extremes.data() + m);
    ops.row_norms(from.view().item(1), weights.data(), norms.data());
    ops.row_norms(whole_x.view().item(1), weights.data(), norms.data() + m);
    ops.row_norms(rounded_block.view().item(1), weights.data(), norms.data() + 2 * m);
    ops.row_norms(packed.view().item(1), weights.data(), norms.data() + 3 * m);
    for (std::int64_t b = 0; b < std::int64_t(kItems); ++b) {
      EXPECT_EQ(inside(rounded_block, b), rounded(x[std::size_t(b)])) << m << " x " << n;
      EXPECT_EQ(inside(to, b), download(packed_to, b)) << m << " x " << n;
    }
    Framed wide = unwritten_block(m, n, kItems);
    ops.widen(rounded_block.view(), wide.view());
    for (std::int64_t b = 0; b < std::int64_t(kItems); ++b)
      EXPECT_EQ(inside(wide, b), rounded(x[std::size_t(b)])) << m << " x " << n;
    const std::vector<double> got = aloft::to_host(norms), largest = aloft::to_host(extremes);
    for (std::size_t i = 0; i < std::size_t(m); ++i) {
      EXPECT_EQ(largest[i], largest[std::size_t(m) + i]) << m << " x " << n;
      EXPECT_EQ(got[i], got[std::size_t(m) + i]) << m << " x " << n;
      EXPECT_EQ(got[2 * std::size_t(m) + i], got[3 * std::size_t(m) + i]) << m << " x " << n;
    }
  }
}

TEST_P(BlockOps, SpmmInSinglePrecision) {
  for (const std::int64_t per_row : {0, 3, 60})
    for (const std::int64_t k : {1, 5, 33}) {
      const auto a = ops.round(random_real(65, 97, per_row, 14).on(*backend.device).view());
      const Dense dense = to_host(a).dense(), x = rounded(random_dense(97, k, 15));
      FloatFramed from = framed_floats(x), to = unwritten_floats_block(65, k);
      ops.spmm(a.view(), from.view(), to.view());
      EXPECT_LE((inside(to) - dense * x).norm(), 1e-6 * dense.norm() * x.norm()) << per_row << ' ' << k;
    }
}

TEST_P(BlockOps, WhatNeedsRowsOneAfterTheOtherSaysSo) {
  Framed block = framed(random_dense(8, 8, 16));
  Matrix packed = upload(random_dense(8, 8, 17)), half = unwritten(4, 8), other_half = unwritten(4, 8);
  Framed half_block = unwritten_block(4, 8);
  Buffer<double> values(*backend.device, 8);
  const auto refused = [&](const auto& call) { EXPECT_THROW(call(), Error); };
  refused([&] { ops.orthonormalize(block.view()); });
  refused([&] { ops.eigh(block.view(), values.data(), packed.view()); });
  refused([&] { ops.eigh(packed.view(), values.data(), block.view()); });
  refused([&] { ops.eigh_top(block.view(), values.data(), {}); });
  refused([&] { ops.eigh_top(packed.view(), values.data(), half_block.view()); });
  refused([&] { ops.svd(block.view(), {}, values.data(), {}); });
  refused([&] { ops.svd(packed.view(), block.view(), values.data(), {}); });
  refused([&] { ops.svd(packed.view(), {}, values.data(), block.view()); });
  refused([&] { ops.skew_spectrum(block.view(), values.data(), half.view(), other_half.view()); });
  refused([&] { ops.skew_spectrum(packed.view(), values.data(), half.view(), half_block.view()); });
  refused([&] { ops.convolve_circulant(block.view(), values.data(), packed.view()); });
  refused([&] { ops.convolve_circulant(packed.view(), values.data(), block.view()); });
}

INSTANTIATE_TEST_SUITE_P(Each, BlockOps, ::testing::ValuesIn(available_backends()), backend_name);

}  // namespace
}  // namespace aloft
