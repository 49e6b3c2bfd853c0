#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "host/error.hpp"
#include "host/safetensors.hpp"
#include "tests/safetensors_helpers.hpp"

namespace {

namespace fs = std::filesystem;
using namespace aloft;

struct Malformed {
  const char* name;
  std::string bytes;   // the whole file
  const char* reason;  // must appear in the message
};

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}
std::string length_then(std::uint64_t length, const std::string& rest) {
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + rest;
}
std::string with(const std::string& header, std::size_t data) {
  return length_then(header.size(), header + std::string(data, 'd'));
}
std::string one(const std::string& tensor, std::size_t data) { return with(R"({"t":)" + tensor + "}", data); }
std::string one_tensor_of(std::size_t bytes) {
  return R"({"t":{"dtype":"U8","shape":[)" + std::to_string(bytes) + R"(],"data_offsets":[0,)" +
         std::to_string(bytes) + "]}}";
}

// Long: one case after the other.
std::vector<Malformed> malformed() {
  const std::string f4 = R"("F32")", ok = entry(f4, "[1]", "[0,4]");
  return {
      // length
      {"empty file", "", "too few"},
      {"seven bytes", "1234567", "too few"},
      {"length above 100 MB", length_then(100'000'001, "{}"), "at most"},
      {"length of all ones", length_then(~std::uint64_t{0}, "{}"), "at most"},
      {"length with the top bit", length_then(std::uint64_t{1} << 63, "{}"), "at most"},
      {"length past the end", length_then(3, "{}"), "cut short"},
      {"length of an npy file", std::string("\x93NUMPY\1\0v\0{}", 12), "at most"},
      {"length zero", length_then(0, "{}"), "'{'"},
      // JSON
      {"leading space", with(" {}", 0), "'{'"},
      {"array", with("[]", 0), "'{'"},
      {"byte order mark", with("\xEF\xBB\xBF{}", 0), "'{'"},
      {"padded with NUL", with(std::string("{}\0\0", 4), 0), "'}'"},
      {"padded with newline", with("{}\n", 0), "'}'"},
      {"two objects", with("{}{}", 0), "JSON at byte 10"},
      {"cut in a string", with(R"({"t)", 0), "'}'"},
      {"missing colon", with(R"({"t" {}})", 0), "JSON"},
      {"trailing comma", with(R"({"t":)" + ok + ",}", 4), "JSON"},
      {"invalid UTF-8", with("{\"\xff\":" + ok + "}", 4), "JSON"},
      {"comment", with("{/**/}", 0), "JSON"},
      {"raw control character", with("{\"a\nb\":" + ok + "}", 4), "JSON"},
      {"NaN", one(entry(f4, "[NaN]", "[0,4]"), 4), "JSON"},
      {"number beyond double", one(entry(f4, "[1e999]", "[0,4]"), 4), "JSON"},
      {"leading zero", one(entry(f4, "[01]", "[0,4]"), 4), "JSON"},
      // duplicates
      {"tensor twice", with(R"({"t":)" + ok + R"(,"t":)" + ok + "}", 4),
       "tensor 't': the name appears twice"},
      {"escaped duplicate", with(R"({"t":)" + ok + R"(,"\u0074":)" + ok + "}", 4),
       "tensor 't': the name appears twice"},
      {"metadata twice", with(R"({"__metadata__":{},"__metadata__":{}})", 0), "twice"},
      {"metadata key twice", with(R"({"__metadata__":{"a":"1","a":"1"}})", 0), "__metadata__: the key 'a'"},
      {"dtype twice", one(R"({"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]})", 4),
       "'dtype' appears twice"},
      {"offsets twice", one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],"data_offsets":[0,4]})", 4),
       "twice"},
      // metadata
      {"metadata number", with(R"({"__metadata__":{"a":1}})", 0), "values must be strings"},
      {"metadata null", with(R"({"__metadata__":{"a":null}})", 0), "values must be strings"},
      {"metadata object", with(R"({"__metadata__":{"a":{}}})", 0), "values must be strings"},
      {"metadata array", with(R"({"__metadata__":{"a":[]}})", 0), "values must be strings"},
      {"metadata bool", with(R"({"__metadata__":{"a":true}})", 0), "values must be strings"},
      {"metadata is a string", with(R"({"__metadata__":"pt"})", 0), "__metadata__: found a string"},
      // structure
      {"tensor is a number", one("1", 0), "tensor 't': found a number"},
      {"tensor is null", one("null", 0), "tensor 't': found null"},
      {"tensor is an array", one("[]", 0), "tensor 't': found an array"},
      {"no dtype", one(R"({"shape":[1],"data_offsets":[0,4]})", 4),
       "tensor 't': the field 'dtype' is missing"},
      {"no shape", one(R"({"dtype":"F32","data_offsets":[0,4]})", 4), "the field 'shape' is missing"},
      {"no offsets", one(R"({"dtype":"F32","shape":[1]})", 4), "the field 'data_offsets' is missing"},
      {"unknown field", one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1})", 4),
       "unknown field 'x'"},
      {"deep nesting", with("{\"t\":" + std::string(200'000, '[') + "}", 0), "nested deeper"},
      // dtype
      {"unknown dtype", one(entry(R"("F31")", "[1]", "[0,4]"), 4), "tensor 't': unknown dtype 'F31'"},
      {"lower-case dtype", one(entry(R"("f32")", "[1]", "[0,4]"), 4), "unknown dtype 'f32'"},
      {"empty dtype", one(entry(R"("")", "[1]", "[0,4]"), 4), "unknown dtype ''"},
      {"numeric dtype", one(entry("32", "[1]", "[0,4]"), 4), "the field 'dtype' is a number"},
      {"dtype array", one(entry(R"(["F32"])", "[1]", "[0,4]"), 4), "the field 'dtype' is an array"},
      // shape
      {"shape number", one(entry(f4, "1", "[0,4]"), 4), "the field 'shape' is a number"},
      {"shape string", one(entry(f4, R"("[1]")", "[0,4]"), 4), "the field 'shape' is a string"},
      {"negative extent", one(entry(f4, "[-1]", "[0,4]"), 4), "shape contains a negative number"},
      {"fractional extent", one(entry(f4, "[1.0]", "[0,4]"), 4), "not a whole number"},
      {"exponent extent", one(entry(f4, "[1e0]", "[0,4]"), 4), "not a whole number"},
      {"string extent", one(entry(f4, R"(["1"])", "[0,4]"), 4), "shape contains a string"},
      {"nested shape", one(entry(f4, "[[1]]", "[0,4]"), 4), "shape contains an array"},
      {"extent 2^64", one(entry(f4, "[18446744073709551616]", "[0,4]"), 4), "not a whole number"},
      {"extent 2^63", one(entry(f4, "[9223372036854775808]", "[0,4]"), 4), "overflows"},
      {"product overflows", one(entry(f4, "[4294967296,4294967296]", "[0,4]"), 4), "overflows"},
      {"product of odd extents overflows", one(entry(f4, "[6700417,641,4294967297,1]", "[0,4]"), 4),
       "overflows"},
      {"bytes overflow", one(entry(f4, "[4611686018427387905]", "[0,4]"), 4), "overflows"},
      {"too short for shape", one(entry(f4, "[2]", "[0,4]"), 4), "needs 8 bytes, data_offsets span 4"},
      {"too long for shape", one(entry(f4, "[1]", "[0,8]"), 8), "needs 4 bytes, data_offsets span 8"},
      {"scalar of no bytes", one(entry(f4, "[]", "[0,0]"), 0), "needs 4 bytes"},
      // offsets
      {"one offset", one(entry(f4, "[1]", "[4]"), 4), "must hold 2 numbers"},
      {"three offsets", one(entry(f4, "[1]", "[0,4,8]"), 4), "must hold 2 numbers"},
      {"offsets object", one(entry(f4, "[1]", "{}"), 4), "'data_offsets' is an object"},
      {"negative offset", one(entry(f4, "[1]", "[-4,0]"), 4), "data_offsets contains a negative number"},
      {"fractional offset", one(entry(f4, "[1]", "[0,4.5]"), 4), "not a whole number"},
      {"backwards", one(entry(f4, "[1]", "[4,0]"), 4), "run backwards"},
      {"past the end", one(entry(f4, "[2]", "[0,8]"), 4), "the file has 4 bytes"},
      {"far past the end", one(entry(f4, "[1]", "[18446744073709551612,18446744073709551615]"), 4), "hole"},
      // tiling
      {"hole at the start", one(entry(f4, "[1]", "[4,8]"), 8), "hole after 0"},
      {"hole between", with("{\"a\":" + ok + ",\"b\":" + entry(f4, "[1]", "[8,12]") + "}", 12),
       "tensor 'b': begins at 8, leaving a hole after 4"},
      {"overlap",
       with("{\"a\":" + entry(f4, "[2]", "[0,8]") + ",\"b\":" + entry(f4, "[1]", "[4,8]") + "}", 8),
       "tensor 'b': begins at 4, inside"},
      {"same place", with("{\"a\":" + ok + ",\"b\":" + ok + "}", 4), "tensor 'b': begins at 0, inside"},
      {"empty inside another",
       with("{\"a\":" + entry(f4, "[2]", "[0,8]") + ",\"b\":" + entry(f4, "[0]", "[4,4]") + "}", 8),
       "inside"},
      {"trailing bytes", one(ok, 5), "1 bytes after the last tensor"},
      {"data without tensors", with("{}", 3), "3 bytes after the last tensor"},
  };
}

TEST_F(Safetensors, EveryMalformedFileIsRefusedWithItsReason) {
  const auto cases = malformed();
  EXPECT_GE(cases.size(), 70u);
  for (const Malformed& m : cases) {
    write(m.bytes);
    const std::string message = refusal();
    EXPECT_NE(message.find(m.reason), std::string::npos) << m.name << ": " << message;
    EXPECT_EQ(message.rfind(path_ + ": ", 0), 0u) << m.name << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << m.name << ": " << message;
    EXPECT_LT(message.size(), path_.size() + 400) << m.name;
  }
}

TEST_F(Safetensors, UnusualButValidFilesOpen) {
  const std::string ok = entry(R"("F32")", "[1]", "[0,4]");
  for (const std::string& bytes :
       {with("{}", 0), with("{}      ", 0), with(R"({"__metadata__":{}})", 0), one(ok, 4),
        with("{ \"t\" :\n" + ok + " }", 4),                                            // inner whitespace
        with("{\"b\":" + entry(R"("I8")", "[4]", "[4,8]") + ",\"a\":" + ok + "}", 8),  // not in file order
        with("{\"b\":" + entry(R"("I8")", "[0]", "[4,4]") + ",\"a\":" + ok + "}", 4),  // empty at the end
        one(entry(R"("F32")", "[9223372036854775807,0]", "[0,0]"), 0),                 // empty, not too large
        one(entry(R"("BOOL")", "[1,1,1,1,2]", "[0,2]"), 2), one(entry(R"("F8_E4M3")", "[2]", "[0,2]"), 2)}) {
    write(bytes);
    EXPECT_EQ(refusal(), "") << bytes;
  }
  write(with("{\"b\":" + entry(R"("I8")", "[4]", "[4,8]") + ",\"a\":" + ok + "}", 8));
  EXPECT_EQ(SafetensorsReader(path_).tensors()[0].name, "a");
}

TEST_F(Safetensors, NamesAreShownAsOneShortLine) {
  write(with("{\"a\\nb" + std::string(5000, 'x') + "\":1}", 0));
  const std::string message = refusal();
  EXPECT_NE(message.find(R"(a\nbxxx)"), std::string::npos) << message;
  EXPECT_LT(message.size(), path_.size() + 400);
}

TEST_F(Safetensors, WhatIsNoFileIsAnInputError) {
  EXPECT_THROW(SafetensorsReader((folder_ / "absent").string()), InputError);
  EXPECT_THROW(SafetensorsReader(folder_.string()), InputError);
  EXPECT_THROW(SafetensorsReader("/dev/zero"), InputError);
}

// A mapped file would end the program by SIGBUS.
TEST_F(Safetensors, AFileThatShrinksWhileItIsReadIsAnInputError) {
  const std::size_t bytes = std::size_t{1} << 20;
  write(with(one_tensor_of(bytes), bytes));
  const SafetensorsReader reader(path_);
  EXPECT_EQ(reader.read<std::uint8_t>("t", {-1}).size(), bytes);
  fs::resize_file(path_, 4096);
  for (const bool blocks : {false, true}) try {
      if (blocks)
        reader.read_blocks("t", [](std::span<const std::byte>) {});
      else
        (void)reader.read<std::uint8_t>("t", {-1});
      ADD_FAILURE() << "a file that has shrunk was read";
    } catch (const InputError& e) {
      EXPECT_NE(std::string(e.what()).find("must not change meanwhile"), std::string::npos) << e.what();
    }
}

// Whatever the bytes, opening and reading ends in success or InputError (the debug preset adds ASan and
// UBSan).
TEST_F(Safetensors, RandomMutationsNeverCrash) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
      R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]}})";
  const std::string valid = file(header, 22);
  const std::vector<std::string> pieces{"{",
                                        "}",
                                        "[",
                                        "]",
                                        "\"",
                                        ",",
                                        ":",
                                        "-1",
                                        "1e9",
                                        "null",
                                        "\"a\"",
                                        "\\u0000",
                                        "99999999999999999999",
                                        "\"shape\":[0]",
                                        "__metadata__",
                                        " "};
  std::mt19937 random(20240611);
  const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  int opened = 0, refused = 0;
  for (int round = 0; round < 6000; ++round) {
    std::string bytes = valid;
    for (std::size_t edits = 1 + pick(3); edits > 0 && !bytes.empty(); --edits) {
      const std::size_t at = pick(bytes.size());
      switch (pick(7)) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << pick(8)));
          break;
        case 2:
          bytes.erase(at, 1 + pick(6));
          break;
        case 3:
          bytes.insert(at, pieces[pick(pieces.size())]);
          break;
        case 4:
          bytes.resize(at);
          break;
        case 5:
          bytes[at] = static_cast<char>('0' + pick(10));
          break;
        default:
          bytes.replace(at, 1, bytes.substr(pick(bytes.size()), pick(20)));
          break;
      }
    }
    if (pick(2) == 0 && bytes.size() >= 8) {  // make the length right again, so that the JSON is reached
      const std::uint64_t length = bytes.size() >= 30 ? bytes.size() - 30 : 0;
      std::memcpy(bytes.data(), &length, 8);
    }
    write(bytes);
    try {
      const SafetensorsReader reader(path_);
      for (const TensorInfo& t : reader.tensors()) {
        std::size_t size = 0;
        reader.read_blocks(t.name, [&](std::span<const std::byte> part) { size += part.size(); });
        EXPECT_EQ(size, static_cast<std::size_t>(t.elements()) * dtype_bytes(t.dtype));
      }
      ++opened;
    } catch (const InputError&) {
      ++refused;
    }
  }
  EXPECT_GT(opened, 50);  // the mutations were not all trivially fatal
  EXPECT_GT(refused, 3000);
}

}  // namespace
