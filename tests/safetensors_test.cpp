#include "host/safetensors.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "host/error.hpp"
#include "tests/safetensors_helpers.hpp"

namespace {

namespace fs = std::filesystem;
using namespace aloft;

// ---- writing and reading back
// ----------------------------------------------------------------------------------

TEST_F(Safetensors, BytesOfASmallFileAreExactlyTheseEveryTime) {
  const std::vector<float> values{1, -2, 3, 4, 5, 6};
  const std::vector<std::int64_t> ids{7, std::numeric_limits<std::int64_t>::min()};
  SafetensorsWriter writer(path_, {{"format", "pt"}, {"b", "x\"y"}},
                           {{"w", DType::f32, {2, 3}}, {"i", DType::i64, {2}}});
  writer.append(std::span<const float>(values));
  writer.append(std::span<const std::int64_t>(ids));
  writer.commit();

  std::string header =
      R"({"__metadata__":{"b":"x\"y","format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("i":{"dtype":"I64","shape":[2],"data_offsets":[24,40]}})";
  while (header.size() % 8 != 0) header += ' ';
  std::string expected = file(header, 0);
  expected.append(reinterpret_cast<const char*>(values.data()), 24);
  expected.append(reinterpret_cast<const char*>(ids.data()), 16);
  EXPECT_EQ(content(), expected);

  const SafetensorsReader reader(path_);
  EXPECT_EQ(reader.metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"b", "x\"y"}}));
  EXPECT_EQ(reader.read<float>("w", {2, 3}), values);
  EXPECT_EQ(reader.read<float>("w", {-1, 3}), values);
  EXPECT_EQ(reader.read<std::int64_t>("i", {-1}), ids);
  EXPECT_EQ(reader.read_real("w", {2, 3}), (std::vector<double>{1, -2, 3, 4, 5, 6}));
  ASSERT_EQ(reader.tensors().size(), 2u);
  EXPECT_EQ(reader.tensors()[1].name, "i");
  EXPECT_EQ(reader.tensors()[1].elements(), 2);
  EXPECT_TRUE(reader.contains("w"));
  EXPECT_FALSE(reader.contains("__metadata__"));
}

TEST_F(Safetensors, PartsOfATensorAndEmptyAndScalarTensors) {
  SafetensorsWriter writer(path_, {},
                           {{"none", DType::f32, {0, 4}},
                            {"scalar", DType::u8, {}},
                            {"e", DType::u8, {0}},
                            {"x", DType::u16, {3}},
                            {"last", DType::f64, {2, 0}}});
  const std::vector<std::uint8_t> one{9};
  const std::vector<std::uint16_t> x{1, 2, 3};
  writer.append(std::span<const float>());
  writer.append(std::span<const std::uint8_t>(one));
  writer.append(std::span<const std::uint16_t>(x).first(1));
  writer.append(std::span<const std::uint16_t>(x).last(2));
  writer.commit();
  const SafetensorsReader reader(path_);
  EXPECT_EQ(reader.read<std::uint8_t>("scalar", {}), one);
  EXPECT_EQ(reader.read<std::uint16_t>("x", {3}), x);  // at an odd byte
  EXPECT_TRUE(reader.read<float>("none", {0, 4}).empty());
  EXPECT_TRUE(reader.read<double>("last", {2, 0}).empty());
  EXPECT_TRUE(reader.metadata().empty());
}

TEST_F(Safetensors, FloatsAreConvertedToTheDeclaredType) {
  std::vector<float> values(100'000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.37F - 1000;
  SafetensorsWriter writer(path_, {},
                           {{"a", DType::f16, {100'000}},
                            {"b", DType::bf16, {100'000}},
                            {"c", DType::f64, {100'000}},
                            {"d", DType::f32, {100'000}}});
  for (const DType t : {DType::f16, DType::bf16, DType::f64, DType::f32}) {
    writer.append_as(t, std::span<const float>(values).first(70'001));
    writer.append_as(t, std::span<const float>(values).subspan(70'001));
  }
  writer.commit();
  const SafetensorsReader reader(path_);
  const auto a = reader.read_real("a", {-1}), b = reader.read_real("b", {-1}),
             c = reader.read_real("c", {-1});
  EXPECT_EQ(reader.read<float>("d", {-1}), values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_NEAR(a[i], values[i], std::abs(values[i]) * 0x1p-11 + 0x1p-25) << i;
    ASSERT_NEAR(b[i], values[i], std::abs(values[i]) * 0x1p-8) << i;
    ASSERT_EQ(c[i], static_cast<double>(values[i])) << i;
  }
}

TEST_F(Safetensors, MisalignedDataAreReadRight) {
  const std::string header = R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                             R"("b":{"dtype":"F64","shape":[2],"data_offsets":[3,19]}})";
  for (std::size_t pad = 0; pad < 8; ++pad) {
    std::string bytes = file(header + std::string(pad, ' '), 19);
    const double pi[2] = {3.141592653589793, -0.5};
    std::memcpy(bytes.data() + bytes.size() - 16, pi, 16);
    write(bytes);
    const SafetensorsReader reader(path_);
    EXPECT_EQ(reader.read<double>("b", {2}), (std::vector<double>{pi[0], pi[1]}));
    EXPECT_EQ(reader.read_real("b", {2}), (std::vector<double>{pi[0], pi[1]}));
  }
}

TEST_F(Safetensors, WrongTypeShapeOrNameIsAnInputErrorNamingAll) {
  SafetensorsWriter writer(path_, {}, {{"w", DType::f32, {1, 2}}, {"n", DType::i32, {1}}});
  const std::vector<float> w{1, 2};
  const std::vector<std::int32_t> n{1};
  writer.append(std::span<const float>(w));
  writer.append(std::span<const std::int32_t>(n));
  writer.commit();
  const SafetensorsReader reader(path_);
  const auto message = [&](auto&& call) -> std::string {
    try {
      call();
    } catch (const InputError& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(message([&] { (void)reader.info("v"); }), path_ + ": has no tensor 'v'");
  EXPECT_EQ(message([&] {
              (void)reader.read<double>("w", {1, 2});
            }),
            path_ + ": tensor 'w' is F32, F64 is needed");
  EXPECT_EQ(message([&] {
              (void)reader.read<float>("w", {2, 1});
            }),
            path_ + ": tensor 'w' has shape [1, 2], [2, 1] is needed");
  EXPECT_EQ(message([&] { (void)reader.read<float>("w", {-1}); }),
            path_ + ": tensor 'w' has shape [1, 2], [-1] is needed (-1: any)");
  EXPECT_EQ(message([&] { (void)reader.read_real("n", {1}); }),
            path_ + ": tensor 'n' is I32, a floating type (F64, F32, F16, BF16) is needed");
}

TEST_F(Safetensors, WriterRefusesTooManyTooFewAndForeignData) {
  const std::vector<float> four(4);
  {
    SafetensorsWriter writer(path_, {}, {{"a", DType::f32, {3}}, {"b", DType::f32, {3}}});
    EXPECT_THROW(writer.append(std::span<const float>(four)), Error);  // would reach into b
    writer.append(std::span<const float>(four).first(3));
    writer.append(std::span<const float>(four).first(2));
    EXPECT_THROW(writer.commit(), Error);
    writer.append(std::span<const float>(four).first(1));
    EXPECT_THROW(writer.append(std::span<const float>(four).first(1)), Error);  // past the end
    EXPECT_THROW(writer.append_as(DType::f16, four), Error);
  }
  EXPECT_TRUE(fs::is_empty(folder_));  // nothing was committed
  EXPECT_THROW(SafetensorsWriter(path_, {}, {{"a", DType::f32, {1}}, {"a", DType::f32, {1}}}), Error);
  EXPECT_THROW(SafetensorsWriter(path_, {}, {{"__metadata__", DType::f32, {1}}}), Error);
  EXPECT_THROW(SafetensorsWriter(path_, {}, {{"a", DType::f32, {-1}}}), Error);
  EXPECT_THROW(SafetensorsWriter(path_, {}, {{"\xff", DType::f32, {1}}}), Error);
  SafetensorsWriter writer(path_, {}, {{"a", DType::f32, {4}}});
  EXPECT_THROW(writer.append_as(DType::bf16, four), Error);  // declared as F32
}

// ---- what is refused
// ------------------------------------------------------------------------------------------

}  // namespace
