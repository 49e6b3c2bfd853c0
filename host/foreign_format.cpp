#include "host/foreign_format.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "host/token_format.hpp"

namespace aloft {
namespace {

using namespace std::string_view_literals;

struct Magic {
  std::string_view bytes;
  std::string_view what, advice;
  std::size_t offset = 0;
};

constexpr std::string_view kGiveParts = "unpack it into a folder and give that folder";
constexpr std::string_view kExportText =
    "export its text column, one document after the other (pyarrow or datasets: print(text, "
    "end='<|endoftext|>')), and give that with --doc-sep '<|endoftext|>'";
constexpr std::string_view kExtract = "extract its text first, to UTF-8";
constexpr std::string_view kNoCorpus = "a corpus is text or token ids";

constexpr Magic kMagics[] = {
    {"\x28\xb5\x2f\xfd", "zstd data", "decompress it into the program: zstd -dc FILE | aloft ... --corpus -"},
    {"\xfd"
     "7zXZ\0"sv,
     "xz data", "decompress it into the program: xz -dc FILE | aloft ... --corpus -"},
    {"\x04\x22\x4d\x18", "lz4 data", "decompress it into the program: lz4 -dc FILE | aloft ... --corpus -"},
    {"\x02\x21\x4c\x18", "lz4 data", "decompress it into the program: lz4 -dc FILE | aloft ... --corpus -"},
    {"LZIP\x01", "lzip data", "decompress it into the program: lzip -dc FILE | aloft ... --corpus -"},
    {"\x5d\0\0\x80\0"sv, "lzma data", "decompress it into the program: xz -dc FILE | aloft ... --corpus -"},
    {"\xff\x06\0\0sNaPpY"sv, "snappy data", "decompress it first"},
    {"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it into a folder (7z x FILE) and give that folder"},
    {"Rar!\x1a\x07", "a rar archive", kGiveParts},
    {"ustar\0"sv, "a tar archive", "unpack it into a folder (tar -xf FILE -C FOLDER) and give that folder",
     257},
    {"ustar  \0"sv, "a tar archive", "unpack it into a folder (tar -xf FILE -C FOLDER) and give that folder",
     257},
    {"!<arch>\n", "an ar archive", kGiveParts},
    {"ARROW1\0\0"sv, "an Arrow file", kExportText},
    {"Obj\x01", "an Avro file", kExportText},
    {"\x89HDF\r\n\x1a\n", "an HDF5 file", "export its ids as .npy (numpy.save) or its text as UTF-8"},
    {"SQLite format 3\0"sv, "an SQLite database", kExtract},
    {"%PDF-", "a PDF document", "extract its text first: pdftotext FILE NEW.txt"},
    {"{\\rtf", "an RTF document", kExtract},
    {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document (.doc, .xls)", kExtract},
    {"WARC/1.", "a WARC archive of web pages", "extract its text first (warcio, trafilatura)"},
    {"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20", "a PyTorch file (pickle)",
     "save its ids as .npy: numpy.save(\"ids.npy\", tensor.numpy())"},
    {"\x80\x02]q", "a Python pickle", "save its ids as .npy (numpy.save), its text as UTF-8"},
    {"\x80\x02}q", "a Python pickle", "save its ids as .npy (numpy.save), its text as UTF-8"},
    {"\x80\x03]q", "a Python pickle", "save its ids as .npy (numpy.save), its text as UTF-8"},
    {"\x80\x03}q", "a Python pickle", "save its ids as .npy (numpy.save), its text as UTF-8"},
    {"\x89PNG\r\n\x1a\n", "a PNG image", kNoCorpus},
    {"GIF87a", "a GIF image", kNoCorpus},
    {"GIF89a", "a GIF image", kNoCorpus},
    {"WEBPVP8", "a WebP image", kNoCorpus, 8},
    {"WAVEfmt ", "a WAVE sound", kNoCorpus, 8},
    {"OggS\0"sv, "an Ogg sound", kNoCorpus},
    {"fLaC\0"sv, "a FLAC sound", kNoCorpus},
    {"wOFF\0"sv, "a font", kNoCorpus},
    {"wOF2\0"sv, "a font", kNoCorpus},
    {"OTTO\0"sv, "a font", kNoCorpus},
    {"\xca\xfe\xba\xbe\0\0\0"sv, "a compiled program (Java, Mach-O)", kNoCorpus},
    {"\0asm\1\0\0\0"sv, "a compiled program (WebAssembly)", kNoCorpus},
    {"MZ\x90\0\3\0\0\0"sv, "a program (Windows)", kNoCorpus},
    {"\xff\xd8\xff\xe0", "a JPEG image", kNoCorpus},
    {"\xff\xd8\xff\xe1", "a JPEG image", kNoCorpus},
    {"\x7f"
     "ELF",
     "a program (ELF)", kNoCorpus},
    {"MMIDIDX\0\0"sv, "the index of Megatron's ids",
     "give the .bin beside it, which is read with this index"},
    {"TNTIDX\0\0"sv, "the index of ids in fairseq's or Megatron's old format",
     "give the .bin beside it with --format u16 or u32"}};

bool has_at(std::string_view head, std::size_t offset, std::string_view bytes) {
  return head.size() >= offset && head.substr(offset).starts_with(bytes);
}

bool ends_with_any(std::string name, std::initializer_list<std::string_view> endings) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return std::any_of(endings.begin(), endings.end(), [&](auto ending) { return name.ends_with(ending); });
}

/// The name inside a zip's first entry tells what the zip is for.
ForeignFormat zip_kind(std::string_view head) {
  constexpr std::size_t kNameLength = 26, kName = 30;
  std::string_view entry;
  if (head.size() > kName) entry = head.substr(kName, load_number<std::uint16_t>(head.data() + kNameLength));
  if (entry.ends_with(".npy")) return {"an .npz (a zip of arrays)", "unpack it and give the .npy inside"};
  if (entry.ends_with("/data.pkl") || entry.find("/data/") != std::string_view::npos ||
      entry.ends_with("/byteorder"))
    return {"a PyTorch file (a zip)", "save its ids as .npy: numpy.save(\"ids.npy\", tensor.numpy())"};
  if (entry == "[Content_Types].xml" || entry.starts_with("_rels/") || entry.starts_with("word/") ||
      entry.starts_with("docProps/"))
    return {"an Office document (.docx, .xlsx, a zip)", std::string(kExtract)};
  if (entry == "mimetype") return {"an e-book or document (.epub, .odt, a zip)", std::string(kExtract)};
  return {"a zip archive", "unpack it into a folder (unzip FILE -d FOLDER) and give that folder"};
}

/// litdata's chunks and MosaicML's shards: a number of items, then where each begins and, last, the file's
/// size.
bool is_packed_items(std::string_view head, std::uint64_t size) {
  if (size == 0 || head.size() < 12) return false;
  const auto items = load_number<std::uint32_t>(head.data());
  const std::uint64_t table = 4 * (std::uint64_t{items} + 2);
  if (items == 0 || table > head.size()) return false;
  std::uint64_t before = table;
  for (std::uint64_t k = 0; k <= items; ++k) {
    const auto next = load_number<std::uint32_t>(head.data() + 4 * (k + 1));
    if (next < before) return false;
    before = next;
  }
  return before == size;
}

bool is_safetensors(std::string_view head) {
  if (head.size() < 10) return false;
  const auto header = load_number<std::uint64_t>(head.data());
  return header >= 2 && header < std::uint64_t{100} << 20 && head[8] == '{' &&
         (head[9] == '"' || head[9] == '}');
}

bool is_gzip(std::string_view head) {  // deflate is the only method, five flags are known
  if (!head.starts_with("\x1f\x8b")) return false;
  if (head.size() < 4) return head.size() < 3 || head[2] == 8;
  const bool level = head.size() < 9 || head[8] == 0 || head[8] == 2 || head[8] == 4;
  const bool system = head.size() < 10 || (head[9] >= 0 && head[9] <= 13) || head[9] == '\xff';
  return head[2] == 8 && static_cast<unsigned char>(head[3]) < 0x20 && level && system;
}

bool is_arrow_stream(std::string_view head) {  // a message's length, then a flatbuffer whose root is at 16
  return head.size() >= 16 && has_at(head, 0, "\xff\xff\xff\xff") &&
         load_number<std::uint32_t>(head.data() + 4) < std::uint32_t{1} << 28 &&
         load_number<std::uint32_t>(head.data() + 8) == 16;
}

bool is_pickle(std::string_view head) {  // of protocol 4 or 5: a frame and its length
  return head.size() >= 11 && (has_at(head, 0, "\x80\x04\x95") || has_at(head, 0, "\x80\x05\x95")) &&
         load_number<std::uint64_t>(head.data() + 3) < std::uint64_t{1} << 40;
}

}  // namespace

std::optional<ForeignFormat> foreign_format(std::string_view head, const std::string& name,
                                            std::uint64_t size) {
  if (is_gzip(head)) {
    if (ends_with_any(name, {".tar.gz", ".tgz"}))
      return ForeignFormat{"a compressed tar archive",
                           "unpack it into a folder (tar -xzf FILE -C FOLDER) and give that folder"};
    return ForeignFormat{"gzip data", "decompress it into the program: gzip -dc FILE | aloft ... --corpus -"};
  }
  if (has_at(head, 0, "BZh") &&
      (head.size() < 10 || has_at(head, 4, "1AY&SY") || has_at(head, 4, "\x17\x72\x45\x38\x50\x90")))
    return ForeignFormat{"bzip2 data",
                         "decompress it into the program: bzip2 -dc FILE | aloft ... --corpus -"};
  for (const std::string_view start : {"PK\3\4"sv, "PK\5\6"sv, "PK\7\10"sv})
    if (has_at(head, 0, start)) return zip_kind(head);
  for (const Magic& magic : kMagics)
    if (has_at(head, magic.offset, magic.bytes))
      return ForeignFormat{std::string(magic.what), std::string(magic.advice), magic.advice == kNoCorpus};
  if (head.size() == 4 || (head.size() > 4 && static_cast<unsigned char>(head[4]) < 0x20)) {
    // Letters alone could begin a text.
    if (has_at(head, 0, "PAR1")) return ForeignFormat{"a Parquet file", std::string(kExportText)};
    if (has_at(head, 0, "FEA1")) return ForeignFormat{"a Feather file", std::string(kExportText)};
    if (has_at(head, 0, "GGUF")) return ForeignFormat{"a GGUF model", std::string(kNoCorpus), true};
  }
  for (const std::string_view tokenizer : {"words", "sentencepiece"})
    if (head.starts_with(fmt::format("{{\"tokenizer\":\"{}\",\"version\":", tokenizer)))
      return ForeignFormat{"a vocabulary that aloft wrote", "--vocabulary takes that of the words tokenizer",
                           true};
  if (is_arrow_stream(head)) return ForeignFormat{"an Arrow stream", std::string(kExportText)};
  if (is_pickle(head))
    return ForeignFormat{"a Python pickle", "save its ids as .npy (numpy.save), its text as UTF-8"};
  if (is_safetensors(head))
    return ForeignFormat{"a safetensors file", "a file of counts is given with --counts", true};
  if (is_packed_items(head, size))
    return ForeignFormat{"a chunk of litdata or of MosaicML's streaming",
                         "read it with that library and save the ids as .npy (numpy.save)"};
  if (ends_with_any(name, {".ds.index", ".ds.metadata", ".ds.loss"}))
    return ForeignFormat{"what datatrove wrote beside its ids", "give the .ds, which is read with its index"};
  return std::nullopt;
}

}  // namespace aloft
