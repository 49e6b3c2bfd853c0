#include "host/utf8.hpp"

#include <cstring>

namespace aloft {

Utf8Start utf8_start(const char* p, const char* end) {
  const auto byte = [p](int k) { return static_cast<unsigned char>(p[k]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {1, false};
  int length = 0;
  unsigned low = 0x80, high = 0xBF;  // what the second byte may be
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;   // overlong below
    if (lead == 0xED) high = 0x9F;  // surrogates above
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;   // overlong below
    if (lead == 0xF4) high = 0x8F;  // beyond U+10FFFF above
  } else {
    return {0, false};
  }
  for (int k = 1; k < length; ++k) {
    if (p + k == end) return {0, true};
    if (byte(k) < low || byte(k) > high) return {0, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, false};
}

std::size_t valid_utf8_prefix(std::string_view text) {
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    for (std::uint64_t word = 0; end - p >= 8; p += 8) {  // most text is ASCII
      std::memcpy(&word, p, 8);
      if ((word & 0x8080808080808080u) != 0) break;
    }
    if (p == end) break;
    const int length = utf8_start(p, end).length;
    if (length == 0) break;
    p += length;
  }
  return static_cast<std::size_t>(p - text.data());
}

}  // namespace aloft
