#include <cmath>

#include "host/error.hpp"
#include "tests/conformance.hpp"

// The moments of a softmax against their definition, spelled out with whole matrices in double.

namespace aloft {
namespace {

using namespace conformance;

/// A request on the host. What the operation gets in single precision is rounded already.
struct Softmax {
  std::vector<Dense> contexts;  ///< a [positions, d] for each term
  Dense classes;                ///< [classes, d]
  std::vector<std::uint32_t> next;
  Dense base;          ///< [1, classes]
  Dense scale, shift;  ///< [models, classes]; empty: null
  Dense weights;       ///< [models, terms]

  [[nodiscard]] std::int64_t terms() const { return std::int64_t(contexts.size()); }
  [[nodiscard]] std::int64_t positions() const { return contexts[0].rows(); }
  [[nodiscard]] std::int64_t moments() const { return softmax_moment_count(terms()); }

  /// [positions, classes] of each term.
  [[nodiscard]] std::vector<Dense> features(std::int64_t model) const {
    std::vector<Dense> out;
    for (const Dense& x : contexts) {
      Dense f = x * classes.transpose();
      if (scale.size() != 0) f.array().rowwise() *= scale.row(model).array();
      if (shift.size() != 0) f.rowwise() -= shift.row(model);
      out.push_back(f);
    }
    return out;
  }
  /// log P of every class at every position, with other weights.
  [[nodiscard]] Dense log_p(std::int64_t model, const Dense& w) const {
    Dense out = base.replicate(positions(), 1);
    const std::vector<Dense> f = features(model);
    for (std::int64_t t = 0; t < terms(); ++t) out += w(model, t) * f[std::size_t(t)];
    for (std::int64_t k = 0; k < positions(); ++k) {
      const double top = out.row(k).maxCoeff();
      out.row(k).array() -= top + std::log((out.row(k).array() - top).exp().sum());
    }
    return out;
  }
  /// [positions, moments] of a model, as kernels/ops.hpp has them.
  [[nodiscard]] Dense expected(std::int64_t model) const {
    const Dense logs = log_p(model, weights), p = logs.array().exp();
    const std::vector<Dense> f = features(model);
    Dense out(positions(), moments());
    for (std::int64_t k = 0; k < positions(); ++k) {
      const std::int64_t hit = next[std::size_t(k)];
      std::int64_t m = 0;
      out(k, m++) = -logs(k, hit);
      for (const Dense& x : f) out(k, m++) = x(k, hit) - p.row(k).dot(x.row(k));
      for (std::int64_t t = 0; t < terms(); ++t)
        for (std::int64_t u = 0; u <= t;
             ++u) {  // the covariance, without the difference of two large numbers
          const auto &x = f[std::size_t(t)], &y = f[std::size_t(u)];
          const double mean_x = p.row(k).dot(x.row(k)), mean_y = p.row(k).dot(y.row(k));
          out(k, m++) = (p.row(k).array() * (x.row(k).array() - mean_x) * (y.row(k).array() - mean_y)).sum();
        }
    }
    return out;
  }
  /// What kernels/ops.hpp allows each of them to be off.
  [[nodiscard]] Dense tolerance(std::int64_t model) const {
    Dense out(positions(), moments());
    for (std::int64_t k = 0; k < positions(); ++k) {
      double largest_logit = 0, largest_feature = 0;
      for (std::int64_t j = 0; j < classes.rows(); ++j) {
        double logit = std::abs(base(j));
        for (std::int64_t t = 0; t < terms(); ++t) {
          const double size = (scale.size() == 0 ? 1 : std::abs(scale(model, j))) *
                                  contexts[std::size_t(t)].row(k).norm() * classes.row(j).norm() +
                              (shift.size() == 0 ? 0 : std::abs(shift(model, j)));
          logit += std::abs(weights(model, t)) * size;
          largest_feature = std::max(largest_feature, size);
        }
        largest_logit = std::max(largest_logit, logit);
      }
      for (std::int64_t m = 0; m < moments(); ++m)
        out(k, m) = 2e-6 * (1 + largest_logit) * std::pow(largest_feature, m == 0 ? 0 : m <= terms() ? 1 : 2);
    }
    return out;
  }
};

struct Shape {
  std::int64_t terms, models, positions, classes, d = 6;
  bool scaled = false;
};

Softmax random_softmax(const Shape& s, unsigned seed) {
  Softmax out;
  for (std::int64_t t = 0; t < s.terms; ++t)
    out.contexts.push_back(rounded(random_dense(s.positions, s.d, seed + 10 * unsigned(t))));
  out.classes = rounded(random_dense(s.classes, s.d, seed + 1));
  out.base = rounded(random_dense(1, s.classes, seed + 2));
  if (s.scaled) {
    out.scale = rounded(random_dense(s.models, s.classes, seed + 3));
    out.shift = rounded(random_dense(s.models, s.classes, seed + 4));
  }
  out.weights = random_dense(s.models, s.terms, seed + 5) / std::sqrt(double(s.terms));
  for (std::int64_t k = 0; k < s.positions; ++k)
    out.next.push_back(static_cast<std::uint32_t>(k * 7919 % s.classes));
  return out;
}

class SoftmaxOps : public LinearConformance {
 protected:
  /// The operation's result: [positions, moments] of each model, and all of it as it lies.
  struct Result {
    std::vector<Dense> of_model;
    std::vector<double> all;
  };
  Result run(const Softmax& s, ConstFloatView contexts, ConstFloatView classes) {
    Device& device = *backend.device;
    const FloatMatrix base = upload_floats(s.base);
    FloatMatrix scale, shift;
    if (s.scale.size() != 0) scale = upload_floats(s.scale);
    if (s.shift.size() != 0) shift = upload_floats(s.shift);
    const Matrix weights = upload(s.weights);
    const auto next = to_device<const std::uint32_t>(device, s.next);
    const SoftmaxModels models{.count = s.weights.rows(),
                               .base = base.data.data(),
                               .scale = s.scale.size() == 0 ? nullptr : scale.data.data(),
                               .shift = s.shift.size() == 0 ? nullptr : shift.data.data(),
                               .weights = weights.data.data()};
    Matrix out = unwritten(s.positions(), s.moments(), models.count);
    ops.softmax_moments({contexts, classes, next.data()}, models, out.data.data());
    Result result{{}, aloft::to_host(out.data)};
    for (std::int64_t m = 0; m < models.count; ++m) result.of_model.push_back(download(out, m));
    return result;
  }
  Result run(const Softmax& s) {
    const FloatMatrix contexts = upload_floats(s.contexts), classes = upload_floats(s.classes);
    return run(s, contexts.cview(), classes.cview());
  }
  static void expect_moments(const Softmax& s, const Result& got, const std::string& what) {
    for (std::int64_t m = 0; m < s.weights.rows(); ++m) {
      const Dense difference = (got.of_model[std::size_t(m)] - s.expected(m)).cwiseAbs();
      const Dense share = difference.cwiseQuotient(s.tolerance(m));
      Eigen::Index k = 0, moment = 0;
      EXPECT_LE(share.maxCoeff(&k, &moment), 1)  // (of NaN there is no such maximum)
          << what << ", model " << m << ", position " << k << ", moment " << moment;
      EXPECT_TRUE(difference.allFinite()) << what;
    }
  }
  static std::string name(const Shape& s) {
    return std::to_string(s.terms) + " terms, " + std::to_string(s.models) + " models, " +
           std::to_string(s.positions) + " positions, " + std::to_string(s.classes) + " classes";
  }
};

TEST_P(SoftmaxOps, TwoClassesByHand) {
  // Features of the one term: 0 and 1. Weight log 3: probabilities 1/4 and 3/4.
  const Softmax s{{Dense::Ones(2, 1)},
                  Dense{{0.0}, {1.0}},
                  {0, 1},
                  Dense::Zero(1, 2),
                  {},
                  {},
                  Dense::Constant(1, 1, std::log(3))};
  const Dense got = run(s).of_model[0];
  Dense want(2, 3);
  want << std::log(4), -0.75, 3.0 / 16, std::log(4.0 / 3), 0.25, 3.0 / 16;
  EXPECT_LE((got - want).cwiseAbs().maxCoeff(), 1e-6) << got;
}

TEST_P(SoftmaxOps, MomentsMatchTheirDefinition) {
  for (const std::int64_t terms : {1, 2, 3, 5, 6})
    for (const std::int64_t models : {1, 3})
      for (const bool scaled : {false, true}) {
        const Shape shape{terms, models, 5, 513, 6, scaled};
        const Softmax s = random_softmax(shape, 100 + unsigned(terms));
        expect_moments(s, run(s), name(shape) + (scaled ? ", scaled" : ""));
      }
}

TEST_P(SoftmaxOps, SizesOnEitherSideOfTilesAndBlocks) {
  std::vector<std::pair<std::int64_t, std::int64_t>> sizes{{65, 513}};
  for (const std::int64_t classes : {1, 2, 7, 255, 256, 257, 511, 512, 513, 1500})
    sizes.emplace_back(3, classes);
  for (const std::int64_t positions : {1, 37, 63, 64, 65, 130, 300}) sizes.emplace_back(positions, 7);
  if (GetParam() == "cpu") sizes.emplace_back(300, 1500);  // which the shim takes long for
  for (const auto& [positions, classes] : sizes) {
    const Shape shape{2, 1, positions, classes, 3, positions % 2 == 1};
    const Softmax s = random_softmax(shape, 200);
    expect_moments(s, run(s), name(shape));
  }
}

// More than a GPU's tile has; the largest logits in the first tile, in the last, and anywhere.
TEST_P(SoftmaxOps, ManyTiles) {
  for (const auto& [classes, slope] :
       {std::pair{8191, 0.0}, {8192, 0.0}, {8193, 0.0}, {17'000, -30.0}, {17'000, 30.0}}) {
    const Shape shape{2, 1, 3, classes, 2, true};
    Softmax wide = random_softmax(shape, 300);
    wide.base = rounded(Dense(wide.base + Eigen::RowVectorXd::LinSpaced(classes, 0, slope)));
    wide.next = {0, std::uint32_t(classes - 1), std::uint32_t(classes / 2)};
    expect_moments(wide, run(wide), name(shape) + ", slope " + std::to_string(slope));
  }
  const Shape tall{2, 4, 1025, 3, 2};  // more pairs of a position and a model than a grid has blocks
  const Softmax s = random_softmax(tall, 301);
  expect_moments(s, run(s), name(tall));
}

TEST_P(SoftmaxOps, NextMayBeTheFirstClassOrTheLast) {
  for (const std::int64_t classes : {2, 512, 513, 1500}) {
    const Shape shape{2, 2, 4, classes, 4, true};
    Softmax s = random_softmax(shape, 400);
    const auto last = std::uint32_t(classes - 1);
    s.next = {0, last, last, 0};
    expect_moments(s, run(s), name(shape));
  }
}

TEST_P(SoftmaxOps, LargeLogitsDoNotOverflow) {
  for (const double size : {-300.0, 300.0}) {
    const Shape shape{2, 1, 5, 1100, 4, true};
    Softmax s = random_softmax(shape, 500);
    s.weights << 1, 0.7;
    s.shift.setConstant(size);  // of all classes alike
    expect_moments(s, run(s), "shift " + std::to_string(size));
    for (std::int64_t j = 0; j < 1100; ++j) s.shift(j) = j % 3 == 0 ? size : -size;  // most are e^−1000
    expect_moments(s, run(s), "shifts of ±" + std::to_string(size));
    s.shift.setZero();
    s.base.setConstant(size);
    s.base(700) = -size;
    expect_moments(s, run(s), "base " + std::to_string(size));
  }
}

// With one class that has all probability nothing can be learnt: no large numbers may be left of differences.
TEST_P(SoftmaxOps, ACertainClassLeavesNothing) {
  Softmax s = random_softmax({3, 1, 9, 600, 4}, 600);
  s.base.setZero();
  s.base(599) = 120;
  s.next.assign(9, 599);
  const Result got = run(s);
  expect_moments(s, got, "certain");
  EXPECT_LE(got.of_model[0].cwiseAbs().maxCoeff(), 1e-5);
}

// Central differences of the definition's loss, so that not even the formulas of the moments are shared.
TEST_P(SoftmaxOps, MomentsAreDerivativesOfTheLoss) {
  const Softmax s = random_softmax({3, 2, 20, 700, 4, true}, 700);
  const Result got = run(s);
  constexpr double h = 1e-4;
  for (std::int64_t model = 0; model < 2; ++model) {
    const auto log_p = [&](std::int64_t t, double a, std::int64_t u, double b) {
      Dense w = s.weights;
      w(model, t) += a;
      w(model, u) += b;
      const Dense all = s.log_p(model, w);
      Eigen::VectorXd out(20);
      for (std::int64_t k = 0; k < 20; ++k) out(k) = all(k, s.next[std::size_t(k)]);
      return out;
    };
    const Dense& moments = got.of_model[std::size_t(model)];
    const Dense tolerance = s.tolerance(model);
    EXPECT_TRUE(((moments.col(0) + log_p(0, 0, 0, 0)).array().abs() <= tolerance.col(0).array()).all());
    std::int64_t second = 4;
    for (std::int64_t t = 0; t < 3; ++t) {
      const Eigen::VectorXd slope = (log_p(t, h, t, 0) - log_p(t, -h, t, 0)) / (2 * h);
      EXPECT_LE((moments.col(1 + t) - slope).cwiseAbs().maxCoeff(), 1e-5 + tolerance.col(1 + t).maxCoeff())
          << t;
      for (std::int64_t u = 0; u <= t; ++u, ++second) {
        const Eigen::VectorXd bend =
            (log_p(t, h, u, h) - log_p(t, h, u, -h) - log_p(t, -h, u, h) + log_p(t, -h, u, -h)) / (4 * h * h);
        EXPECT_LE((moments.col(second) + bend).cwiseAbs().maxCoeff(), 1e-5 + tolerance.col(second).maxCoeff())
            << t << ' ' << u;
      }
    }
  }
}

TEST_P(SoftmaxOps, ModelsDoNotKnowOfEachOther) {
  const Softmax s = random_softmax({2, 3, 11, 600, 4, true}, 800);
  const Result together = run(s);
  for (std::int64_t m = 0; m < 3; ++m) {
    Softmax one = s;
    one.scale = s.scale.row(m);
    one.shift = s.shift.row(m);
    one.weights = s.weights.row(m);
    EXPECT_EQ(run(one).of_model[0], together.of_model[std::size_t(m)]) << m;
  }
  Softmax only_scale = s, only_shift = s;
  only_scale.shift = {};
  only_shift.scale = {};
  expect_moments(only_scale, run(only_scale), "without shift");
  expect_moments(only_shift, run(only_shift), "without scale");
}

// What lies around contexts and classes is NaN.
TEST_P(SoftmaxOps, ContextsAndClassesMayBeBlocks) {
  const Softmax s = random_softmax({3, 1, 70, 530, 5}, 900);
  const auto framed = [this](const std::vector<Dense>& items) {
    std::vector<Dense> whole;
    for (const Dense& x : items) {
      whole.emplace_back(Dense::Constant(x.rows() + 3, x.cols() + 4, kNan));
      whole.back().block(1, 3, x.rows(), x.cols()) = x;
    }
    return upload_floats(whole);
  };
  const FloatMatrix contexts = framed(s.contexts), classes = framed({s.classes});
  const Result got = run(s, contexts.cview().block(1, 3, 70, 5), classes.cview().block(1, 3, 530, 5));
  expect_moments(s, got, "blocks");
  if (!on_a_gpu(GetParam())) {
    EXPECT_EQ(got.all, run(s).all);  // (a GPU's library may choose its way by ld)
  }
}

TEST_P(SoftmaxOps, BitsDoNotDependOnTheWorkers) {
  const Softmax s = random_softmax({3, 2, GetParam() == "cpu" ? 300 : 8, 1500, 8, true}, 1000);
  expect_same_bits_for_any_worker_count([&] { return run(s).all; });
}

TEST_P(SoftmaxOps, TakesWhatItSays) {
  Device& device = *backend.device;
  for (const Shape& shape :
       {Shape{2, 3, 13, 1500}, Shape{5, 1, 2, 9000}, Shape{1, 1, 1, 1}, Shape{3, 1, 1100, 9}}) {
    const Softmax s = random_softmax(shape, 1100);
    const FloatMatrix contexts = upload_floats(s.contexts), classes = upload_floats(s.classes),
                      base = upload_floats(s.base);
    const Matrix weights = upload(s.weights);
    const auto next = to_device<const std::uint32_t>(device, s.next);
    Matrix out = unwritten(s.positions(), s.moments(), shape.models);
    device.synchronize();
    device.reset_peak();
    const std::uint64_t before = device.peak_bytes();
    ops.softmax_moments({contexts.cview(), classes.cview(), next.data()},
                        {shape.models, base.data.data(), nullptr, nullptr, weights.data.data()},
                        out.data.data());
    device.synchronize();
    const std::uint64_t took = device.peak_bytes() - before;
    const Footprint said = ops.softmax_scratch(shape.positions, shape.classes, shape.terms, shape.models);
    EXPECT_GE(said.device, took) << name(shape);
    EXPECT_LE(double(said.device), 1.25 * double(took) + 4096) << name(shape);
    EXPECT_GT(said.device + said.host, 0u) << name(shape);
  }
  // A text's worth of both is never held.
  for (const std::int64_t terms : {1, 4, 40}) {
    const Footprint large = ops.softmax_scratch(10'000'000, 200'000, terms, 1);
    EXPECT_LE(large.device + large.host, std::uint64_t{512} << 20) << terms;
    const Footprint wider = ops.softmax_scratch(10'000'000, 400'000, terms, 1);
    EXPECT_EQ(wider.device + wider.host, large.device + large.host) << terms;
  }
}

TEST_P(SoftmaxOps, RefusesShapesThatDoNotFitAndLeavesNothingAlone) {
  const FloatMatrix contexts = upload_floats(random_dense(3, 4, 1)),
                    classes = upload_floats(random_dense(5, 4, 2)),
                    narrow = upload_floats(random_dense(5, 3, 3)),
                    base = upload_floats(random_dense(1, 5, 4)), none(*backend.device, 0, 4);
  const Matrix weights = upload(Dense::Ones(1, 1));
  const auto next = to_device<const std::uint32_t>(*backend.device, std::vector<std::uint32_t>{0, 1, 2});
  const SoftmaxModels models{1, base.data.data(), nullptr, nullptr, weights.data.data()};
  Matrix out = unwritten(3, 3);
  const auto moments = [&](ConstFloatView x, ConstFloatView y) {
    ops.softmax_moments({x, y, next.data()}, models, out.data.data());
  };
  EXPECT_THROW(moments(contexts.cview(), narrow.cview()), Error);
  EXPECT_THROW(moments(contexts.cview(), none.cview()), Error);
  EXPECT_NO_THROW(moments(none.cview(), classes.cview()));
  const Dense untouched = download(out);
  for (std::int64_t i = 0; i < untouched.size(); ++i) EXPECT_TRUE(std::isnan(untouched.data()[i]));
}

INSTANTIATE_TEST_SUITE_P(Each, SoftmaxOps, ::testing::ValuesIn(available_backends()), backend_name);

}  // namespace
}  // namespace aloft
