#include <fmt/format.h>

#include <filesystem>

#include "host/error.hpp"
#include "host/number_stream.hpp"
#include "host/token_format.hpp"

// datatrove's X.ds: raw ids of 2 or 4 bytes. X.ds.index beside it: for each document the number of ids up to
// its end, u64 (source: datatrove, pipeline/tokens/tokenizer.py). The last of them is the number of all ids,
// which tells how many bytes an id has. Without an index it is a file of raw ids (corpus_format.cpp).

namespace aloft {
namespace {

constexpr std::string_view kDatatroveIndex = ".index";

class DatatroveEnds final : public DocumentEnds {
 public:
  DatatroveEnds(std::shared_ptr<InputFile> index, std::uint64_t ids)
      : index_(std::move(index)), ends_(*index_, 0), ids_(ids) {}

  std::uint64_t next() override {
    const auto end = ends_.next();
    if (end < before_)
      throw InputError(fmt::format("{}: document {} ends at {}, before the one in front of it ({})",
                                   index_->name(), documents_, end, before_));
    if (end > ids_)
      throw InputError(
          fmt::format("{}: document {} ends at {}, of {} ids", index_->name(), documents_, end, ids_));
    ++documents_;
    return before_ = end;
  }

 private:
  std::shared_ptr<InputFile> index_;
  NumberStream<std::uint64_t> ends_;
  std::uint64_t ids_, before_ = 0, documents_ = 0;
};

TokenLayout datatrove_layout(InputFile& file) {
  const std::string path = file.name() + std::string(kDatatroveIndex);
  if (!file.rewindable() || !std::filesystem::exists(path))
    throw InputError(fmt::format(
        "{}: there is no {} beside it, where datatrove keeps the documents' ends; without it give "
        "--format u16 (or u32, for a vocabulary above 65536)",
        file.name(), path));
  const auto index = std::make_shared<InputFile>(path);
  if (index->size() == 0 || index->size() % sizeof(std::uint64_t) != 0)
    throw InputError(
        fmt::format("{}: has {} bytes; an index of datatrove has 8 for each document", path, index->size()));
  const std::uint64_t ids = NumberStream<std::uint64_t>(*index, index->size() - sizeof(std::uint64_t)).next();
  const std::uint64_t item_bytes = ids == 0 ? 0 : file.size() / ids;
  if ((item_bytes != 2 && item_bytes != 4) || item_bytes * ids != file.size())
    throw InputError(fmt::format("{}: says that {} has {} ids, but that has {} bytes; ids have 2 or 4 each",
                                 path, file.name(), ids, file.size()));
  return {.kind = 'u',
          .item_bytes = static_cast<std::size_t>(item_bytes),
          .offset = 0,
          .count = ids,
          .documents = [index, ids] { return std::make_unique<DatatroveEnds>(index, ids); }};
}

bool has_datatrove_index(const std::string& path) {
  std::error_code absent;
  return path.ends_with(".ds") &&
         std::filesystem::is_regular_file(path + std::string(kDatatroveIndex), absent);
}

}  // namespace

TokenFormat datatrove_format() {
  return {.name = "datatrove",
          .what = "has an index of datatrove beside it",
          .described = has_datatrove_index,
          .layout = datatrove_layout};
}

}  // namespace aloft
