#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace aloft {

/// The type of ids as fairseq numbered it, and after it Megatron's index and LitGPT's chunks.
struct TokenDtype {
  char kind = 0;  ///< 'u', 'i'
  std::size_t item_bytes = 0;
};
/// Nothing for a type that is no integer, or unknown.
[[nodiscard]] inline std::optional<TokenDtype> token_dtype(std::uint8_t code) {
  // 1 uint8, 2 int8, 3 int16, 4 int32, 5 int64, 6 and 7 floating point, 8 uint16
  constexpr std::array<TokenDtype, 9> kTypes{
      {{}, {'u', 1}, {'i', 1}, {'i', 2}, {'i', 4}, {'i', 8}, {}, {}, {'u', 2}}};
  if (code >= kTypes.size() || kTypes[code].item_bytes == 0) return std::nullopt;
  return kTypes[code];
}

}  // namespace aloft
