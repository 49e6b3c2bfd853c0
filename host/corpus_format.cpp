#include "host/corpus_format.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "host/error.hpp"
#include "host/token_format.hpp"
#include "host/utf8.hpp"

namespace aloft {
namespace {

constexpr std::size_t kSampleBytes = std::size_t{1} << 16;
constexpr std::int64_t kMaxU16Vocab = 65536;

constexpr std::string_view kTextExtensions[] = {".txt",  ".text",  ".md",  ".rst",  ".xml", ".html", ".htm",
                                                ".json", ".jsonl", ".csv", ".tsv",  ".tex", ".srt",  ".log",
                                                ".c",    ".h",     ".cc",  ".cpp",  ".hpp", ".py",   ".js",
                                                ".ts",   ".rs",    ".go",  ".java", ".sh",  ".yaml", ".yml"};

struct Foreign {
  std::string_view magic, what, advice;
};
constexpr Foreign kForeign[] = {
    {"\x1f\x8b", "gzip data", "decompress it into the program: gzip -dc FILE | aloft ... -"},
    {"\x28\xb5\x2f\xfd", "zstd data", "decompress it into the program: zstd -dc FILE | aloft ... -"},
    {"\xfd"
     "7zXZ",
     "xz data", "decompress it into the program: xz -dc FILE | aloft ... -"},
    {"BZh", "bzip2 data", "decompress it into the program: bzip2 -dc FILE | aloft ... -"},
    {"PK\x03\x04", "a zip archive", "unpack it (of an .npz, give the .npy inside)"},
    {"PAR1", "a Parquet file", "export its text column to text files"},
};

std::string extension_of(const std::string& name) {
  std::string out = std::filesystem::path(name).extension().string();
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

/// "text, u16 or npy"
std::string formats_to_choose_from() {
  const std::vector<std::string> names = format_names();
  std::string out;
  for (std::size_t i = 1; i < names.size(); ++i)
    out += (i == 1 ? "" : i + 1 == names.size() ? " or " : ", ") + names[i];
  return out;
}

}  // namespace

std::string detect_format(InputFile& file, std::int64_t vocab_size, InvalidUtf8 policy) {
  const std::string head = file.head();
  if (const TokenFormat* format = recognise_token_format(head)) return std::string(format->name);

  const std::string extension = extension_of(file.name());
  for (const TokenFormat& format : token_formats())  // without its magic number: the reader says so
    if (std::find(format.extensions.begin(), format.extensions.end(), extension) != format.extensions.end())
      return std::string(format.name);
  if (extension == ".bin") return vocab_size > kMaxU16Vocab || looks_like_u32(head) ? "u32" : "u16";
  if (std::find(std::begin(kTextExtensions), std::end(kTextExtensions), extension) !=
      std::end(kTextExtensions))
    return kTextFormat;

  for (const Foreign& foreign : kForeign)
    if (head.starts_with(foreign.magic))
      throw InputError(fmt::format("{}: is {}; {}", file.name(), foreign.what, foreign.advice));
  if (head.starts_with("\xFF\xFE") || head.starts_with("\xFE\xFF"))
    return kTextFormat;  // UTF-16: refused as such
  const std::string_view sample = std::string_view(head).substr(0, kSampleBytes);
  const std::size_t valid = valid_utf8_prefix(sample);
  const bool cut = valid < sample.size() && head.size() > kSampleBytes &&
                   utf8_start(sample.data() + valid, sample.data() + sample.size()).incomplete;
  const bool has_nul = sample.find('\0') != std::string_view::npos;
  if (!has_nul && (valid == sample.size() || cut || policy == InvalidUtf8::replace)) return kTextFormat;
  throw InputError(
      fmt::format("{}: cannot tell its format ({}); give --format {}", file.name(),
                  has_nul ? "it has NUL bytes" : fmt::format("byte {} is not valid UTF-8", valid),
                  formats_to_choose_from()));
}

}  // namespace aloft
