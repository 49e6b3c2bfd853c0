#include "host/tensor_files.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <functional>
#include <limits>

#include "host/error.hpp"
#include "tests/checkpoint_helpers.hpp"

namespace aloft {
namespace {

namespace fs = std::filesystem;

class TensorFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("aloft-tensor-files-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  [[nodiscard]] std::string at(const std::string& name) const { return (folder_ / name).string(); }
  static std::string refused(const std::string& path) {
    return refusal_of<InputError>([&] { const TensorFiles files(path); });
  }

  fs::path folder_;
};

const FileTensors kTwo{{"a.weight", {{2, 3}, counting(6)}}, {"b.weight", {{4}, counting(4)}}};

TEST_F(TensorFilesTest, OneFileOfAnyFloatingType) {
  for (const DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16}) {
    save_tensors(at("any name.safetensors"), kTwo, dtype);
    const TensorFiles files(at("any name.safetensors"));
    EXPECT_EQ(files.names(), (std::vector<std::string>{"a.weight", "b.weight"}));
    EXPECT_TRUE(files.contains("a.weight"));
    EXPECT_FALSE(files.contains("c.weight"));
    EXPECT_EQ(files.info("a.weight").shape, (std::vector<std::int64_t>{2, 3}));
    EXPECT_EQ(files.info("b.weight").dtype, dtype);
    EXPECT_EQ(files.read_float("a.weight", {2, 3}), counting(6)) << dtype_name(dtype);
    EXPECT_EQ(files.read_float("b.weight", {4}), counting(4)) << dtype_name(dtype);
  }
}

TEST_F(TensorFilesTest, AFolderIsReadByWhatIsInIt) {
  const auto only = [](float value) { return FileTensors{{"x", {{1}, {value}}}}; };
  const auto found = [&] { return TensorFiles(folder_.string()).read_float("x", {1}).at(0); };
  save_tensors(at("other.safetensors"), only(1));
  EXPECT_EQ(found(), 1);  // the only one
  save_tensors(at("another.safetensors"), only(2));
  EXPECT_NE(
      refused(folder_.string()).find("has 2 .safetensors files (another.safetensors, other.safetensors"),
      std::string::npos);
  save_tensors(at("init.safetensors"), only(3));
  EXPECT_EQ(found(), 3);  // aloft's
  write_text(at("model.safetensors.index.json"), R"({"weight_map": {"x": "other.safetensors"}})");
  EXPECT_EQ(found(), 1);  // shards
  save_tensors(at("model.safetensors"), only(4));
  EXPECT_EQ(found(), 4);  // as Hugging Face chooses
}

TEST_F(TensorFilesTest, ShardsAreOneCheckpoint) {
  fs::create_directories(folder_ / "sharded");
  save_tensors(at("sharded/model-00001-of-00002.safetensors"), {{"a", kTwo.at("a.weight")}});
  save_tensors(at("sharded/model-00002-of-00002.safetensors"),
               {{"b", kTwo.at("b.weight")}, {"not in the index", {{1}, {1}}}});
  write_text(at("sharded/model.safetensors.index.json"),
             R"({"metadata": {"total_size": 40}, "weight_map": {"a": "model-00001-of-00002.safetensors",
                 "b": "model-00002-of-00002.safetensors"}})");
  for (const char* path : {"sharded", "sharded/model.safetensors.index.json"}) {
    const TensorFiles files(at(path));
    EXPECT_EQ(files.origin(), at(path));
    EXPECT_EQ(files.names(), (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(files.read_float("a", {2, 3}), counting(6));
    EXPECT_EQ(files.read_float("b", {4}), counting(4));
  }
}

TEST_F(TensorFilesTest, AnIndexThatDoesNotFitIsRefused) {
  save_tensors(at("shard.safetensors"), kTwo);
  fs::create_directories(folder_.parent_path());
  const struct {
    const char* index;
    const char* why;
  } cases[] = {
      {R"({"weight_map": {"a.weight": "gone.safetensors"}})", "'gone.safetensors' that it names is missing"},
      {R"({"weight_map": {"c": "shard.safetensors"}})",
       "'c' is said to be in 'shard.safetensors', which does not hold it"},
      {R"({"weight_map": {"a.weight": "../shard.safetensors"}})", "no file name in the folder"},
      {R"({"weight_map": {"a.weight": "/etc/passwd"}})", "no file name in the folder"},
      {R"({"weight_map": {"a.weight": ".."}})", "no file name in the folder"},
      {R"({"weight_map": {"a.weight": ""}})", "no file name in the folder"},
      {R"({"weight_map": {"a.weight": "x\u0000.safetensors"}})", "no file name in the folder"},
      {R"({"weight_map": {"a.weight": 3}})", "'a.weight' is not given a file name"},
      {R"({"weight_map": {}})", "weight_map names no tensor"},
      {R"({"weight_map": ["shard.safetensors"]})", "has no object weight_map"},
      {R"({"metadata": {}})", "has no object weight_map"},
      {R"([1])", "has no object weight_map"},
      {R"({"weight_map": {"a.weight": "shard.safetensors", "a.weight": "shard.safetensors"}})",
       "appears twice"},
      {"{", "not valid JSON"},
      {"", "not valid JSON"}};
  for (const auto& c : cases) {
    write_text(at("model.safetensors.index.json"), c.index);
    const std::string said = refused(folder_.string());
    EXPECT_NE(said.find(c.why), std::string::npos) << c.index << ": " << said;
    EXPECT_NE(said.find("model.safetensors.index.json"), std::string::npos) << said;
    EXPECT_EQ(said.find('\n'), std::string::npos);
  }
}

TEST_F(TensorFilesTest, FilesOfOtherKindsAreToldFromSafetensors) {
  using namespace std::string_literals;
  const std::string zip_start = "PK\3\4"s + std::string(22, '\0') + "\x10\0\0\0"s;  // a name of 16 bytes
  const struct {
    const char* name;
    std::string content;
    const char* why;
  } cases[] = {
      {"empty.safetensors", "", "is empty"},
      {"short.safetensors", "abc", "3 bytes are too few"},
      {"text.safetensors", "once upon a time there was", "is this a safetensors file?"},
      {"new.pt", zip_start + "archive/data.pkl" + "...",
       "is a PyTorch file (a zip); `python -m aloft convert"},
      {"old.bin", "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e\x80"s,
       "is a PyTorch file (pickle); `python -m aloft convert"},
      {"plain.pth", "\x80\x02}q\x00X"s, "is a Python pickle; `python -m aloft convert"},
      {"classes.ckpt",
       "\x80\x03"
       "ccollections\nOrderedDict\nq"s,
       "is a Python pickle; `python -m aloft convert"},
      {"model.gguf", "GGUF\x03\0\0\0\0\0\0\0\0\0\0\0"s, "is a GGUF model; `python -m aloft convert"},
      {"arrays.npz", zip_start + "embeddings01.npy" + "...",
       "is an .npz (a zip of arrays), which is not supported"},
      {"keras.h5", "\x89HDF\r\n\x1a\n........"s, "is an HDF5 file, which is not supported"},
      {"weights.tar", std::string(257, 'x') + "ustar\0"s, "is a tar archive, which is not supported"}};
  for (const auto& c : cases) {
    write_text(at(c.name), c.content);
    const std::string said = refused(at(c.name));
    EXPECT_NE(said.find(c.why), std::string::npos) << c.name << ": " << said;
    EXPECT_EQ(said.rfind(at(c.name), 0), 0u) << said;
    EXPECT_EQ(said.find('\n'), std::string::npos);
  }
  EXPECT_NE(refused(at("nowhere")).find("is not there; a .safetensors file is needed"), std::string::npos);
}

TEST_F(TensorFilesTest, FoldersWithoutATensorSayWhatTheyHold) {
  EXPECT_NE(refused(folder_.string()).find("has no .safetensors file in it"), std::string::npos);
  write_text(at("training_args.bin"), "no weights");
  EXPECT_NE(refused(folder_.string()).find("has no .safetensors file in it"), std::string::npos);
  write_text(at("pytorch_model.bin"), "whatever");
  const std::string said = refused(folder_.string());
  EXPECT_NE(said.find("but pytorch_model.bin: `python -m aloft convert " + at("pytorch_model.bin")),
            std::string::npos)
      << said;
  save_tensors(at("model.safetensors"), {});
  EXPECT_NE(refused(folder_.string()).find("holds no tensor"), std::string::npos);
  fs::remove(at("model.safetensors"));
  fs::create_directories(at("model.safetensors"));
  EXPECT_NE(refused(folder_.string()).find("is not a regular file"), std::string::npos);
}

TEST_F(TensorFilesTest, WhatCannotBeReadIsRefusedByName) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  save_tensors(at("f.safetensors"),
               {{"nan", {{3}, {1, 2, nan}}}, {"inf", {{2}, {-inf, 1}}}, {"fine", {{1}, {1}}}});
  save_tensors(at("h.safetensors"), {{"inf", {{2}, {-inf, 1}}}}, DType::bf16);
  {
    SafetensorsWriter writer(
        at("i.safetensors"), {},
        {{"q.qweight", DType::i32, {1}}, {"codes", DType::u8, {4}}, {"big", DType::f64, {1}}});
    writer.append(std::span<const std::int32_t>(std::vector<std::int32_t>{7}));
    writer.append(std::span<const std::uint8_t>(std::vector<std::uint8_t>{1, 2, 3, 4}));
    writer.append(std::span<const double>(std::vector<double>{1e300}));
    writer.commit();
  }
  const struct {
    const char *file, *name;
    std::vector<std::int64_t> shape;
    const char* why;
  } cases[] = {
      {"f.safetensors", "nan", {3}, "tensor 'nan' holds nan at element 2"},
      {"f.safetensors", "inf", {2}, "tensor 'inf' holds -inf at element 0"},
      {"h.safetensors", "inf", {2}, "tensor 'inf' holds -inf at element 0"},
      {"i.safetensors", "big", {1}, "tensor 'big' holds inf at element 0"},
      {"f.safetensors", "fine", {2}, "tensor 'fine' has shape [1], [2] is needed"},
      {"f.safetensors", "fnie", {1}, "has no tensor 'fnie'; nearest: 'fine'"},
      {"f.safetensors", "something else", {1}, "has no tensor 'something else'"},
      {"i.safetensors", "codes", {4}, "tensor 'codes' is U8, so it is quantised or no weight"},
      {"i.safetensors", "q.weight", {1}, "has no tensor 'q.weight' but 'q.qweight': it is quantised"}};
  for (const auto& c : cases) {
    const std::string said =
        refusal_of<InputError>([&] { (void)TensorFiles(at(c.file)).read_float(c.name, c.shape); });
    EXPECT_NE(said.find(c.why), std::string::npos) << c.name << ": " << said;
    EXPECT_NE(said.find(at(c.file)), std::string::npos) << said;
  }
}

TEST(NearestNames, AreThoseFewestEditsAway) {
  const std::vector<std::string> names{"layers.0.q_proj", "layers.0.k_proj", "layers.10.q_proj", "embed",
                                       "norm"};
  EXPECT_EQ(nearest_names("layers.0.q_prj", names, 2),
            (std::vector<std::string>{"layers.0.q_proj", "layers.0.k_proj"}));
  EXPECT_EQ(nearest_names("layer.10.q_proj", names, 1), (std::vector<std::string>{"layers.10.q_proj"}));
  EXPECT_EQ(nearest_names("zzz", names, 3), (std::vector<std::string>{}));
  EXPECT_EQ(nearest_names("norms", names, 3), (std::vector<std::string>{"norm"}));
}

}  // namespace
}  // namespace aloft
