#include <fmt/format.h>

#include "host/error.hpp"
#include "host/token_format.hpp"

// llm.c's .bin (256 × int32 header: magic, version, number of tokens; magic 20240520 version 1 holds u16,
// magic 20240801 version 7 holds u32; source: llm.c, dev/data/data_common.py).

namespace aloft {
namespace {

constexpr std::size_t kLlmcHeaderBytes = std::size_t{256} * 4;
constexpr std::uint32_t kLlmcMagic16 = 20240520, kLlmcMagic32 = 20240801, kLlmcMagicEvaluation = 20240522;

bool has_llmc_magic(std::string_view head) {
  if (head.size() < 8) return false;
  const auto magic = load_number<std::uint32_t>(head.data());
  return magic == kLlmcMagic16 || magic == kLlmcMagic32 || magic == kLlmcMagicEvaluation;
}

TokenLayout llmc_layout(InputFile& file) {
  const std::string head = file.head();
  if (head.size() < kLlmcHeaderBytes)
    throw InputError(fmt::format("{}: has {} bytes, less than an llm.c header of {}", file.name(),
                                 head.size(), kLlmcHeaderBytes));
  const auto magic = load_number<std::uint32_t>(head.data());
  const auto version = load_number<std::int32_t>(head.data() + 4),
             tokens = load_number<std::int32_t>(head.data() + 8);
  if (magic == kLlmcMagicEvaluation)
    throw InputError(file.name() + ": is an llm.c evaluation file, not a corpus");
  if (magic != kLlmcMagic16 && magic != kLlmcMagic32)
    throw InputError(
        fmt::format("{}: is no llm.c token file: its magic number is {}, those of llm.c are {} and {}",
                    file.name(), magic, kLlmcMagic16, kLlmcMagic32));
  const int wanted = magic == kLlmcMagic16 ? 1 : 7;
  if (version != wanted)
    throw InputError(fmt::format("{}: llm.c version {} of magic number {} is not known, only {}", file.name(),
                                 version, magic, wanted));
  if (tokens <= 0)
    throw InputError(fmt::format("{}: the llm.c header announces {} tokens", file.name(), tokens));
  TokenLayout out{.kind = 'u',
                  .item_bytes = magic == kLlmcMagic16 ? 2u : 4u,
                  .offset = kLlmcHeaderBytes,
                  .count = static_cast<std::uint64_t>(tokens),
                  .version = version};
  const std::uint64_t needed = out.offset + out.count * out.item_bytes;
  if (file.size() != 0 && file.size() != needed)
    throw InputError(
        fmt::format("{}: the llm.c header announces {} tokens, that is {} bytes, but the file has {}",
                    file.name(), tokens, needed, file.size()));
  return out;
}

}  // namespace

TokenFormat llmc_format() {
  return {.name = "llmc",
          .what = "begins with an llm.c header",
          .recognises = has_llmc_magic,
          .layout = llmc_layout};
}

}  // namespace aloft
