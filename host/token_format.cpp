#include "host/token_format.hpp"

namespace aloft {

TokenFormat raw_u16_format();  // token_format_raw.cpp
TokenFormat raw_u32_format();
TokenFormat raw_u64_format();
TokenFormat llmc_format();       // token_format_llmc.cpp
TokenFormat npy_format();        // token_format_npy.cpp
TokenFormat litgpt_format();     // token_format_litgpt.cpp
TokenFormat datatrove_format();  // token_format_datatrove.cpp
TokenFormat megatron_format();   // token_format_megatron.cpp

const std::vector<TokenFormat>& token_formats() {
  static const std::vector<TokenFormat> all{raw_u16_format(),   raw_u32_format(), raw_u64_format(),
                                            llmc_format(),      npy_format(),     litgpt_format(),
                                            datatrove_format(), megatron_format()};
  return all;
}

const TokenFormat* find_token_format(std::string_view name) {
  for (const TokenFormat& format : token_formats())
    if (format.name == name) return &format;
  return nullptr;
}

const TokenFormat* recognise_token_format(std::string_view head, const std::string& path) {
  for (const TokenFormat& format : token_formats())
    if ((format.recognises != nullptr && format.recognises(head)) ||
        (format.described != nullptr && format.described(path)))
      return &format;
  return nullptr;
}

std::vector<std::string> format_names() {
  std::vector<std::string> out{"auto", "text"};
  for (const TokenFormat& format : token_formats()) out.emplace_back(format.name);
  return out;
}

}  // namespace aloft
