#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <unordered_map>

#include "host/error.hpp"
#include "host/safetensors.hpp"
#include "host/safetensors_header.hpp"

// The format: 8 bytes little-endian header length n, n bytes of JSON (from '{', padded with spaces), then
// data. https://github.com/huggingface/safetensors#format

namespace aloft {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors data are little-endian and read as they lie");

constexpr std::uint64_t kMaxHeader = 100'000'000;  // the reference implementation's limit

template <class T>
constexpr DType kDTypeOf = DType::f32;
template <>
constexpr DType kDTypeOf<double> = DType::f64;
template <>
constexpr DType kDTypeOf<std::uint8_t> = DType::u8;
template <>
constexpr DType kDTypeOf<std::int8_t> = DType::i8;
template <>
constexpr DType kDTypeOf<std::uint16_t> = DType::u16;
template <>
constexpr DType kDTypeOf<std::int16_t> = DType::i16;
template <>
constexpr DType kDTypeOf<std::uint32_t> = DType::u32;
template <>
constexpr DType kDTypeOf<std::int32_t> = DType::i32;
template <>
constexpr DType kDTypeOf<std::uint64_t> = DType::u64;
template <>
constexpr DType kDTypeOf<std::int64_t> = DType::i64;

/// A tensor may lie at any byte, so elements are copied out rather than pointed at.
template <class T>
std::vector<T> copied(std::span<const std::byte> bytes) {
  std::vector<T> out(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

template <class T, class Widen>
std::vector<double> widened(std::span<const std::byte> bytes, Widen one) {
  std::vector<double> out(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < out.size(); ++i) {
    T x;
    std::memcpy(&x, bytes.data() + i * sizeof(T), sizeof(T));
    out[i] = static_cast<double>(one(x));
  }
  return out;
}

}  // namespace

struct SafetensorsReader::Impl {
  std::string path;
  void* mapped = MAP_FAILED;
  std::uint64_t size = 0;
  std::vector<TensorInfo> tensors;
  std::vector<std::span<const std::byte>> data;  // of tensors[i]
  std::unordered_map<std::string, std::size_t> index;
  std::map<std::string, std::string> metadata;

  explicit Impl(const std::string& path_) : path(path_) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (mapped != MAP_FAILED) ::munmap(mapped, size);
  }

  void map() {
    // O_NONBLOCK: opening a FIFO must not wait for its writer
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) throw InputError(fmt::format("{}: cannot read: {}", path, std::strerror(errno)));
    struct stat status {};
    const bool regular = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
    size = regular ? static_cast<std::uint64_t>(status.st_size) : 0;
    if (regular && size >= 8) mapped = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    const int code = errno;
    ::close(descriptor);
    if (!regular) throw InputError(path + ": is not a regular file, a safetensors file is needed");
    if (size < 8)
      throw InputError(
          fmt::format("{}: {} bytes are too few for a safetensors file (8 or more)", path, size));
    if (mapped == MAP_FAILED)
      throw ResourceError(fmt::format("{}: cannot map: {}", path, std::strerror(code)));
  }

  void parse() {
    const auto* bytes = static_cast<const char*>(mapped);
    std::uint64_t length = 0;
    std::memcpy(&length, bytes, sizeof length);
    if (length > kMaxHeader)
      throw InputError(fmt::format(
          "{}: the header length says {} bytes, at most {} are allowed; is this a safetensors file?", path,
          length, kMaxHeader));
    if (length > size - 8)
      throw InputError(
          fmt::format("{}: the header length says {} bytes, {} follow it; is the file cut short?", path,
                      length, size - 8));
    std::string_view header(bytes + 8, length);
    if (header.empty() || header.front() != '{')
      throw InputError(path + ": the header does not begin with '{'; is this a safetensors file?");
    header = header.substr(0, header.find_last_not_of(' ') + 1);
    if (header.back() != '}') throw InputError(path + ": the header does not end with '}' and spaces");

    SafetensorsHeader parsed = parse_safetensors_header(path, header, size - 8 - length);
    metadata = std::move(parsed.metadata);
    const auto* first = static_cast<const std::byte*>(mapped) + 8 + length;
    for (SafetensorsHeader::Entry& e : parsed.entries) {
      index.emplace(e.info.name, tensors.size());
      data.emplace_back(first + e.begin, e.end - e.begin);
      tensors.push_back(std::move(e.info));
    }
  }

  [[nodiscard]] std::size_t at(const std::string& name) const {
    const auto found = index.find(name);
    if (found == index.end()) throw InputError(fmt::format("{}: has no tensor '{}'", path, shown_name(name)));
    return found->second;
  }

  void check_shape(const std::string& name, const std::vector<std::int64_t>& wanted) const {
    const auto& shape = tensors[at(name)].shape;
    const bool same = std::equal(shape.begin(), shape.end(), wanted.begin(), wanted.end(),
                                 [](std::int64_t a, std::int64_t b) { return b == -1 || a == b; });
    if (!same)
      throw InputError(fmt::format("{}: tensor '{}' has shape [{}], [{}] is needed{}", path, shown_name(name),
                                   fmt::join(shape, ", "), fmt::join(wanted, ", "),
                                   std::count(wanted.begin(), wanted.end(), -1) > 0 ? " (-1: any)" : ""));
  }
};

SafetensorsReader::SafetensorsReader(const std::string& path) : impl_(std::make_unique<Impl>(path)) {
  impl_->map();
  impl_->parse();
}
SafetensorsReader::~SafetensorsReader() = default;
SafetensorsReader::SafetensorsReader(SafetensorsReader&&) noexcept = default;

const std::vector<TensorInfo>& SafetensorsReader::tensors() const { return impl_->tensors; }
const std::map<std::string, std::string>& SafetensorsReader::metadata() const { return impl_->metadata; }
bool SafetensorsReader::contains(const std::string& name) const { return impl_->index.contains(name); }
const TensorInfo& SafetensorsReader::info(const std::string& name) const {
  return impl_->tensors[impl_->at(name)];
}
std::span<const std::byte> SafetensorsReader::bytes(const std::string& name) const {
  return impl_->data[impl_->at(name)];
}

template <class T>
std::vector<T> SafetensorsReader::read(const std::string& name,
                                       const std::vector<std::int64_t>& shape) const {
  const DType dtype = info(name).dtype;
  if (dtype != kDTypeOf<T>)
    throw InputError(fmt::format("{}: tensor '{}' is {}, {} is needed", impl_->path, shown_name(name),
                                 dtype_name(dtype), dtype_name(kDTypeOf<T>)));
  impl_->check_shape(name, shape);
  return copied<T>(bytes(name));
}

template std::vector<float> SafetensorsReader::read(const std::string&,
                                                    const std::vector<std::int64_t>&) const;
template std::vector<double> SafetensorsReader::read(const std::string&,
                                                     const std::vector<std::int64_t>&) const;
template std::vector<std::uint8_t> SafetensorsReader::read(const std::string&,
                                                           const std::vector<std::int64_t>&) const;
template std::vector<std::int8_t> SafetensorsReader::read(const std::string&,
                                                          const std::vector<std::int64_t>&) const;
template std::vector<std::uint16_t> SafetensorsReader::read(const std::string&,
                                                            const std::vector<std::int64_t>&) const;
template std::vector<std::int16_t> SafetensorsReader::read(const std::string&,
                                                           const std::vector<std::int64_t>&) const;
template std::vector<std::uint32_t> SafetensorsReader::read(const std::string&,
                                                            const std::vector<std::int64_t>&) const;
template std::vector<std::int32_t> SafetensorsReader::read(const std::string&,
                                                           const std::vector<std::int64_t>&) const;
template std::vector<std::uint64_t> SafetensorsReader::read(const std::string&,
                                                            const std::vector<std::int64_t>&) const;
template std::vector<std::int64_t> SafetensorsReader::read(const std::string&,
                                                           const std::vector<std::int64_t>&) const;

std::vector<double> SafetensorsReader::read_real(const std::string& name,
                                                 const std::vector<std::int64_t>& shape) const {
  impl_->check_shape(name, shape);
  const auto data = bytes(name);
  switch (const DType dtype = info(name).dtype) {
    case DType::f64:
      return copied<double>(data);
    case DType::f32:
      return widened<float>(data, [](float x) { return x; });
    case DType::f16:
      return widened<std::uint16_t>(data, from_f16);
    case DType::bf16:
      return widened<std::uint16_t>(data, from_bf16);
    default:
      throw InputError(fmt::format("{}: tensor '{}' is {}, a floating type (F64, F32, F16, BF16) is needed",
                                   impl_->path, shown_name(name), dtype_name(dtype)));
  }
}

}  // namespace aloft
