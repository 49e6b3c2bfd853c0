#include "host/npy.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <span>

#include "host/error.hpp"
#include "host/input_file.hpp"

namespace aloft {
namespace {

static_assert(std::endian::native == std::endian::little,
              "token and matrix files are little-endian and read as they are");

constexpr std::string_view kMagic("\x93NUMPY", 6);

/// The Python dictionary literal of the header: three known keys, each once.
class NpyHeaderParser {
 public:
  NpyHeaderParser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  void parse(NpyHeader& out) {
    bool dtype = false, order = false, shape = false;
    take('{');
    while (!next_is('}')) {
      const std::string_view key = quoted();
      take(':');
      bool* seen = key == "descr"           ? &dtype
                   : key == "fortran_order" ? &order
                   : key == "shape"         ? &shape
                                            : nullptr;
      if (seen == nullptr) fail(fmt::format("key \"{}\" is not known", key));
      if (*seen) fail(fmt::format("key \"{}\" is there twice", key));
      *seen = true;
      if (seen == &dtype) {
        if (next_is('[')) fail("structured arrays are not supported");
        out.dtype = quoted();
      } else if (seen == &order) {
        out.fortran_order = boolean();
      } else {
        out.shape = tuple();
      }
      if (!next_is('}')) take(',');
    }
    take('}');
    skip_blanks();
    if (at_ != text_.size()) fail("there is text after the dictionary");
    if (!dtype || !order || !shape) fail("descr, fortran_order or shape is missing");
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw InputError(fmt::format("{}: bad .npy header at character {}: {}", name_, at_, why));
  }
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool next_is(char c) {
    skip_blanks();
    return at_ < text_.size() && text_[at_] == c;
  }
  void take(char c) {
    if (!next_is(c)) fail(fmt::format("'{}' was expected", c));
    ++at_;
  }
  std::string_view quoted() {
    skip_blanks();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') fail("a quoted string was expected");
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) fail("a quotation mark is missing");
    const std::string_view out = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return out;
  }
  bool boolean() {
    skip_blanks();
    for (const bool value : {true, false}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(at_, word.size()) != word) continue;
      at_ += word.size();
      return value;
    }
    fail("True or False was expected");
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> out;
    take('(');
    while (!next_is(')')) {
      out.push_back(integer());
      if (!next_is(')')) take(',');
    }
    take(')');
    return out;
  }
  std::int64_t integer() {
    skip_blanks();
    std::int64_t value = 0;
    const std::size_t first = at_;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
      if (__builtin_mul_overflow(value, 10, &value) ||
          __builtin_add_overflow(value, text_[at_] - '0', &value))
        fail("a size is too large");
    if (at_ == first) fail("a size was expected");
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // Python 2 wrote long integers so
    return value;
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
};

/// Shape times item size, or nothing if it does not fit 63 bits.
std::optional<std::uint64_t> data_bytes(const NpyHeader& header) {
  std::int64_t bytes = header.item_bytes;
  for (const std::int64_t extent : header.shape)
    if (extent == 0) return 0;
  for (const std::int64_t extent : header.shape)
    if (__builtin_mul_overflow(bytes, extent, &bytes)) return std::nullopt;
  return static_cast<std::uint64_t>(bytes);
}

void parse_dtype(NpyHeader& header, const std::string& name) {
  const std::string& t = header.dtype;
  const bool form = t.size() >= 3 && t.size() <= 4 &&
                    std::string_view("<>|=").find(t[0]) != std::string_view::npos &&
                    t.find_first_not_of("0123456789", 2) == std::string::npos;
  if (!form || std::string_view("uifbc").find(t[1]) == std::string_view::npos || t[2] == '0')
    throw InputError(fmt::format("{}: .npy dtype \"{}\" is not supported", name, t));
  header.kind = t[1];
  header.item_bytes = std::stoi(t.substr(2));
  header.big_endian = t[0] == '>' && header.item_bytes > 1;
}

}  // namespace

std::uint64_t NpyHeader::elements() const {
  std::uint64_t n = 1;
  for (const std::int64_t extent : shape) n *= static_cast<std::uint64_t>(extent);
  return n;
}

std::string NpyHeader::shape_text() const {
  return shape.size() == 1 ? fmt::format("({},)", shape[0]) : fmt::format("({})", fmt::join(shape, ", "));
}

bool has_npy_magic(std::string_view head) { return head.starts_with(kMagic); }

NpyHeader parse_npy_header(std::string_view head, const std::string& name, std::uint64_t file_bytes) {
  if (!has_npy_magic(head)) throw InputError(name + ": is no .npy file (it does not begin with \\x93NUMPY)");
  if (head.size() < 12)
    throw InputError(fmt::format("{}: .npy header cut off after {} bytes", name, head.size()));
  const int version = static_cast<unsigned char>(head[6]);
  if (version < 1 || version > 3)
    throw InputError(fmt::format("{}: .npy format version {} is not known", name, version));
  std::uint32_t length = 0;  // u16 in version 1, u32 in 2 and 3
  std::memcpy(&length, head.data() + 8, version == 1 ? 2 : 4);
  const std::size_t begin = version == 1 ? 10 : 12;

  NpyHeader out;
  out.data_offset = begin + std::uint64_t{length};
  if (out.data_offset > head.size())
    throw InputError(fmt::format("{}: .npy header of {} bytes is cut off or too long", name, length));
  NpyHeaderParser(head.substr(begin, length), name).parse(out);
  parse_dtype(out, name);
  const auto bytes = data_bytes(out);
  if (!bytes) throw InputError(fmt::format("{}: .npy shape {} overflows", name, out.shape_text()));
  if (file_bytes != 0 && out.data_offset + *bytes != file_bytes)
    throw InputError(
        fmt::format("{}: .npy shape {} of {} needs {} bytes after the header, the file has {}: {}", name,
                    out.shape_text(), out.dtype, *bytes, file_bytes - out.data_offset,
                    out.data_offset + *bytes > file_bytes ? "it is cut off" : "it has something behind"));
  return out;
}

}  // namespace aloft
