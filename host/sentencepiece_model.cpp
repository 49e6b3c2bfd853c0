#include "host/sentencepiece_model.hpp"

#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include "host/atomic_file.hpp"
#include "host/error.hpp"

// Of the library, but in none of the headers that Debian installs; weak, for a library that has it elsewhere.
namespace sentencepiece::logging {
__attribute__((weak)) void SetMinLogLevel(int level);
}

namespace aloft {
namespace {

constexpr int kFatalOnly = 3;

/// What the library has to say about a model is for its authors: it goes into no message.
std::unique_ptr<sentencepiece::SentencePieceProcessor> load(const std::string& bytes,
                                                            const std::string& path) {
  auto out = std::make_unique<sentencepiece::SentencePieceProcessor>();
  bool loaded = false;
  try {
    if (sentencepiece::logging::SetMinLogLevel != nullptr) sentencepiece::logging::SetMinLogLevel(kFatalOnly);
    loaded = out->LoadFromSerializedProto(bytes).ok();
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception&) {  // of its trie builder
  }
  if (!loaded)
    throw InputError(fmt::format(
        "{}: is no sound SentencePiece model: the library does not load it, or its self-test fails", path));
  return out;
}

}  // namespace

SentencePieceModel::SentencePieceModel(const std::string& path) : SentencePieceModel(read_file(path), path) {}

SentencePieceModel::SentencePieceModel(const std::string& bytes, const std::string& path)
    : SentencePieceModel(SentencePieceFile(bytes, path), bytes, path) {}

SentencePieceModel::SentencePieceModel(const SentencePieceFile& file, const std::string& bytes,
                                       const std::string& path)
    : path_(path),
      algorithm_(file.algorithm),
      normalizer_(file, path),
      cuts_(file),
      joins_unknown_(!file.byte_fallback) {
  if (file.has_self_test) (void)load(bytes, path);
  processor_ = load(file.for_normalized_text, path);
  unknown_ = static_cast<TokenId>(processor_->unk_id());
}

SentencePieceModel::~SentencePieceModel() = default;

std::int64_t SentencePieceModel::size() const { return processor_->GetPieceSize(); }

const std::string& SentencePieceModel::piece(std::int64_t id) const {
  return processor_->IdToPiece(static_cast<int>(id));
}

void SentencePieceModel::encode(std::string_view normalized, std::vector<TokenId>& ids) const {
  std::vector<int> found;
  const auto status = processor_->Encode(absl::string_view(normalized.data(), normalized.size()), &found);
  if (!status.ok())
    throw InputError(fmt::format("{}: the SentencePiece library does not encode this text with it", path_));
  ids.insert(ids.end(), found.begin(), found.end());
}

}  // namespace aloft
