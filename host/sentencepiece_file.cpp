#include "host/sentencepiece_file.hpp"

#include <fmt/format.h>

#include <bitset>
#include <optional>
#include <set>

#include "host/error.hpp"
#include "host/utf8.hpp"

namespace aloft {
namespace {

using Piece = SentencePieceFile::Piece;
using Type = SentencePieceFile::Type;

/// Fields of a protobuf message, one after the other. Source: protobuf.dev/programming-guides/encoding.
class WireReader {
 public:
  enum Wire { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };
  struct Field {
    std::uint32_t number = 0;
    int wire = 0;
    std::uint64_t value = 0;   // of a varint
    std::string_view content;  // of bytes
    std::string_view whole;    // with its tag
    std::optional<std::uint64_t> integer() const {
      return wire == varint ? std::optional(value) : std::nullopt;
    }
    std::optional<std::string_view> text() const {
      return wire == bytes ? std::optional(content) : std::nullopt;
    }
  };

  explicit WireReader(std::string_view message) : rest_(message) {}

  /// Nothing at the end; throws Broken for what is no field.
  struct Broken {
    const char* at;
  };
  std::optional<Field> next() {
    if (rest_.empty()) return std::nullopt;
    const char* const start = rest_.data();
    const std::uint64_t tag = read_varint();
    Field field;
    field.number = static_cast<std::uint32_t>(tag >> 3);
    field.wire = static_cast<int>(tag & 7);
    if (tag >> 32 != 0 || field.number == 0) throw Broken{start};
    if (field.wire == varint)
      field.value = read_varint();
    else if (field.wire == bytes)
      field.content = take(read_varint());
    else if (field.wire == fixed64 || field.wire == fixed32)
      field.content = take(field.wire == fixed64 ? 8 : 4);
    else
      throw Broken{start};
    field.whole = std::string_view(start, static_cast<std::size_t>(rest_.data() - start));
    return field;
  }

 private:
  std::uint64_t read_varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (rest_.empty()) break;
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw Broken{rest_.data()};
  }
  std::string_view take(std::uint64_t n) {
    if (n > rest_.size()) throw Broken{rest_.data()};
    const std::string_view out = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return out;
  }

  std::string_view rest_;
};

/// An enumeration's value that this program does not know is passed over, as protobuf does.
template <class Enum>
void set_enum(Enum& to, std::optional<std::uint64_t> value, Enum last) {
  if (value && *value >= 1 && *value <= static_cast<std::uint64_t>(last)) to = static_cast<Enum>(*value);
}
void set_flag(bool& to, std::optional<std::uint64_t> value) {
  if (value) to = *value != 0;
}

Piece read_piece(std::string_view message) {
  Piece out;
  WireReader reader(message);
  while (const auto field = reader.next()) {
    if (field->number == 1) out.text = field->text().value_or(out.text);
    if (field->number == 3) set_enum(out.type, field->integer(), Type::byte);
  }
  return out;
}

void read_trainer(std::string_view message, SentencePieceFile& out) {
  WireReader reader(message);
  while (const auto field = reader.next()) {
    if (field->number == 3)
      set_enum(out.algorithm, field->integer(), SentencePieceFile::Algorithm::character);
    if (field->number == 24) set_flag(out.whitespace_suffix, field->integer());
    if (field->number == 35) set_flag(out.byte_fallback, field->integer());
  }
}

void read_normalizer(std::string_view message, SentencePieceFile& out) {
  WireReader reader(message);
  while (const auto field = reader.next()) {
    if (field->number == 2) out.charsmap = field->text().value_or(out.charsmap);
    if (field->number == 3) set_flag(out.dummy_prefix, field->integer());
    if (field->number == 4) set_flag(out.remove_extra_whitespaces, field->integer());
    if (field->number == 5) set_flag(out.escape_whitespaces, field->integer());
  }
}

// Of the normaliser: no rules, no prefix, white space as it is.
constexpr std::string_view kNoNormalization("\x12\x00\x18\x00\x20\x00\x28\x00", 8);

void read_model(std::string_view bytes, SentencePieceFile& out) {
  WireReader reader(bytes);
  while (const auto field = reader.next()) {
    const auto content = field->text();
    if (content && field->number == 1) out.pieces.push_back(read_piece(*content));
    if (content && field->number == 2) read_trainer(*content, out);
    if (content && field->number == 3) read_normalizer(*content, out);
    if (content && field->number == 4) out.has_self_test |= !content->empty();
    if (field->number <= 2) out.for_normalized_text += field->whole;
  }
  out.for_normalized_text += '\x1a';  // field 3, bytes
  out.for_normalized_text += static_cast<char>(kNoNormalization.size());
  out.for_normalized_text += kNoNormalization;
}

/// Which byte "<0xAB>" means; -1: none.
int byte_of(std::string_view piece) {
  for (int b = 0; b < 256; ++b)
    if (piece == fmt::format("<0x{:02X}>", b)) return b;
  return -1;
}

std::optional<std::string> defect_of_bytes(const SentencePieceFile& file) {
  std::bitset<256> found;
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    if (file.pieces[id].type != Type::byte) continue;
    const int b = byte_of(file.pieces[id].text);
    if (b < 0) return fmt::format("piece {} is a byte's, but not called <0x00> to <0xFF>", id);
    if (!file.byte_fallback)
      return fmt::format("piece {} is a byte's, but the model has no byte fallback", id);
    found.set(static_cast<std::size_t>(b));
  }
  if (file.byte_fallback && !found.all())
    return fmt::format("it has byte fallback, but only {} of the 256 bytes", found.count());
  return std::nullopt;
}

/// The library matches those that are a beginning of the text with room for 64.
std::optional<std::string> defect_of_user_defined(const SentencePieceFile& file) {
  constexpr std::size_t kMost = 64;
  std::set<std::string_view> symbols;
  for (const Piece& piece : file.pieces)
    if (piece.type == Type::user_defined) symbols.insert(piece.text);
  std::vector<std::string_view> nested;  // each a beginning of the next
  for (const std::string_view symbol : symbols) {
    while (!nested.empty() && !symbol.starts_with(nested.back())) nested.pop_back();
    nested.push_back(symbol);
    if (nested.size() > kMost)
      return fmt::format("more than {} user-defined symbols begin one another", kMost);
    if (valid_utf8_prefix(symbol) != symbol.size()) return "a user-defined symbol is not UTF-8";
  }
  return std::nullopt;
}

std::optional<std::string> defect_of_pieces(const SentencePieceFile& file) {
  if (file.pieces.empty()) return "it has no pieces";
  std::set<std::string_view> seen[2];
  std::size_t unknown = 0;
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    const Piece& piece = file.pieces[id];
    if (piece.text.empty()) return fmt::format("piece {} is empty", id);
    if (!seen[piece.in_text()].insert(piece.text).second) return fmt::format("piece {} is there twice", id);
    const bool c_string = file.algorithm == SentencePieceFile::Algorithm::unigram  // in the library
                              ? piece.in_text()
                              : piece.type == Type::user_defined;
    if (c_string && piece.text.find('\0') != std::string::npos)
      return fmt::format("piece {} holds a NUL", id);
    if (piece.type == Type::unknown) ++unknown;
  }
  if (unknown != 1) return fmt::format("it has {} unknown tokens in place of one", unknown);
  if (seen[true].empty()) return "no piece of it can occur in text";
  if (auto defect = defect_of_bytes(file)) return defect;
  return defect_of_user_defined(file);
}

}  // namespace

SentencePieceFile::SentencePieceFile(const std::string& bytes, const std::string& name) {
  try {
    read_model(bytes, *this);
  } catch (const WireReader::Broken& broken) {
    throw InputError(fmt::format(
        "{}: is no SentencePiece model (no protobuf at byte {} of {}): cut off, or another kind of file?",
        name, broken.at - bytes.data(), bytes.size()));
  }
  if (const auto defect = defect_of_pieces(*this))
    throw InputError(fmt::format("{}: is no sound SentencePiece model: {}", name, *defect));
}

}  // namespace aloft
