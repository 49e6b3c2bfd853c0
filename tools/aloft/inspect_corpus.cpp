#include <array>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "host/corpus_format.hpp"
#include "host/interrupt.hpp"
#include "host/npy.hpp"
#include "host/progress.hpp"
#include "host/vocabulary.hpp"
#include "pipeline/counts/coverage.hpp"
#include "tools/aloft/inspect.hpp"

namespace aloft {
namespace {

using nlohmann::ordered_json;

/// Which ids occurred. A page of bits is there once one of its ids is: an id near 2^31 costs 2 MiB of pages'
/// places, and all ids there can be 256 MiB.
class IdsSeen {
 public:
  void add(TokenId id) {
    largest_ = std::max(largest_, static_cast<std::int64_t>(id));
    const std::size_t page = id / kPageIds;
    if (page >= pages_.size()) pages_.resize(page + 1);
    if (pages_[page] == nullptr) pages_[page] = std::make_unique<Page>();
    std::uint64_t& word = (*pages_[page])[id % kPageIds / 64];
    const std::uint64_t bit = std::uint64_t{1} << (id % 64);
    seen_ += (word & bit) == 0 ? 1 : 0;
    word |= bit;
  }
  [[nodiscard]] std::int64_t distinct() const { return seen_; }
  [[nodiscard]] std::int64_t largest() const { return largest_; }  ///< -1: none

 private:
  static constexpr std::size_t kPageIds = 8192;
  using Page = std::array<std::uint64_t, kPageIds / 64>;
  std::vector<std::unique_ptr<Page>> pages_;
  std::int64_t seen_ = 0, largest_ = -1;
};

/// Any id will do where nobody said how many there are; but bytes and SentencePiece know it themselves.
void accept_any_id(CorpusSpec& spec) {
  if (spec.vocab_size != 0) return;
  const std::string& path = spec.paths.front();
  if (spec.format == kDetectFormat && std::filesystem::is_regular_file(path)) {
    InputFile file(path);
    spec.format = detect_format(file, 0, spec.invalid_utf8);
  }
  const bool ids = spec.format != kTextFormat && spec.format != kDetectFormat;  // (of a pipe, not yet known)
  if (ids || (spec.tokenizer == "words" && spec.vocabulary.empty())) spec.vocab_size = kMaxVocab;
}

}  // namespace

ordered_json corpus_summary(CorpusSpec spec, ProgressSink& progress) {
  accept_any_id(spec);
  const auto corpus = open_corpus(spec, progress);
  const auto source = corpus->open();
  std::vector<TokenId> block(std::size_t{1} << 16);
  IdsSeen ids;
  const std::optional<TokenId> unknown_id = corpus->unknown_id();
  std::uint64_t tokens = 0, documents = 0, unknown = 0;
  bool inside = false;
  while (const std::size_t n = source->read(block)) {
    check_interrupt();
    for (std::size_t k = 0; k < n; ++k) {
      if (block[k] == kDocumentBreak) {
        inside = false;
        continue;
      }
      documents += !inside;
      inside = true;
      ++tokens;
      ids.add(block[k]);
      unknown += unknown_id && block[k] == *unknown_id ? 1 : 0;
    }
    const auto at = source->position();
    progress.update("inspect", static_cast<double>(at.done), static_cast<double>(at.total), tokens, "tokens");
  }
  if (const std::string note = corpus->reading_note(); !note.empty()) progress.note("note: " + note);
  ordered_json out{{"kind", "corpus"},           {"format", corpus->format_name()},
                   {"tokens", tokens},           {"documents", documents},
                   {"ids_seen", ids.distinct()}, {"largest_id", ids.largest()}};
  if (unknown_id) {
    const Coverage covered = coverage(unknown, tokens);
    out["unknown_tokens"] = covered.unknown;
    out["unknown_share"] = covered.share;
  }
  return out;
}

}  // namespace aloft
