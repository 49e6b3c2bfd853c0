#include "host/printable.hpp"

#include <fmt/format.h>

#include <iterator>

#include "host/utf8.hpp"

namespace aloft {
namespace {

constexpr std::size_t kLongestMessage = 4000;  // two paths of the longest kind do not reach it

/// Moves the terminal's cursor, changes the order of what is shown, or shows nothing.
bool misleads(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c <= 0x9F) ||                          // C0, DEL, C1
         c == 0x061C || c == 0x200E || c == 0x200F ||                     // marks of direction
         (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) ||  // embeddings, overrides, isolates
         c == 0x2028 || c == 0x2029 || (c >= 0xE0000 && c <= 0xE0FFF);    // separators; tags
}

/// The character at p, moved behind it. `length` is utf8_start's, not 0.
char32_t take(const char*& p, int length) {
  if (length == 1) return static_cast<unsigned char>(*p++);
  return decode_valid_utf8(p);
}

void append_shown(std::string& out, char32_t c) {
  if (c == '\n') {
    out += "\\n";
  } else if (c == '\t') {
    out += "\\t";
  } else if (c == '\r') {
    out += "\\r";
  } else {
    fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<std::uint32_t>(c));
  }
}

std::string shown(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p != end;) {
    const int length = utf8_start(p, end).length;
    if (length == 0) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}",
                     static_cast<unsigned>(static_cast<unsigned char>(*p++)));
      continue;
    }
    const char* const begin = p;
    if (const char32_t c = take(p, length); misleads(c)) {
      append_shown(out, c);
    } else {
      out.append(begin, p);
    }
  }
  return out;
}

bool within_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

/// At most `most` bytes from the beginning, whole characters where there are any.
std::string_view beginning(std::string_view text, std::size_t most) {
  if (text.size() <= most) return text;
  std::size_t at = most;
  for (int k = 0; k < 3 && at > 0 && within_character(text[at]); ++k) --at;
  return text.substr(0, at);
}

std::string_view ending(std::string_view text, std::size_t most) {
  std::size_t at = text.size() - most;
  for (int k = 0; k < 3 && at < text.size() && within_character(text[at]); ++k) ++at;
  return text.substr(at);
}

}  // namespace

std::string printable(std::string_view text, std::size_t most) {
  return text.size() <= most ? shown(text) : shown(beginning(text, most)) + "...";
}

std::string printable_message(std::string_view text) {
  if (text.size() <= kLongestMessage) return shown(text);
  return shown(beginning(text, kLongestMessage * 3 / 4)) + " ... " + shown(ending(text, kLongestMessage / 4));
}

std::string printable_json(std::string_view json) {
  std::string out;
  out.reserve(json.size());
  const char* const end = json.data() + json.size();
  for (const char* p = json.data(); p != end;) {
    const char* const begin = p;
    const int length = utf8_start(p, end).length;
    const char32_t c = length == 0 ? static_cast<unsigned char>(*p++) : take(p, length);
    if (c == '\n' || !misleads(c)) {
      out.append(begin, p);
    } else if (c < 0x10000) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<std::uint32_t>(c));
    } else {  // a pair of surrogates
      const std::uint32_t rest = static_cast<std::uint32_t>(c) - 0x10000;
      fmt::format_to(std::back_inserter(out), "\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10),
                     0xDC00 + (rest & 0x3FF));
    }
  }
  return out;
}

}  // namespace aloft
