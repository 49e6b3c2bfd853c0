#include "host/npy.hpp"

#include <gtest/gtest.h>

#include "host/npy_rows.hpp"
#include "tests/corpus_helpers.hpp"

namespace aloft {
namespace {

using corpus_tests::bytes_of;
using corpus_tests::Folder;

/// A file with this dictionary as it is, in format version 1.
std::string with_header(const std::string& dictionary, const std::string& data = "") {
  std::string out("\x93NUMPY\x01\x00", 8);
  out += static_cast<char>(dictionary.size() & 0xFF);
  out += static_cast<char>(dictionary.size() >> 8);
  return out + dictionary + data;
}

// What numpy 1.24 writes for np.save(f, np.array([[1, 2, 3], [4, 5, 6]], "<f4")): 128 bytes of header.
std::string numpy_file() {
  const std::string dictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  return with_header(dictionary + std::string(117 - dictionary.size(), ' ') + "\n",
                     bytes_of(std::vector<float>{1, 2, 3, 4, 5, 6}));
}

TEST(Npy, HeaderOfNumpysOwnFile) {
  const std::string file = numpy_file();
  const NpyHeader header = parse_npy_header(file, "a.npy", file.size());
  EXPECT_EQ(header.data_offset, 128u);
  EXPECT_EQ(header.dtype, "<f4");
  EXPECT_EQ(header.kind, 'f');
  EXPECT_EQ(header.item_bytes, 4);
  EXPECT_FALSE(header.big_endian);
  EXPECT_FALSE(header.fortran_order);
  EXPECT_EQ(header.shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(header.elements(), 6u);
}

TEST(Npy, HeaderVariants) {
  const auto parse = [](const std::string& dictionary) {
    return parse_npy_header(with_header(dictionary), "a", 0);
  };
  EXPECT_EQ(parse("{\"shape\":(4L,),'fortran_order':True,'descr':'|u1'}\n").shape,
            (std::vector<std::int64_t>{4}));
  EXPECT_TRUE(parse("{'descr': '>i8', 'fortran_order': False, 'shape': ()}").big_endian);
  EXPECT_FALSE(
      parse("{'descr': '>u1', 'fortran_order': False, 'shape': ()}").big_endian);  // one byte has no order
  EXPECT_EQ(parse("{'descr': '<u2', 'fortran_order': False, 'shape': ()}").elements(), 1u);
  EXPECT_EQ(parse("{'descr': '<c16', 'fortran_order': False, 'shape': (0, 5)}").elements(), 0u);
}

TEST(Npy, DefectiveHeadersAreRefused) {
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}";
  ASSERT_NO_THROW((void)parse_npy_header(with_header(good), "a", 0));
  std::vector<std::string> files{
      "",
      "\x93NUMPX",
      std::string("\x93NUMPY\x01", 7),
      std::string("\x93NUMPY\x04\x00\x10\x00{}", 12),        // version 4
      std::string("\x93NUMPY\x00\x00\x10\x00{}", 12),        // version 0
      std::string("\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF", 12),  // header of 4 GiB
      with_header(good).substr(0, 40),
  };
  for (const char* dictionary : {
           "",
           "{}",
           "[]",
           "{'descr': '<f4'}",
           "{'descr': '<f4', 'fortran_order': False}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} x",
           "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'more': 1}",
           "{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (2, -3)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': 2}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 2)}",
           "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3)}",
           "{'descr': '|O', 'fortran_order': False, 'shape': (2, 3)}",
           "{'descr': '<U5', 'fortran_order': False, 'shape': (2, 3)}",
           "{'descr': '<f0', 'fortran_order': False, 'shape': (2, 3)}",
           "{'descr': '<f', 'fortran_order': False, 'shape': (2, 3)}",
           "{'descr': 'float', 'fortran_order': False, 'shape': (2, 3)}",
           "{'descr': '<f4, 'fortran_order': False, 'shape': (2, 3)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)",
       })
    files.push_back(with_header(dictionary));
  for (const auto& file : files) {
    try {
      (void)parse_npy_header(file, "bad.npy", 0);
      ADD_FAILURE() << file;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("bad.npy"), std::string::npos) << error.what();
    }
  }
  for (std::size_t n = 0; n < numpy_file().size(); ++n)  // cut off anywhere, with the true size known
    EXPECT_THROW((void)parse_npy_header(numpy_file().substr(0, n), "cut.npy", n == 0 ? 1 : n), InputError)
        << n;
}

std::vector<double> all_of(const NpyRows& matrix) {
  std::vector<double> out(static_cast<std::size_t>(matrix.rows() * matrix.cols()));
  matrix.read(0, out);
  return out;
}

TEST(Npy, MatricesInEitherOrderAndWidth) {
  const Folder folder;
  const std::vector<double> expected{1, 2, 3, 4, 5, 6};
  const auto check = [&](const std::string& content) {
    const NpyRows matrix(folder.file("m.npy", content));
    EXPECT_EQ(matrix.rows(), 2);
    EXPECT_EQ(matrix.cols(), 3);
    EXPECT_EQ(all_of(matrix), expected);
    std::vector<double> second(3);
    matrix.read(1, second);
    EXPECT_EQ(second, std::vector<double>({4, 5, 6}));
  };
  check(numpy_file());
  check(with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3)}", bytes_of(expected)));
  check(with_header("{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3)}",
                    bytes_of(std::vector<double>{1, 4, 2, 5, 3, 6})));
}

TEST(Npy, AMatrixOfSeveralBlocks) {
  const Folder folder;
  std::vector<float> values(1000 * 333);
  for (std::size_t k = 0; k < values.size(); ++k) values[k] = static_cast<float>(k) / 7;
  const std::string path = folder.file(
      "m.npy",
      with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000, 333)}", bytes_of(values)));
  EXPECT_EQ(all_of(NpyRows(path)), std::vector<double>(values.begin(), values.end()));
}

TEST(Npy, WhatIsNoFloatMatrixIsRefused) {
  const Folder folder;
  for (const std::string& content :
       {with_header("{'descr': '<i4', 'fortran_order': False, 'shape': (1, 2)}", "12345678"),
        with_header("{'descr': '>f4', 'fortran_order': False, 'shape': (1, 2)}", "12345678"),
        with_header("{'descr': '<f2', 'fortran_order': False, 'shape': (2, 2)}", "12345678"),
        with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "12345678"),
        with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3)}", "12345678"),
        std::string("text")}) {
    const std::string path = folder.file("m.npy", content);
    try {
      const NpyRows refused(path);
      ADD_FAILURE() << content;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(NpyRows((folder.path / "missing.npy").string()), InputError);
}

}  // namespace
}  // namespace aloft
