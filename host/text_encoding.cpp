#include "host/text_encoding.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace aloft {
namespace {

constexpr std::size_t kWideSample = std::size_t{1} << 16;
constexpr std::size_t kFewestUnits = 4;  // units; fewer could be anything

/// Whether units of `width` bytes, the lowest at `low`, the next higher one at `next`, are characters of
/// text: no control character but white space, no half of a surrogate pair without the other. Token ids are
/// not.
bool text_units(std::string_view sample, std::size_t width, std::size_t low, std::size_t next) {
  bool pair_begun = false;
  for (std::size_t k = 0; k + width <= sample.size(); k += width) {
    const auto unit = static_cast<std::uint32_t>(static_cast<unsigned char>(sample[k + low])) |
                      static_cast<std::uint32_t>(static_cast<unsigned char>(sample[k + next])) << 8;
    const bool blank = unit == '\n' || unit == '\r' || unit == '\t' || unit == '\f';
    if ((unit < 0x20 && !blank) || (unit >= 0x7F && unit < 0xA0)) return false;
    if (width == 2 && pair_begun != (unit >= 0xDC00 && unit < 0xE000)) return false;
    pair_begun = width == 2 && unit >= 0xD800 && unit < 0xDC00;
  }
  return true;
}

}  // namespace

std::string wide_encoding(std::string_view head) {
  using namespace std::string_view_literals;
  if (head.starts_with("\xFF\xFE\0\0"sv) || head.starts_with("\0\0\xFE\xFF"sv)) return "UTF-32";
  if (head.starts_with("\xFF\xFE") || head.starts_with("\xFE\xFF")) return "UTF-16";

  const std::string_view sample = head.substr(0, kWideSample);
  std::array<std::size_t, 4> nuls{};  // by place in four bytes
  for (std::size_t k = 0; k < sample.size(); ++k) nuls[k % 4] += sample[k] == '\0' ? 1 : 0;
  const std::size_t four = sample.size() / 4, two = sample.size() / 2;
  if (four >= kFewestUnits && nuls[2] >= four && nuls[3] >= four && text_units(sample, 4, 0, 1))
    return "UTF-32LE";
  if (four >= kFewestUnits && nuls[0] >= four && nuls[1] >= four && text_units(sample, 4, 3, 2))
    return "UTF-32BE";
  // Blanks, digits and line breaks are ASCII in text of any language; no character of text is U+0000.
  const std::size_t even = nuls[0] + nuls[2], odd = nuls[1] + nuls[3];
  if (two < kFewestUnits) return "";
  if (odd > two / 100 && even == 0 && text_units(sample, 2, 0, 1)) return "UTF-16LE";
  if (even > two / 100 && odd == 0 && text_units(sample, 2, 1, 0)) return "UTF-16BE";
  return "";
}

}  // namespace aloft
