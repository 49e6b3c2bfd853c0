#include "kernels/random.hpp"

#include <cmath>
#include <cstdint>
#include <numbers>

#include "tests/conformance.hpp"

namespace aloft {
namespace {

using namespace conformance;

// Known answers published with Random123 (kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  struct Case {
    std::uint32_t counter[4], key[2], want[4];
  };
  const Case cases[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const auto& c : cases) {
    const auto got =
        philox4x32({{c.counter[0], c.counter[1], c.counter[2], c.counter[3]}}, c.key[0], c.key[1]);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(got.x[i], c.want[i]);
  }
}

TEST(Philox, EverySeedStreamAndIndexBitCounts) {
  const auto base = random_block(0, 0, 0);
  for (int bit = 0; bit < 64; ++bit) {
    const std::uint64_t flip = 1ull << bit;
    for (const auto& other : {random_block(flip, 0, 0), random_block(0, flip, 0), random_block(0, 0, flip)})
      EXPECT_TRUE(other.x[0] != base.x[0] && other.x[1] != base.x[1]) << bit;
  }
  static_assert(random_block(1, 2, 3).x[0] == random_block(1, 2, 3).x[0], "usable in constant expressions");
}

class FillNormal : public LinearConformance {
 protected:
  std::vector<double> normals(std::int64_t n, std::uint64_t seed, std::uint64_t stream, double stddev = 1) {
    Matrix x = unwritten(1, n);
    ops.fill_normal(x.view(), seed, stream, stddev);
    return aloft::to_host(x.data);
  }
};

TEST_P(FillNormal, ElementsFollowTheFormula) {
  const std::uint64_t seed = 0x0123456789abcdef, stream = 0xfedcba9876543210;
  const auto got = normals(257, seed, stream, 3);
  for (std::uint64_t b = 0; b < 129; ++b) {
    const auto bits = philox4x32({{std::uint32_t(b), 0, 0x76543210, 0xfedcba98}}, 0x89abcdef, 0x01234567);
    const auto uniform = [](std::uint32_t hi, std::uint32_t lo) {
      return std::floor(std::ldexp((long double)hi * 4294967296.0L + lo, -11)) / 9007199254740992.0L;
    };
    const long double radius =
        std::sqrt(-2 * std::log(uniform(bits.x[0], bits.x[1]) + 1 / 9007199254740992.0L));
    const long double angle = 2 * std::numbers::pi_v<long double> * uniform(bits.x[2], bits.x[3]);
    EXPECT_NEAR(got[2 * b], double(3 * radius * std::cos(angle)), 3e-14);
    if (2 * b + 1 == got.size()) break;
    EXPECT_NEAR(got[2 * b + 1], double(3 * radius * std::sin(angle)), 3e-14);
  }
}

TEST_P(FillNormal, MomentsAndTailsAreThoseOfANormal) {
  const std::int64_t n = 1'000'000;
  const auto x = normals(n, 42, 0, 0.5);
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0, neighbours = 0, beyond_two = 0, largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double z = x[i] / 0.5;
    m1 += z, m2 += z * z, m3 += z * z * z, m4 += z * z * z * z;
    if (i > 0) neighbours += z * x[i - 1] / 0.5;
    beyond_two += std::abs(z) > 2 ? 1 : 0;
    largest = std::max(largest, std::abs(z));
  }
  const double noise = 1 / std::sqrt(double(n));  // four standard errors each
  EXPECT_NEAR(m1 / n, 0, 4 * noise);
  EXPECT_NEAR(m2 / n, 1, 4 * std::sqrt(2.0) * noise);
  EXPECT_NEAR(m3 / n, 0, 4 * std::sqrt(15.0) * noise);
  EXPECT_NEAR(m4 / n, 3, 4 * std::sqrt(96.0) * noise);
  EXPECT_NEAR(neighbours / n, 0, 4 * noise);
  EXPECT_NEAR(beyond_two / n, std::erfc(std::numbers::sqrt2), 4 * 0.21 * noise);
  EXPECT_TRUE(largest > 4.3 && largest < 6.5) << largest;
}

TEST_P(FillNormal, ElementsDoNotDependOnHowManyAreAskedForNorOnTheShape) {
  const auto all = normals(20'000, 7, 3);
  for (const std::int64_t n : {1, 2, 3, 31, 32, 33, 255, 256, 257, 16'384, 16'385}) {
    const auto some = normals(n, 7, 3);
    EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin())) << n;
  }
  Matrix cube = unwritten(5, 7, 3);
  ops.fill_normal(cube.view(), 7, 3, 1);
  const auto shaped = aloft::to_host(cube.data);
  EXPECT_TRUE(std::equal(shaped.begin(), shaped.end(), all.begin()));
  Matrix none(*backend.device, 0, 4);
  EXPECT_NO_THROW(ops.fill_normal(none.view(), 7, 3, 1));
}

TEST_P(FillNormal, StreamsAndSeedsAreUnrelated) {
  const std::int64_t n = 100'000;
  const auto base = normals(n, 7, 0);
  for (const auto& other :
       {normals(n, 7, 1), normals(n, 8, 0), normals(n, 7, 1ull << 32), normals(n, 0, 7)}) {
    double dot = 0;
    for (std::size_t i = 0; i < base.size(); ++i) dot += base[i] * other[i];
    EXPECT_LT(std::abs(dot) / double(n), 4 / std::sqrt(double(n)));
  }
}

TEST_P(FillNormal, BitsDoNotDependOnTheWorkers) {
  expect_same_bits_for_any_worker_count([&] { return normals(50'001, 9, 9); });
}

TEST_P(FillNormal, EveryBackendMakesTheCpusNumbers) {
  Backend cpu = make_backend("cpu");
  Matrix want(*cpu.device, 1, 10'001);
  cpu.linear->fill_normal(want.view(), 11, 5, 1);
  const auto reference = aloft::to_host(want.data), got = normals(10'001, 11, 5);
  double difference2 = 0, norm2 = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    difference2 += (got[i] - reference[i]) * (got[i] - reference[i]);
    norm2 += reference[i] * reference[i];
  }
  EXPECT_LE(std::sqrt(difference2), 1e-14 * std::sqrt(norm2));
}

INSTANTIATE_TEST_SUITE_P(Each, FillNormal, ::testing::ValuesIn(available_backends()), backend_name);

}  // namespace
}  // namespace aloft
