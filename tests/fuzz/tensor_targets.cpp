#include <algorithm>
#include <cmath>

#include "host/cpu_device.hpp"
#include "host/error.hpp"
#include "host/npy_rows.hpp"
#include "host/safetensors.hpp"
#include "pipeline/counts/counts.hpp"
#include "tests/fuzz/target.hpp"

namespace aloft::fuzz {
namespace {

std::string safetensors(const std::string& header, const std::string& data) {
  return little_endian<std::uint64_t>({header.size()}) + header + data;
}

void read_safetensors(std::string_view data) {
  const SafetensorsReader file(file_with(data));
  for (const TensorInfo& t : file.tensors()) {
    std::uint64_t bytes = 0;
    file.read_blocks(t.name, [&](std::span<const std::byte> part) { bytes += part.size(); });
    require(bytes == static_cast<std::uint64_t>(t.elements()) * dtype_bytes(t.dtype),
            "a tensor of another size");
    if (t.dtype == DType::f32)
      require(file.read<float>(t.name, t.shape).size() * 4 == bytes, "floats are missing");
    if (t.dtype == DType::bf16 || t.dtype == DType::f16 || t.dtype == DType::f64)
      require(file.read_real(t.name, t.shape).size() * dtype_bytes(t.dtype) == bytes, "numbers are missing");
  }
}

// The header's length is put right, so that mutations reach the JSON behind it and what is behind that.
void read_safetensors_header(std::string_view data) {
  Options options(data);
  const std::size_t behind = std::min<std::size_t>(options.choice(256), data.size());
  std::string file(data);
  file.insert(0, little_endian<std::uint64_t>({data.size() - behind}));
  read_safetensors(file);
}

void read_npy(std::string_view data) {
  const NpyRows m(file_with(data));
  const std::int64_t rows = std::min<std::int64_t>(m.rows(), 5);
  if (m.cols() == 0 || rows == 0 || m.cols() > 1 << 20) return;
  std::vector<double> values(static_cast<std::size_t>(rows * m.cols()));
  m.read(m.rows() - rows, values);
}

void read_counts(std::string_view data) {
  static const std::unique_ptr<Device> device = make_cpu_device();
  const auto counts = load<Counts>(*device, file_with(data), "");
  require(counts.has_value(), "counts are there but not loaded");
  std::uint64_t tokens = 0;
  for (const std::uint64_t n : counts->unigram) tokens += n;
  require(tokens == counts->tokens && counts->lags.size() == static_cast<std::size_t>(counts->max_lag),
          "counts that contradict themselves");
}

Seeds safetensors_seeds() {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
      R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]}})";
  return {safetensors(header, std::string(22, 'x')), safetensors("{}  ", ""),
          safetensors(R"({"s":{"dtype":"F64","shape":[],"data_offsets":[0,8]}})", std::string(8, 0))};
}
Seeds safetensors_header_seeds() {
  const std::string one =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
      R"("b":{"dtype":"F16","shape":[0,9223372036854775807],"data_offsets":[16,16]}})";
  return {'\x10' + one + std::string(16, 'x'), '\0' + std::string("{}")};
}

std::string npy(const std::string& dictionary, const std::string& data) {
  std::string header = dictionary + '\n';
  return std::string("\x93NUMPY\x01\x00", 8) +
         little_endian<std::uint16_t>({static_cast<std::uint16_t>(header.size())}) + header + data;
}
Seeds npy_seeds() {
  return {npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", std::string(24, '\x3f')),
          npy("{'descr': '<f8', 'fortran_order': True, 'shape': (3, 2), }", std::string(48, '\x3f')),
          npy("{'descr': '<u2', 'fortran_order': False, 'shape': (4,), }", std::string(8, '\1')),
          npy("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 5L), }", "")};
}

Seeds counts_seeds() {
  const std::string metadata =
      R"("artifact":"counts","format":"pt","vocab_size":"3","tokens":"7","corpus_hash":"00","pairs_lag1":"6",)";
  const std::string lag = R"("unigram":{"dtype":"U64","shape":[3],"data_offsets":[0,24]},)"
                          R"("lag1.row_offsets":{"dtype":"U64","shape":[4],"data_offsets":[24,56]},)"
                          R"("lag1.columns":{"dtype":"U32","shape":[4],"data_offsets":[56,72]},)"
                          R"("lag1.counts":{"dtype":"U64","shape":[4],"data_offsets":[72,104]})";
  const auto data = [](std::uint64_t first, std::uint64_t second) {
    return little_endian<std::uint64_t>({2, 3, 2}) + little_endian<std::uint64_t>({0, 1, 2, 4}) +
           little_endian<std::uint32_t>({1, 2, 0, 1}) + little_endian<std::uint64_t>({first, second, 1, 1});
  };
  const std::string header = "{\"__metadata__\":{" + metadata + R"("max_lag":"1"},)" + lag;
  const std::string slice = R"(,"holdout.ids":{"dtype":"U32","shape":[5],"data_offsets":[104,124]},)"
                            R"("holdout.blocks":{"dtype":"I64","shape":[1,4],"data_offsets":[124,156]})";
  return {safetensors(header + "}", data(2, 2)),
          safetensors(header + slice + "}", data(2, 2) + little_endian<std::uint32_t>({0, 1, 2, 0, 1}) +
                                                little_endian<std::int64_t>({0, 1, 3, 1})),
          // sums that wrap to the right number
          safetensors(header + "}", data(std::uint64_t{1} << 63, (std::uint64_t{1} << 63) + 4))};
}

}  // namespace

std::vector<Target> tensor_targets() {
  const std::vector<std::string> words{"\"dtype\":\"F32\"",
                                       "\"shape\":[0]",
                                       "\"data_offsets\":[0,0]",
                                       "__metadata__",
                                       "F8_E4M3",
                                       "BOOL",
                                       "9223372036854775807",
                                       "18446744073709551615",
                                       "-1",
                                       "\\u0000",
                                       "{",
                                       "}",
                                       "[",
                                       "]",
                                       "null",
                                       "1e9"};
  return {{"safetensors", read_safetensors, safetensors_seeds, words},
          {"safetensors_header", read_safetensors_header, safetensors_header_seeds, words},
          {"npy",
           read_npy,
           npy_seeds,
           {"\x93NUMPY", "'descr': '<f4'", "'fortran_order': True", "'shape': (2,)", "9223372036854775807",
            "<f8", ">f4", "()", "(0, 0)", "False"}},
          {"counts",
           read_counts,
           counts_seeds,
           {"\"max_lag\":\"64\"", "\"vocab_size\":\"1\"", "9223372036854775807", "\"digest\":\"\"",
            "holdout.ids", "lag2.counts", std::string(8, '\xff'), std::string("\0\0\0\0\0\0\0\x80", 8)}}};
}

}  // namespace aloft::fuzz
