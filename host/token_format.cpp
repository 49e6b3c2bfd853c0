#include "host/token_format.hpp"

namespace aloft {

TokenFormat raw_u16_format();  // token_format_raw.cpp
TokenFormat raw_u32_format();
TokenFormat llmc_format();  // token_format_llmc.cpp
TokenFormat npy_format();   // token_format_npy.cpp

const std::vector<TokenFormat>& token_formats() {
  static const std::vector<TokenFormat> all{raw_u16_format(), raw_u32_format(), llmc_format(), npy_format()};
  return all;
}

const TokenFormat* find_token_format(std::string_view name) {
  for (const TokenFormat& format : token_formats())
    if (format.name == name) return &format;
  return nullptr;
}

const TokenFormat* recognise_token_format(std::string_view head) {
  for (const TokenFormat& format : token_formats())
    if (format.recognises != nullptr && format.recognises(head)) return &format;
  return nullptr;
}

std::vector<std::string> format_names() {
  std::vector<std::string> out{"auto", "text"};
  for (const TokenFormat& format : token_formats()) out.emplace_back(format.name);
  return out;
}

}  // namespace aloft
