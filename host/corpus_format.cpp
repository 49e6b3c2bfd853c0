#include "host/corpus_format.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "host/error.hpp"
#include "host/foreign_format.hpp"
#include "host/structured_text.hpp"
#include "host/text_reader.hpp"
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

/// A format for a file of ids without a header.
std::string raw_format(std::string_view head, std::int64_t vocab_size) {
  if (const auto seen = id_bytes_seen(head)) return raw_format_name(*seen);
  return vocab_size > kMaxU16Vocab ? "u32" : "u16";
}

/// Text that was named like ids: ids have bytes that no text has.
void refuse_text(const std::string& name, std::string_view sample) {
  constexpr std::size_t kFewest = 32;
  if (sample.size() < kFewest || valid_utf8_prefix(sample) + 3 < sample.size()) return;
  const bool control = std::any_of(sample.begin(), sample.end(), [](char c) {
    return c >= 0 && (c < 0x20 || c == 0x7F) && c != '\n' && c != '\r' && c != '\t' && c != '\f';
  });
  if (!control)
    throw InputError(
        fmt::format("{}: reads like text, though its name is one of token ids; give --format text or "
                    "{} to say which it is",
                    name, "u16"));
}

/// Records are no prose.
FileKind kind_of_text(InputFile& file, std::string_view head, const std::string& extension) {
  FileKind kind{FileKind::Verdict::read, kTextFormat, "", ""};
  const auto records = structured_text(head, head.size() < InputFile::kHeadBytes, extension);
  if (!records) return kind;
  kind.verdict = FileKind::Verdict::records;
  kind.what = records->what;
  kind.why = fmt::format(
      "{}: is {}; read as text, all of it would be counted: take the texts out of it with {}{} | aloft ... "
      "--corpus - --doc-sep '{}' (or --format text, to count it as it is)",
      file.name(), records->what, records->command, file.name() == "stdin" ? "" : " < FILE",
      kRecordSeparator);
  return kind;
}

/// Text as far as it can be seen: valid UTF-8 (a character may be cut off at the sample's end), no NUL; or
/// what else it is.
std::optional<FileKind> no_text(InputFile& file, std::string_view head, InvalidUtf8 policy) {
  const std::string_view sample = head.substr(0, kSampleBytes);
  const std::size_t valid = valid_utf8_prefix(sample);
  const bool cut = valid < sample.size() && head.size() > kSampleBytes &&
                   utf8_start(sample.data() + valid, sample.data() + sample.size()).incomplete;
  const std::size_t nul = sample.find('\0');
  if (nul == std::string_view::npos && (valid == sample.size() || cut || policy == InvalidUtf8::replace))
    return std::nullopt;
  const auto ids = id_bytes_seen(head);
  const bool binary = nul != std::string_view::npos && !ids;
  return FileKind{
      binary ? FileKind::Verdict::never : FileKind::Verdict::refused, "", "no text (it has NUL bytes)",
      fmt::format("{}: cannot tell its format ({}); give --format {}", file.name(),
                  nul != std::string_view::npos ? fmt::format("byte {} is NUL, which no text has", nul)
                                                : fmt::format("byte {} is not valid UTF-8", valid),
                  ids ? raw_format_name(*ids) + ", as it looks like such ids" : formats_to_choose_from())};
}

FileKind kind_of(InputFile& file, std::int64_t vocab_size, InvalidUtf8 policy) {
  const auto read_as = [](std::string_view format) {
    return FileKind{FileKind::Verdict::read, std::string(format), "", ""};
  };
  const std::string head = file.head();
  if (const auto foreign = foreign_format(head, file.name(), file.size()))
    return {foreign->never ? FileKind::Verdict::never : FileKind::Verdict::refused, "", foreign->what,
            fmt::format("{}: is {}; {}", file.name(), foreign->what, foreign->advice)};
  if (const TokenFormat* format = recognise_token_format(head, file.name())) return read_as(format->name);

  const std::string extension = extension_of(file.name());
  const std::string_view sample = std::string_view(head).substr(0, kSampleBytes);
  for (const TokenFormat& format : token_formats())  // without its magic number: the reader says so
    if (std::find(format.extensions.begin(), format.extensions.end(), extension) != format.extensions.end()) {
      refuse_text(file.name(), sample);
      return read_as(format.name);
    }
  if (extension == ".bin" || extension == ".ds") {
    refuse_text(file.name(), sample);
    return read_as(raw_format(head, vocab_size));
  }
  refuse_utf16(file.name(), head);
  if (std::find(std::begin(kTextExtensions), std::end(kTextExtensions), extension) ==
      std::end(kTextExtensions))
    if (auto other = no_text(file, head, policy)) return *other;
  return kind_of_text(file, head, extension);
}

}  // namespace

FileKind kind_of_file(InputFile& file, std::int64_t vocab_size, InvalidUtf8 policy) {
  try {
    return kind_of(file, vocab_size, policy);
  } catch (const InputError& e) {
    return {FileKind::Verdict::refused, "", "", e.what()};
  }
}

std::string detect_format(InputFile& file, std::int64_t vocab_size, InvalidUtf8 policy) {
  const FileKind kind = kind_of_file(file, vocab_size, policy);
  if (kind.verdict != FileKind::Verdict::read) throw InputError(kind.why);
  return kind.format;
}

}  // namespace aloft
