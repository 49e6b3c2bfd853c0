#include "host/safetensors_header.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <unordered_set>

#include "host/error.hpp"
#include "host/json_text.hpp"
#include "host/printable.hpp"

namespace aloft {
namespace {

std::optional<DType> dtype_from(std::string_view name) {
  for (const DType t :
       {DType::boolean, DType::u8, DType::i8, DType::i16, DType::u16, DType::f16, DType::bf16, DType::i32,
        DType::u32, DType::f32, DType::f64, DType::i64, DType::u64, DType::f8_e4m3, DType::f8_e5m2})
    if (dtype_name(t) == name) return t;
  return std::nullopt;
}

using Entry = SafetensorsHeader::Entry;

/// The header's grammar as a SAX handler: a DOM would silently keep one of two equal keys, and read 1.0 as 1.
class HeaderParser final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderParser(const std::string& path) : path_(path) {}

  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t& text) override {
    return unexpected("the number " + text.substr(0, 40) + ", not a whole number below 2^64");
  }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ == State::shape) {
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        fail("the shape overflows: an extent is 2^63 or more");
      entries.back().info.shape.push_back(static_cast<std::int64_t>(value));
    } else if (state_ == State::offsets) {
      if (offsets_seen_ == 2) fail("data_offsets must hold 2 numbers, it has more");
      (offsets_seen_++ == 0 ? entries.back().begin : entries.back().end) = value;
    } else {
      return unexpected("a number");
    }
    return true;
  }

  bool string(string_t& value) override {
    if (state_ == State::metadata) {
      metadata[key_] = value;
    } else if (state_ == State::tensor && key_ == "dtype") {
      const auto dtype = dtype_from(value);
      if (!dtype) fail("unknown dtype '" + shown_name(value) + "'");
      entries.back().info.dtype = *dtype;
    } else {
      return unexpected("a string");
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (state_ == State::start) {
      state_ = State::top;
    } else if (state_ == State::top && key_ == "__metadata__") {
      state_ = State::metadata;
      keys_.clear();
    } else if (state_ == State::top) {
      state_ = State::tensor;
      keys_.clear();
      offsets_seen_ = 0;
      entries.emplace_back().info.name = key_;
    } else {
      return unexpected("an object");
    }
    return true;
  }

  bool key(string_t& name) override {
    key_ = name;
    if (state_ == State::top) {
      if (!names_.insert(name).second) fail("the name appears twice");
    } else {
      if (state_ == State::tensor && name != "dtype" && name != "shape" && name != "data_offsets")
        fail("unknown field '" + shown_name(name) + "'");
      if (!keys_.insert(name).second) fail("the key '" + shown_name(name) + "' appears twice");
    }
    return true;
  }

  bool end_object() override {
    if (state_ == State::tensor) {
      for (const char* field : {"dtype", "shape", "data_offsets"})
        if (!keys_.contains(field)) fail(fmt::format("the field '{}' is missing", field));
    }
    state_ = state_ == State::top ? State::finished : State::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ == State::tensor && key_ == "shape") {
      state_ = State::shape;
    } else if (state_ == State::tensor && key_ == "data_offsets") {
      state_ = State::offsets;
    } else {
      return unexpected("an array");
    }
    return true;
  }

  bool end_array() override {
    if (state_ == State::offsets && offsets_seen_ != 2) fail("data_offsets must hold 2 numbers");
    state_ = State::tensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    throw InputError(
        fmt::format("{}: the header is not valid JSON at byte {} of the file", path_, position + 7));
  }

 private:
  enum class State { start, top, metadata, tensor, shape, offsets, finished };

  [[noreturn]] void fail(const std::string& reason) const {
    const bool inside = state_ == State::tensor || state_ == State::shape || state_ == State::offsets;
    const std::string where = inside ? "tensor '" + shown_name(entries.back().info.name) + "'"
                              : state_ == State::metadata ? "__metadata__"
                              : state_ == State::start    ? "header"
                              : key_ == "__metadata__"    ? key_
                                                          : "tensor '" + shown_name(key_) + "'";
    throw InputError(fmt::format("{}: {}: {}", path_, where, reason));
  }

  bool unexpected(const std::string& what) const {
    switch (state_) {
      case State::metadata:
        fail("the value of '" + shown_name(key_) + "' is " + what + "; values must be strings");
      case State::tensor:
        fail("the field '" + key_ + "' is " + what);
      case State::shape:
        fail("shape contains " + what);
      case State::offsets:
        fail("data_offsets contains " + what);
      default:
        fail("found " + what + " where an object belongs");
    }
  }

  const std::string& path_;
  State state_ = State::start;
  std::string key_;                        // the last one read
  std::unordered_set<std::string> names_;  // of the top object
  std::unordered_set<std::string> keys_;   // of the object inside it
  int offsets_seen_ = 0;
};

/// Offsets must tile [0, data_bytes) in order, and each tensor must be as long as its shape and dtype say.
void check_layout(const std::string& path, const std::vector<Entry>& entries, std::uint64_t data_bytes) {
  std::uint64_t expected = 0;
  for (const Entry& e : entries) {
    const auto fail = [&](const std::string& reason) {
      throw InputError(fmt::format("{}: tensor '{}': {}", path, shown_name(e.info.name), reason));
    };
    if (e.end < e.begin) fail(fmt::format("data_offsets [{}, {}] run backwards", e.begin, e.end));
    if (e.begin < expected)
      fail(fmt::format("begins at {}, inside the tensor before it (ends at {})", e.begin, expected));
    if (e.begin > expected) fail(fmt::format("begins at {}, leaving a hole after {}", e.begin, expected));
    if (e.end > data_bytes)
      fail(fmt::format("ends at {}, but the file has {} bytes of data", e.end, data_bytes));
    std::int64_t bytes = 1;
    for (const std::int64_t extent : e.info.shape)
      if (__builtin_mul_overflow(bytes, extent, &bytes)) fail("the shape overflows 64 bits");
    if (__builtin_mul_overflow(bytes, dtype_bytes(e.info.dtype), &bytes)) fail("the shape overflows 64 bits");
    if (static_cast<std::uint64_t>(bytes) != e.end - e.begin)
      fail(fmt::format("{} of shape [{}] needs {} bytes, data_offsets span {}", dtype_name(e.info.dtype),
                       fmt::join(e.info.shape, ", "), bytes, e.end - e.begin));
    expected = e.end;
  }
  if (expected != data_bytes)
    throw InputError(
        fmt::format("{}: {} bytes after the last tensor belong to none", path, data_bytes - expected));
}

}  // namespace

std::string shown_name(const std::string& name) { return printable(name); }

SafetensorsHeader parse_safetensors_header(const std::string& path, std::string_view text,
                                           std::uint64_t data_bytes) {
  HeaderParser parser(path);
  read_json_events(text, path, parser, text.size());  // its length was checked
  SafetensorsHeader header{std::move(parser.entries), std::move(parser.metadata)};
  std::stable_sort(header.entries.begin(), header.entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;  // empty tensors share their offset
  });
  check_layout(path, header.entries, data_bytes);
  return header;
}

}  // namespace aloft
