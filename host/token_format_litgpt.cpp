#include <fmt/format.h>

#include "host/error.hpp"
#include "host/token_dtype.hpp"
#include "host/token_format.hpp"

// LitGPT's packed chunks: "LITPKDS", u64 version 1, u8 type, u64 number of ids, then the ids. The last chunk
// is filled up with the separator (source: lit_gpt/packed_dataset.py).

namespace aloft {
namespace {

constexpr std::string_view kLitgptMagic = "LITPKDS";
constexpr std::size_t kLitgptVersionAt = 7, kLitgptTypeAt = 15, kLitgptCountAt = 16, kLitgptHeaderBytes = 24;

TokenLayout litgpt_layout(InputFile& file) {
  const std::string head = file.head();
  if (!head.starts_with(kLitgptMagic))
    throw InputError(fmt::format("{}: is no packed chunk of LitGPT: it does not begin with {}", file.name(),
                                 kLitgptMagic));
  if (head.size() < kLitgptHeaderBytes)
    throw InputError(fmt::format("{}: has {} bytes, less than the header of {} of LitGPT's packed chunks",
                                 file.name(), head.size(), kLitgptHeaderBytes));
  const auto version = load_number<std::uint64_t>(head.data() + kLitgptVersionAt),
             count = load_number<std::uint64_t>(head.data() + kLitgptCountAt);
  const auto code = static_cast<std::uint8_t>(head[kLitgptTypeAt]);
  const auto type = token_dtype(code);
  if (version != 1)
    throw InputError(
        fmt::format("{}: version {} of LitGPT's packed chunks is not known, only 1", file.name(), version));
  if (!type)
    throw InputError(fmt::format("{}: its header says type {}, which is no integer type", file.name(), code));
  if (count == 0) throw InputError(file.name() + ": its header announces no ids");
  const std::uint64_t have = (file.size() - std::min<std::uint64_t>(file.size(), kLitgptHeaderBytes));
  if (file.size() != 0 && (have % type->item_bytes != 0 || have / type->item_bytes != count))
    throw InputError(fmt::format("{}: its header announces {} ids of {} bytes, but {} bytes follow it",
                                 file.name(), count, type->item_bytes, have));
  return {.kind = type->kind, .item_bytes = type->item_bytes, .offset = kLitgptHeaderBytes, .count = count};
}

}  // namespace

TokenFormat litgpt_format() {
  return {.name = "litgpt",
          .what = "is a packed chunk of LitGPT",
          .recognises = [](std::string_view head) { return head.starts_with(kLitgptMagic); },
          .layout = litgpt_layout};
}

}  // namespace aloft
