#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <set>

#include "host/error.hpp"
#include "host/safetensors.hpp"

namespace aloft {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors data are little-endian and written as they lie");

constexpr std::size_t kConversionBlock = 1 << 16;  // floats converted at a time: small enough for the cache

std::string quoted(const std::string& text, const std::string& path) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    throw Error(fmt::format("internal error: {}: a tensor name or metadata value is not valid UTF-8", path));
  }
}

std::uint64_t bytes_of(const TensorInfo& tensor) {
  return static_cast<std::uint64_t>(tensor.elements()) * dtype_bytes(tensor.dtype);
}

std::string header_of(const std::string& path, const std::map<std::string, std::string>& metadata,
                      const std::vector<TensorInfo>& tensors) {
  std::vector<std::string> entries;
  if (!metadata.empty()) {
    std::vector<std::string> pairs;
    for (const auto& [key, value] : metadata) pairs.push_back(quoted(key, path) + ':' + quoted(value, path));
    entries.push_back(fmt::format("\"__metadata__\":{{{}}}", fmt::join(pairs, ",")));
  }
  std::uint64_t begin = 0;
  std::set<std::string> names{"__metadata__"};
  for (const TensorInfo& t : tensors) {
    expects(names.insert(t.name).second,
            "safetensors: tensor name '" + t.name + "' is reserved or used twice");
    const std::uint64_t end = begin + bytes_of(t);
    entries.push_back(fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                                  quoted(t.name, path), dtype_name(t.dtype), fmt::join(t.shape, ","), begin,
                                  end));
    begin = end;
  }
  std::string header = fmt::format("{{{}}}", fmt::join(entries, ","));
  header.append((8 - header.size() % 8) % 8, ' ');
  expects(header.size() <= 100'000'000,
          "safetensors: the header would be longer than readers accept (100 MB)");
  return header;
}

}  // namespace

std::string_view dtype_name(DType t) {
  switch (t) {
    case DType::boolean:
      return "BOOL";
    case DType::u8:
      return "U8";
    case DType::i8:
      return "I8";
    case DType::i16:
      return "I16";
    case DType::u16:
      return "U16";
    case DType::f16:
      return "F16";
    case DType::bf16:
      return "BF16";
    case DType::i32:
      return "I32";
    case DType::u32:
      return "U32";
    case DType::f32:
      return "F32";
    case DType::f64:
      return "F64";
    case DType::i64:
      return "I64";
    case DType::u64:
      return "U64";
    case DType::f8_e4m3:
      return "F8_E4M3";
    case DType::f8_e5m2:
      return "F8_E5M2";
  }
  throw Error("internal error: unknown dtype");
}

std::size_t dtype_bytes(DType t) {
  switch (t) {
    case DType::boolean:
    case DType::u8:
    case DType::i8:
    case DType::f8_e4m3:
    case DType::f8_e5m2:
      return 1;
    case DType::i16:
    case DType::u16:
    case DType::f16:
    case DType::bf16:
      return 2;
    case DType::i32:
    case DType::u32:
    case DType::f32:
      return 4;
    case DType::f64:
    case DType::i64:
    case DType::u64:
      return 8;
  }
  throw Error("internal error: unknown dtype");
}

std::int64_t TensorInfo::elements() const {
  std::int64_t product = 1;
  for (const std::int64_t extent : shape) {
    expects(extent >= 0, "tensor '" + name + "' has a negative extent");
    expects(!__builtin_mul_overflow(product, extent, &product),
            "the shape of tensor '" + name + "' overflows");
  }
  return product;
}

SafetensorsWriter::SafetensorsWriter(const std::string& path,
                                     const std::map<std::string, std::string>& metadata,
                                     std::vector<TensorInfo> tensors)
    : file_(path), path_(path), tensors_(std::move(tensors)) {
  const std::string header = header_of(path, metadata, tensors_);
  const auto length = static_cast<std::uint64_t>(header.size());
  file_.write(&length, sizeof length);
  file_.write(header);
}

void SafetensorsWriter::skip_full_tensors() {
  for (; current_ < tensors_.size() && written_ == bytes_of(tensors_[current_]); ++current_) written_ = 0;
}

void SafetensorsWriter::append(std::span<const std::byte> data) {
  if (data.empty()) return;
  skip_full_tensors();
  expects(current_ < tensors_.size(), "safetensors: data after the last tensor of " + path_);
  expects(data.size() <= bytes_of(tensors_[current_]) - written_,
          "safetensors: more data than tensor '" + tensors_[current_].name + "' holds");
  file_.write(data.data(), data.size());
  written_ += data.size();
}

void SafetensorsWriter::append_as(DType dtype, std::span<const float> values) {
  if (values.empty()) return;
  skip_full_tensors();
  expects(current_ < tensors_.size() && tensors_[current_].dtype == dtype,
          "safetensors: the next tensor has another dtype");
  if (dtype == DType::f32) return append(values);

  const auto convert = [&]<class T>(T (*one)(float)) {
    std::vector<T> block;
    while (!values.empty()) {
      const auto part = values.first(std::min(values.size(), kConversionBlock));
      block.resize(part.size());
      for (std::size_t i = 0; i < part.size(); ++i) block[i] = one(part[i]);
      append(std::span<const T>(block));
      values = values.subspan(part.size());
    }
  };
  if (dtype == DType::f16) return convert.operator()<std::uint16_t>(to_f16);
  if (dtype == DType::bf16) return convert.operator()<std::uint16_t>(to_bf16);
  if (dtype == DType::f64) return convert.operator()<double>([](float x) { return static_cast<double>(x); });
  throw Error("internal error: floats cannot be written as " + std::string(dtype_name(dtype)));
}

void SafetensorsWriter::commit(AtomicFile* with) {
  skip_full_tensors();
  if (current_ < tensors_.size())
    throw Error(fmt::format("internal error: {}: tensor '{}' was given {} of its {} bytes", path_,
                            tensors_[current_].name, written_, bytes_of(tensors_[current_])));
  if (with != nullptr) {
    AtomicFile::commit_together({with, &file_});
  } else {
    file_.commit();
  }
}

}  // namespace aloft
