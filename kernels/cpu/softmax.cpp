#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "host/error.hpp"
#include "kernels/cpu/lapack.hpp"
#include "kernels/cpu/linear_ops.hpp"
#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/softmax.hpp"

// The softmax of all classes at some positions without a matrix of both: a worker has a block of positions,
// makes their products with a tile of classes at a time, and folds the tile into running sums below a running
// maximum (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018), here with the moments
// of the features beside them.

namespace aloft::cpu {
namespace {

constexpr std::int64_t kClasses = kSoftmaxClasses;
constexpr float kLowest = -87;  // e to this is the smallest float that is not denormal

/// e^x for kLowest <= x <= 0, to 2 units in the last place. Without branches,
/// so that compilers make vectors of it: x = n ln 2 + r, |r| <= ln(2)/2, e^r by its Taylor series.
inline float exponential(float x) {
  constexpr float magic = 12582912;  // 1.5·2^23: adding it leaves an integer in the last digits
  const float n = (x * 1.44269504F + magic) - magic;
  const float r =
      (x - n * 0.693359375F) + n * 2.12194440e-4F;  // ln 2 in two parts: the first product is exact
  float y = 1.0F / 5040;
  y = y * r + 1.0F / 720;
  y = y * r + 1.0F / 120;
  y = y * r + 1.0F / 24;
  y = y * r + 1.0F / 6;
  y = y * r + 0.5F;
  y = y * r + 1;
  y = y * r + 1;
  return y * std::bit_cast<float>((static_cast<std::int32_t>(n) + 127) << 23);
}

/// What a model has seen of the classes at a position: sums of e^(logit − top) and of that times features and
/// products of two.
struct Running {
  float top = -std::numeric_limits<float>::infinity();
  double hit = 0;            ///< the logit of what came next
  std::vector<double> sums;  ///< [softmax_moment_count(terms)]
  std::vector<double> hits;  ///< [terms] its features
};

/// One tile of one position: features as rows of `stride` numbers, and what is made of them.
class Tile {
 public:
  explicit Tile(std::int64_t terms)
      : terms_(terms),
        features_(static_cast<std::size_t>(terms * kClasses)),
        logits_(kClasses),
        part_(kClasses) {}

  /// products: [terms] rows, `stride` from one to the next, of classes [first, first + n).
  void load(const SoftmaxModels& models, std::int64_t classes, std::int64_t model, std::int64_t first,
            std::int64_t n, const float* products, std::int64_t stride) {
    n_ = n;
    const float* const base = models.base + first;
    std::copy_n(base, n, logits_.data());
    const float* const scale = models.scale == nullptr ? nullptr : models.scale + model * classes + first;
    const float* const shift = models.shift == nullptr ? nullptr : models.shift + model * classes + first;
    for (std::int64_t t = 0; t < terms_; ++t) {
      float* const f = feature(t);
      const float* const x = products + t * stride;
      const auto weight = static_cast<float>(models.weights[model * terms_ + t]);
      float* const logits = logits_.data();
      std::copy_n(x, n, f);
      if (scale != nullptr)
        for (std::int64_t j = 0; j < n; ++j) f[j] *= scale[j];
      if (shift != nullptr)
        for (std::int64_t j = 0; j < n; ++j) f[j] -= shift[j];
      for (std::int64_t j = 0; j < n; ++j) logits[j] += weight * f[j];
    }
  }

  void fold(Running& r) {
    float top = r.top;
    const float* const logits = logits_.data();
#pragma omp simd reduction(max : top)
    for (std::int64_t j = 0; j < n_; ++j) top = logits[j] > top ? logits[j] : top;
    if (top > r.top) {
      const double shrink = std::exp(static_cast<double>(r.top) - static_cast<double>(top));
      for (double& x : r.sums) x *= shrink;
      r.top = top;
    }
    float* const e = part_.data();
#pragma omp simd
    for (std::int64_t j = 0; j < n_; ++j) {
      const float x = logits[j] - top;
      e[j] = x > kLowest ? x : kLowest;
    }
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t j = 0; j < n_; ++j) {
      e[j] = exponential(e[j]);
      sum += e[j];
    }
    r.sums[0] += static_cast<double>(sum);
    std::size_t second = 1 + static_cast<std::size_t>(terms_);
    for (std::int64_t t = 0; t < terms_; ++t) {
      const float* const f = feature(t);
      float mean = 0;
#pragma omp simd reduction(+ : mean)
      for (std::int64_t j = 0; j < n_; ++j) mean += e[j] * f[j];
      r.sums[1 + static_cast<std::size_t>(t)] += static_cast<double>(mean);
      for (std::int64_t u = 0; u <= t; ++u) {
        const float* const g = feature(u);
        float square = 0;
#pragma omp simd reduction(+ : square)
        for (std::int64_t j = 0; j < n_; ++j) square += e[j] * f[j] * g[j];
        r.sums[second++] += static_cast<double>(square);
      }
    }
  }

  void hit(std::int64_t j, Running& r) {
    r.hit = static_cast<double>(logits_[static_cast<std::size_t>(j)]);
    for (std::int64_t t = 0; t < terms_; ++t)
      r.hits[static_cast<std::size_t>(t)] = static_cast<double>(feature(t)[j]);
  }

 private:
  [[nodiscard]] float* feature(std::int64_t t) { return features_.data() + t * kClasses; }

  std::int64_t terms_, n_ = 0;
  std::vector<float> features_, logits_, part_;
};

/// The moments as the contract has them.
void finish(const Running& r, std::int64_t terms, double* out) {
  const double sum = r.sums[0];
  *out++ = static_cast<double>(r.top) + std::log(sum) - r.hit;
  for (std::int64_t t = 0; t < terms; ++t) {
    const auto i = static_cast<std::size_t>(t);
    *out++ = r.hits[i] - r.sums[1 + i] / sum;
  }
  std::size_t second = 1 + static_cast<std::size_t>(terms);
  for (std::size_t t = 0; t < static_cast<std::size_t>(terms); ++t)
    for (std::size_t u = 0; u <= t; ++u)
      *out++ = r.sums[second++] / sum - r.sums[1 + t] / sum * (r.sums[1 + u] / sum);
}

}  // namespace

void CpuLinearOps::softmax_moments(const SoftmaxEvidence& evidence, const SoftmaxModels& models,
                                   double* out) {
  const ConstFloatView &x = evidence.contexts, &y = evidence.classes;
  const std::int64_t terms = x.batch, positions = x.rows, classes = y.rows,
                     moments = softmax_moment_count(terms);
  expects(x.cols == y.cols && x.cols > 0 && y.batch == 1 && classes > 0 && terms > 0,
          "softmax_moments: contexts [positions, d] for each term, classes [V, d]");
  const std::int64_t block = softmax_positions(terms);
  parallel_for(blocks_of(positions, block), [&](std::int64_t task) {
    const std::int64_t begin = task * block, count = std::min(block, positions - begin);
    std::vector<float> products(static_cast<std::size_t>(terms * count * kClasses));
    std::vector<Running> running(static_cast<std::size_t>(models.count * count));
    for (Running& r : running) {
      r.sums.resize(static_cast<std::size_t>(moments));
      r.hits.resize(static_cast<std::size_t>(terms));
    }
    Tile tile(terms);
    for (std::int64_t first = 0; first < classes; first += kClasses) {
      const std::int64_t n = std::min(kClasses, classes - first);
      for (std::int64_t t = 0; t < terms; ++t)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, lapack_size(count), lapack_size(n),
                    lapack_size(x.cols), 1, x.item(t).data + begin * x.ld, lapack_size(x.ld),
                    y.data + first * y.ld, lapack_size(y.ld), 0, products.data() + t * count * kClasses,
                    lapack_size(kClasses));
      for (std::int64_t m = 0; m < models.count; ++m)
        for (std::int64_t k = 0; k < count; ++k) {
          Running& r = running[static_cast<std::size_t>(m * count + k)];
          tile.load(models, classes, m, first, n, products.data() + k * kClasses, count * kClasses);
          tile.fold(r);
          const std::int64_t next = std::int64_t{evidence.next[begin + k]} - first;
          if (next >= 0 && next < n) tile.hit(next, r);
        }
    }
    for (std::int64_t m = 0; m < models.count; ++m)
      for (std::int64_t k = 0; k < count; ++k)
        finish(running[static_cast<std::size_t>(m * count + k)], terms,
               out + (m * positions + begin + k) * moments);
  });
}

}  // namespace aloft::cpu
