#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace aloft {

/// How the bytes [p, end), not empty, begin. Source: RFC 3629 (no overlong forms, no surrogates, at most
/// U+10FFFF).
struct Utf8Start {
  int length = 0;           ///< of the valid character at p; 0: there is none
  bool incomplete = false;  ///< length 0, but more bytes could make it one
};
[[nodiscard]] Utf8Start utf8_start(const char* p, const char* end);

/// Length of the longest prefix of `text` that is whole valid characters.
[[nodiscard]] std::size_t valid_utf8_prefix(std::string_view text);

/// The character at p, which is known to be valid and not ASCII; moves p behind it.
[[nodiscard]] inline char32_t decode_valid_utf8(const char*& p) {
  const auto byte = [&p](int k) { return static_cast<char32_t>(static_cast<unsigned char>(p[k])); };
  const char32_t lead = byte(0);
  if (lead < 0xE0) {
    const char32_t c = (lead & 0x1F) << 6 | (byte(1) & 0x3F);
    p += 2;
    return c;
  }
  if (lead < 0xF0) {
    const char32_t c = (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    p += 3;
    return c;
  }
  const char32_t c = (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  p += 4;
  return c;
}

/// Writes a scalar value as UTF-8 to `out` [4]; returns the bytes written.
[[nodiscard]] inline int encode_utf8(char32_t c, char* out) {
  const auto put = [out](int k, char32_t byte) { out[k] = static_cast<char>(byte); };
  if (c < 0x80) {
    put(0, c);
    return 1;
  }
  if (c < 0x800) {
    put(0, 0xC0 | c >> 6);
    put(1, 0x80 | (c & 0x3F));
    return 2;
  }
  if (c < 0x10000) {
    put(0, 0xE0 | c >> 12);
    put(1, 0x80 | (c >> 6 & 0x3F));
    put(2, 0x80 | (c & 0x3F));
    return 3;
  }
  put(0, 0xF0 | c >> 18);
  put(1, 0x80 | (c >> 12 & 0x3F));
  put(2, 0x80 | (c >> 6 & 0x3F));
  put(3, 0x80 | (c & 0x3F));
  return 4;
}

}  // namespace aloft
