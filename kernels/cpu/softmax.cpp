#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "host/error.hpp"
#include "kernels/cpu/lapack.hpp"
#include "kernels/cpu/linear_ops.hpp"
#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/softmax.hpp"

// The softmax of all classes at some positions without a matrix of both: a worker has a block of positions
// and a segment of the classes, makes products of a tile at a time, and folds them into running sums below a
// running maximum (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018), here with the
// moments of the features beside them.

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

/// What a model has seen of some classes at a position: sums of e^(logit − top) and of that times features
/// and products of two. In memory [softmax_state(terms)].
struct Running {
  double *top, *hit;  ///< largest logit; that of what came next
  double* hits;       ///< [terms] features of what came next
  double* sums;       ///< [softmax_moment_count(terms)]

  Running(double* at, std::int64_t terms) : top(at), hit(at + 1), hits(at + 2), sums(at + 2 + terms) {}
  void begin(std::int64_t terms) const {
    std::fill_n(top, softmax_state(terms), 0.0);
    *top = -std::numeric_limits<double>::infinity();
  }
  void raise(double to, std::int64_t moments) const {
    if (to <= *top) return;
    const double shrink = std::exp(*top - to);
    for (std::int64_t m = 0; m < moments; ++m) sums[m] *= shrink;
    *top = to;
  }
  /// Of other classes: all that it has seen.
  void merge(const Running& other, std::int64_t terms) const {
    const std::int64_t moments = softmax_moment_count(terms);
    raise(*other.top, moments);
    const double shrink = std::exp(*other.top - *top);
    for (std::int64_t m = 0; m < moments; ++m) sums[m] += shrink * other.sums[m];
    *hit += *other.hit;  // (zero in all but one)
    for (std::int64_t t = 0; t < terms; ++t) hits[t] += other.hits[t];
  }
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

  void fold(const Running& r) {
    const float* const logits = logits_.data();
    float largest = logits[0];
#pragma omp simd reduction(max : largest)
    for (std::int64_t j = 0; j < n_; ++j) largest = logits[j] > largest ? logits[j] : largest;
    r.raise(static_cast<double>(largest), softmax_moment_count(terms_));
    const auto top = static_cast<float>(*r.top);
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
    std::int64_t second = 1 + terms_;
    for (std::int64_t t = 0; t < terms_; ++t) {
      const float* const f = feature(t);
      float mean = 0;
#pragma omp simd reduction(+ : mean)
      for (std::int64_t j = 0; j < n_; ++j) mean += e[j] * f[j];
      r.sums[1 + t] += static_cast<double>(mean);
      for (std::int64_t u = 0; u <= t; ++u) {
        const float* const g = feature(u);
        float square = 0;
#pragma omp simd reduction(+ : square)
        for (std::int64_t j = 0; j < n_; ++j) square += e[j] * f[j] * g[j];
        r.sums[second++] += static_cast<double>(square);
      }
    }
  }

  void hit(std::int64_t j, const Running& r) {
    *r.hit = static_cast<double>(logits_[static_cast<std::size_t>(j)]);
    for (std::int64_t t = 0; t < terms_; ++t) r.hits[t] = static_cast<double>(feature(t)[j]);
  }

 private:
  [[nodiscard]] float* feature(std::int64_t t) { return features_.data() + t * kClasses; }

  std::int64_t terms_, n_ = 0;
  std::vector<float> features_, logits_, part_;
};

/// The moments as the contract has them.
void finish(const Running& r, std::int64_t terms, double* out) {
  const double sum = r.sums[0];
  *out++ = *r.top + std::log(sum) - *r.hit;
  for (std::int64_t t = 0; t < terms; ++t) *out++ = r.hits[t] - r.sums[1 + t] / sum;
  std::int64_t second = 1 + terms;
  for (std::int64_t t = 0; t < terms; ++t)
    for (std::int64_t u = 0; u <= t; ++u)
      *out++ = r.sums[second++] / sum - r.sums[1 + t] / sum * (r.sums[1 + u] / sum);
}

/// Positions [begin, begin + count) and classes [first, last), of which `state` [models][count][segments]
/// gets item `segment`.
void fold_block(const SoftmaxEvidence& evidence, const SoftmaxModels& models, std::int64_t begin,
                std::int64_t count, std::int64_t first, std::int64_t last,
                const std::function<Running(std::int64_t model, std::int64_t k)>& state) {
  const ConstFloatView &x = evidence.contexts, &y = evidence.classes;
  const std::int64_t terms = x.batch;
  std::vector<float> products(static_cast<std::size_t>(terms * count * kClasses));
  Tile tile(terms);
  for (std::int64_t m = 0; m < models.count; ++m)
    for (std::int64_t k = 0; k < count; ++k) state(m, k).begin(terms);
  for (; first < last; first += kClasses) {
    const std::int64_t n = std::min(kClasses, last - first);
    for (std::int64_t t = 0; t < terms; ++t)
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, lapack_size(count), lapack_size(n),
                  lapack_size(x.cols), 1, x.item(t).data + begin * x.ld, lapack_size(x.ld),
                  y.data + first * y.ld, lapack_size(y.ld), 0, products.data() + t * count * kClasses,
                  lapack_size(kClasses));
    for (std::int64_t m = 0; m < models.count; ++m)
      for (std::int64_t k = 0; k < count; ++k) {
        const Running r = state(m, k);
        tile.load(models, y.rows, m, first, n, products.data() + k * kClasses, count * kClasses);
        tile.fold(r);
        const std::int64_t next = std::int64_t{evidence.next[begin + k]} - first;
        if (next >= 0 && next < n) tile.hit(next, r);
      }
  }
}

}  // namespace

void CpuLinearOps::softmax_moments(const SoftmaxEvidence& evidence, const SoftmaxModels& models,
                                   double* out) {
  const std::int64_t terms = evidence.terms(), positions = evidence.contexts.rows, d = evidence.contexts.cols,
                     classes = evidence.classes.rows, moments = softmax_moment_count(terms);
  expects(d == evidence.classes.cols && d > 0 && evidence.classes.batch == 1 && classes > 0 && terms > 0,
          "softmax_moments: contexts [positions, d] for each term, classes [V, d]");
  const std::int64_t segment = softmax_segment(classes), segments = blocks_of(classes, segment),
                     block = softmax_positions(terms);
  std::vector<double> states(static_cast<std::size_t>(std::min(positions, kSoftmaxPositions) * models.count *
                                                      segments * softmax_state(terms)));
  for (std::int64_t from = 0; from < positions; from += kSoftmaxPositions) {
    const std::int64_t now = std::min(kSoftmaxPositions, positions - from);
    const auto state = [&](std::int64_t m, std::int64_t k, std::int64_t s) {
      return Running(states.data() + ((m * now + k) * segments + s) * softmax_state(terms), terms);
    };
    parallel_for(blocks_of(now, block) * segments, [&](std::int64_t task) {
      const std::int64_t begin = task / segments * block, s = task % segments;
      fold_block(evidence, models, from + begin, std::min(block, now - begin), s * segment,
                 std::min(classes, (s + 1) * segment),
                 [&](std::int64_t m, std::int64_t k) { return state(m, begin + k, s); });
    });
    for (std::int64_t m = 0; m < models.count; ++m)
      for (std::int64_t k = 0; k < now; ++k) {
        for (std::int64_t s = 1; s < segments; ++s) state(m, k, 0).merge(state(m, k, s), terms);
        finish(state(m, k, 0), terms, out + (m * positions + from + k) * moments);
      }
  }
}

}  // namespace aloft::cpu
