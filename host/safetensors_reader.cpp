#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "host/error.hpp"
#include "host/input_file.hpp"
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

constexpr std::size_t kReadAtOnce = std::size_t{1} << 20;  // read at a time; a multiple of every element

template <class T, class Widen>
void widen(std::span<const std::byte> bytes, Widen one, std::vector<double>& out) {
  out.resize(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < out.size(); ++i) {
    T x;
    std::memcpy(&x, bytes.data() + i * sizeof(T), sizeof(T));
    out[i] = static_cast<double>(one(x));
  }
}

}  // namespace

struct SafetensorsReader::Impl {
  struct Place {
    std::uint64_t begin = 0, bytes = 0;  ///< in the file
  };
  std::string path;
  std::optional<Descriptor> file;
  std::uint64_t size = 0;
  std::vector<TensorInfo> tensors;
  std::vector<Place> places;  // of tensors[i]
  std::unordered_map<std::string, std::size_t> index;
  std::map<std::string, std::string> metadata;

  explicit Impl(const std::string& path_) : path(path_) {}

  void open() {
    // O_NONBLOCK: opening a FIFO must not wait for its writer
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) throw InputError(fmt::format("{}: cannot read: {}", path, std::strerror(errno)));
    file.emplace(descriptor);
    struct stat status {};
    const bool regular = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
    if (!regular) throw InputError(path + ": is not a regular file, a safetensors file is needed");
    size = static_cast<std::uint64_t>(status.st_size);
    if (size < 8)
      throw InputError(
          fmt::format("{}: {} bytes are too few for a safetensors file (8 or more)", path, size));
  }

  /// The bytes of the file from `from`. A file that shrinks meanwhile, or a disk that fails, is an
  /// InputError, where a mapped file would end the program.
  void read_at(std::uint64_t from, std::span<std::byte> out) const {
    while (!out.empty()) {
      const ssize_t n = ::pread(file->get(), out.data(), out.size(), static_cast<off_t>(from));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw InputError(fmt::format("{}: cannot read: {}", path, std::strerror(errno)));
      if (n == 0)
        throw InputError(
            fmt::format("{}: had {} bytes when it was opened, but ends at byte {} now; it must not change "
                        "meanwhile",
                        path, size, from));
      out = out.subspan(static_cast<std::size_t>(n));
      from += static_cast<std::uint64_t>(n);
    }
  }

  void read_blocks(const std::string& name,
                   const std::function<void(std::span<const std::byte>)>& use) const {
    Place left = places[at(name)];
    std::vector<std::byte> block(static_cast<std::size_t>(std::min<std::uint64_t>(kReadAtOnce, left.bytes)));
    while (left.bytes > 0) {
      const auto part =
          std::span(block).first(static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), left.bytes)));
      read_at(left.begin, part);
      use(part);
      left.begin += part.size();
      left.bytes -= part.size();
    }
  }

  void parse() {
    std::uint64_t length = 0;
    read_at(0, std::as_writable_bytes(std::span(&length, 1)));
    if (length > kMaxHeader)
      throw InputError(fmt::format(
          "{}: the header length says {} bytes, at most {} are allowed; is this a safetensors file?", path,
          length, kMaxHeader));
    if (length > size - 8)
      throw InputError(
          fmt::format("{}: the header length says {} bytes, {} follow it; is the file cut short?", path,
                      length, size - 8));
    std::string text(static_cast<std::size_t>(length), '\0');
    read_at(8, std::as_writable_bytes(std::span(text)));
    std::string_view header(text);
    if (header.empty() || header.front() != '{')
      throw InputError(path + ": the header does not begin with '{'; is this a safetensors file?");
    header = header.substr(0, header.find_last_not_of(' ') + 1);
    if (header.back() != '}') throw InputError(path + ": the header does not end with '}' and spaces");

    SafetensorsHeader parsed = parse_safetensors_header(path, header, size - 8 - length);
    metadata = std::move(parsed.metadata);
    for (SafetensorsHeader::Entry& e : parsed.entries) {
      index.emplace(e.info.name, tensors.size());
      places.push_back({8 + length + e.begin, e.end - e.begin});
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
  impl_->open();
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
void SafetensorsReader::read_blocks(const std::string& name,
                                    const std::function<void(std::span<const std::byte>)>& use) const {
  impl_->read_blocks(name, use);
}

template <class T>
std::vector<T> SafetensorsReader::read(const std::string& name,
                                       const std::vector<std::int64_t>& shape) const {
  const DType dtype = info(name).dtype;
  if (dtype != kDTypeOf<T>)
    throw InputError(fmt::format("{}: tensor '{}' is {}, {} is needed", impl_->path, shown_name(name),
                                 dtype_name(dtype), dtype_name(kDTypeOf<T>)));
  impl_->check_shape(name, shape);
  const Impl::Place place = impl_->places[impl_->at(name)];
  std::vector<T> out(static_cast<std::size_t>(place.bytes / sizeof(T)));
  impl_->read_at(place.begin, std::as_writable_bytes(std::span(out)));
  return out;
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

void SafetensorsReader::read_real_blocks(const std::string& name,
                                         const std::function<void(std::span<const double>)>& use) const {
  const DType dtype = info(name).dtype;
  if (dtype != DType::f64 && dtype != DType::f32 && dtype != DType::f16 && dtype != DType::bf16)
    throw InputError(fmt::format("{}: tensor '{}' is {}, a floating type (F64, F32, F16, BF16) is needed",
                                 impl_->path, shown_name(name), dtype_name(dtype)));
  std::vector<double> values;
  read_blocks(name, [&](std::span<const std::byte> bytes) {
    if (dtype == DType::f64) {
      widen<double>(
          bytes, [](double x) { return x; }, values);
    } else if (dtype == DType::f32) {
      widen<float>(
          bytes, [](float x) { return x; }, values);
    } else {
      widen<std::uint16_t>(bytes, dtype == DType::f16 ? from_f16 : from_bf16, values);
    }
    use(values);
  });
}

std::vector<double> SafetensorsReader::read_real(const std::string& name,
                                                 const std::vector<std::int64_t>& shape) const {
  impl_->check_shape(name, shape);
  std::vector<double> out;
  out.reserve(static_cast<std::size_t>(info(name).elements()));
  read_real_blocks(name,
                   [&](std::span<const double> part) { out.insert(out.end(), part.begin(), part.end()); });
  return out;
}

}  // namespace aloft
