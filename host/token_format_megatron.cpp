#include <fmt/format.h>

#include <array>
#include <filesystem>

#include "host/error.hpp"
#include "host/number_stream.hpp"
#include "host/token_dtype.hpp"
#include "host/token_format.hpp"

// Megatron's X.bin: raw ids. X.idx beside it says of which type, and where documents end: "MMIDIDX\0\0", u64
// version 1, u8 type, u64 sequences, u64 documents + 1; then the sequences' lengths (i32), their places in
// X.bin (i64, bytes), and the number of the first sequence of each document and, last, of all sequences (i64)
// (source: Megatron-LM, megatron/core/datasets/indexed_dataset.py).

namespace aloft {
namespace {

constexpr std::string_view kMegatronMagic{"MMIDIDX\0\0", 9};
constexpr std::size_t kMegatronVersionAt = 9, kMegatronTypeAt = 17, kSequencesAt = 18, kDocumentsAt = 26,
                      kMegatronHeaderBytes = 34;

struct MegatronIndex {
  std::shared_ptr<InputFile> file;
  std::uint64_t sequences = 0, borders = 0;  // borders: documents + 1

  [[nodiscard]] std::uint64_t lengths_at() const { return kMegatronHeaderBytes; }
  [[nodiscard]] std::uint64_t places_at() const { return lengths_at() + 4 * sequences; }
  [[nodiscard]] std::uint64_t borders_at() const { return places_at() + 8 * sequences; }
  [[nodiscard]] std::uint64_t end() const { return borders_at() + 8 * borders; }
};

class MegatronEnds final : public DocumentEnds {
 public:
  MegatronEnds(MegatronIndex index, std::uint64_t ids)
      : index_(std::move(index)),
        most_(ids),
        lengths_(*index_.file, index_.lengths_at()),
        borders_(*index_.file, index_.borders_at()) {
    (void)borders_.next();  // the first document begins with the first sequence
  }

  std::uint64_t next() override {
    const std::int64_t border = read_ < index_.borders ? borders_.next() : -1;
    ++read_;
    if (border < static_cast<std::int64_t>(sequence_) || border > static_cast<std::int64_t>(index_.sequences))
      throw InputError(fmt::format("{}: document {} ends at sequence {}, of {}", index_.file->name(),
                                   read_ - 2, border, index_.sequences));
    for (; sequence_ < static_cast<std::uint64_t>(border); ++sequence_) {
      const std::int32_t length = lengths_.next();
      if (length < 0)
        throw InputError(
            fmt::format("{}: sequence {} has length {}", index_.file->name(), sequence_, length));
      ids_ += static_cast<std::uint64_t>(length);
    }
    if (ids_ > most_)
      throw InputError(
          fmt::format("{}: document {} ends at id {}, of {}", index_.file->name(), read_ - 2, ids_, most_));
    return ids_;
  }

 private:
  MegatronIndex index_;
  std::uint64_t most_;
  NumberStream<std::int32_t> lengths_;
  NumberStream<std::int64_t> borders_;
  std::uint64_t read_ = 1, sequence_ = 0, ids_ = 0;
};

std::string index_of(const std::string& path) {
  return std::filesystem::path(path).replace_extension(".idx").string();
}

/// The number of ids: where the last sequence ends.
std::uint64_t ids_in(const MegatronIndex& index, std::size_t item_bytes) {
  if (index.sequences == 0) return 0;
  const std::int32_t length =
      NumberStream<std::int32_t>(*index.file, index.lengths_at() + 4 * (index.sequences - 1)).next();
  const std::int64_t place =
      NumberStream<std::int64_t>(*index.file, index.places_at() + 8 * (index.sequences - 1)).next();
  if (length < 0 || place < 0)
    throw InputError(index.file->name() + ": its last sequence has a negative place or length");
  return static_cast<std::uint64_t>(place) / item_bytes + static_cast<std::uint64_t>(length);
}

TokenLayout megatron_layout(InputFile& file) {
  const std::string path = index_of(file.name());
  if (!file.rewindable() || path == file.name() || !std::filesystem::exists(path))
    throw InputError(
        fmt::format("{}: there is no {} beside it, where Megatron keeps the ids' type; without it give "
                    "--format u16 or u32",
                    file.name(), path));
  MegatronIndex index{std::make_shared<InputFile>(path)};
  const std::string head = index.file->head();
  if (!head.starts_with(kMegatronMagic) || head.size() < kMegatronHeaderBytes)
    throw InputError(path + ": is no index of Megatron (MMIDIDX)");
  const auto version = load_number<std::uint64_t>(head.data() + kMegatronVersionAt);
  const auto code = static_cast<std::uint8_t>(head[kMegatronTypeAt]);
  const auto type = token_dtype(code);
  index.sequences = load_number<std::uint64_t>(head.data() + kSequencesAt);
  index.borders = load_number<std::uint64_t>(head.data() + kDocumentsAt);
  if (version != 1)
    throw InputError(fmt::format("{}: version {} of Megatron's index is not known, only 1", path, version));
  if (!type) throw InputError(fmt::format("{}: says type {}, which is no integer type", path, code));
  // With one byte more for each sequence where these have modes. Compared first, so that no sum overflows.
  const std::uint64_t size = index.file->size();
  if (index.sequences > size / 12 || index.borders > size / 8 || index.borders < 2 ||
      (size != index.end() && size != index.end() + index.sequences))
    throw InputError(fmt::format("{}: has {} bytes, which is not what {} sequences and {} documents take",
                                 path, size, index.sequences, index.borders == 0 ? 0 : index.borders - 1));
  const std::uint64_t ids = ids_in(index, type->item_bytes);
  if (ids == 0 || ids > file.size() || ids * type->item_bytes != file.size())
    throw InputError(fmt::format("{}: says that {} has {} ids of {} bytes, but that has {} bytes", path,
                                 file.name(), ids, type->item_bytes, file.size()));
  return {.kind = type->kind,
          .item_bytes = type->item_bytes,
          .offset = 0,
          .count = ids,
          .documents = [index, ids] { return std::make_unique<MegatronEnds>(index, ids); }};
}

bool has_megatron_index(const std::string& path) {
  std::error_code absent;
  if (!path.ends_with(".bin") || !std::filesystem::is_regular_file(index_of(path), absent)) return false;
  return InputFile(index_of(path)).head().starts_with(kMegatronMagic);
}

}  // namespace

TokenFormat megatron_format() {
  return {.name = "megatron",
          .what = "has an index of Megatron beside it",
          .described = has_megatron_index,
          .layout = megatron_layout};
}

}  // namespace aloft
