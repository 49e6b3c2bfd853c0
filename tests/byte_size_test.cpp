#include "host/byte_size.hpp"

#include <gtest/gtest.h>

namespace {

using aloft::readable_bytes;
using aloft::size_argument;

TEST(ByteSizeTest, SmallAndLargeSizesHaveDigitsThatSaySomething) {
  EXPECT_EQ(readable_bytes(0), "0 bytes");
  EXPECT_EQ(readable_bytes(1), "1 byte");
  EXPECT_EQ(readable_bytes(1023), "1023 bytes");
  EXPECT_EQ(readable_bytes(1024), "1.00 KiB");
  EXPECT_EQ(readable_bytes(1536), "1.50 KiB");
  EXPECT_EQ(readable_bytes(63'200), "61.7 KiB");
  EXPECT_EQ(readable_bytes((std::uint64_t{1} << 20) - 1), "1.00 MiB");
  EXPECT_EQ(readable_bytes(std::uint64_t{800'000'000}), "763 MiB");
  EXPECT_EQ(readable_bytes(std::uint64_t{5} << 30), "5.00 GiB");
  EXPECT_EQ(readable_bytes(~std::uint64_t{0}), "16.0 EiB");
}

TEST(ByteSizeTest, AnArgumentIsNeverLessThanTheSize) {
  EXPECT_EQ(size_argument(1), "1M");
  EXPECT_EQ(size_argument(std::uint64_t{64} << 20), "64M");
  EXPECT_EQ(size_argument((std::uint64_t{64} << 20) + 1), "65M");
  EXPECT_EQ(size_argument(std::uint64_t{10'000} << 20), "10000M");
  EXPECT_EQ(size_argument((std::uint64_t{12} << 30) + 1), "13G");
}

}  // namespace
