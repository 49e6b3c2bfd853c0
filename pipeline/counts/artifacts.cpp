#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "host/error.hpp"
#include "host/token.hpp"
#include "pipeline/base/artifact_file.hpp"
#include "pipeline/counts/counts.hpp"

namespace aloft {
namespace {

constexpr std::int64_t kMostLags = 64;

std::string tensor(std::int64_t lag, const char* what) { return fmt::format("lag{}.{}", lag, what); }

/// Their sum; nothing where 63 bits do not hold it, for then another sum would seem right.
std::optional<std::uint64_t> checked_sum(const std::vector<std::uint64_t>& values) {
  std::int64_t total = 0;
  for (const std::uint64_t n : values)
    if (__builtin_add_overflow(total, n, &total)) return std::nullopt;
  return static_cast<std::uint64_t>(total);
}

struct LagOfFile {
  CountCsr counts;
  std::optional<std::uint64_t> pairs;  ///< their sum
};

// One lag of a counts file, every promise of the format checked.
LagOfFile read_lag(Device& device, const SafetensorsReader& file, const std::string& path, std::int64_t vocab,
                   std::int64_t lag) {
  const auto offsets = file.read<std::uint64_t>(tensor(lag, "row_offsets"), {vocab + 1});
  const auto columns = file.read<std::uint32_t>(tensor(lag, "columns"), {-1});
  const auto values =
      file.read<std::uint64_t>(tensor(lag, "counts"), {static_cast<std::int64_t>(columns.size())});
  const auto bad = [&](const std::string& what) {
    throw InputError(fmt::format("{}: lag {}: {}", path, lag, what));
  };
  if (offsets.front() != 0 || offsets.back() != columns.size() ||
      !std::is_sorted(offsets.begin(), offsets.end()))
    bad("row_offsets are not ascending from 0 to the number of columns");
  for (std::size_t i = 0; i < static_cast<std::size_t>(vocab); ++i)
    for (std::uint64_t p = offsets[i]; p < offsets[i + 1]; ++p) {
      if (columns[p] >= vocab)
        bad(fmt::format("row {}: column {} is outside the vocabulary of {}", i, columns[p], vocab));
      if (p > offsets[i] && columns[p] <= columns[p - 1])
        bad(fmt::format("row {}: columns are not ascending", i));
      if (values[p] == 0) bad(fmt::format("row {}: a stored count of 0", i));
    }
  return {{vocab, vocab, to_device<const std::uint64_t>(device, offsets),
           to_device<const std::uint32_t>(device, columns), to_device<const std::uint64_t>(device, values)},
          checked_sum(values)};
}

// The held-out slice, where the file has one.
Holdout read_holdout(const SafetensorsReader& file, const std::string& path, std::int64_t vocab) {
  Holdout out;
  if (!file.contains("holdout.blocks") && !file.contains("holdout.ids")) return out;
  out.ids = file.read<std::uint32_t>("holdout.ids", {-1});
  const auto blocks = file.read<std::int64_t>("holdout.blocks", {-1, 4});
  const auto have = static_cast<std::int64_t>(out.ids.size());
  std::int64_t next = 0;
  for (std::size_t i = 0; i < blocks.size(); i += 4) {
    const Holdout::Block b{blocks[i], blocks[i + 1], blocks[i + 2], blocks[i + 3]};
    if (b.first != next || b.before < 0 || b.own < 1 || b.after < 0 || b.before > have || b.own > have ||
        b.after > have || (next += b.before + b.own + b.after) > have)
      throw InputError(
          fmt::format("{}: held-out block {} does not fit the {} tokens beside it", path, i / 4, have));
    out.blocks.push_back(b);
  }
  if (next != have)
    throw InputError(fmt::format("{}: {} held-out tokens belong to no block", path, have - next));
  for (const std::uint32_t id : out.ids)
    if (id != kDocumentBreak && id >= vocab)
      throw InputError(fmt::format("{}: held-out id {} is outside the vocabulary of {}", path, id, vocab));
  return out;
}

}  // namespace

void save(const std::string& path, const Counts& counts, const std::string& key, AtomicFile* with) {
  ArtifactFile file(kCount.artifact, key);
  file.say("vocab_size", std::to_string(counts.vocab));
  file.say("max_lag", std::to_string(counts.max_lag));
  file.say("tokens", std::to_string(counts.tokens));
  file.say("corpus_hash", counts.corpus_hash);
  if (counts.unknown_id) file.say("unknown_id", std::to_string(*counts.unknown_id));
  file.add<std::uint64_t>("unigram", DType::u64, {counts.vocab}, counts.unigram);
  for (std::size_t n = 0; n < counts.lags.size(); ++n) {
    const CountCsr& lag = counts.lags[n];
    const auto number = static_cast<std::int64_t>(n) + 1;
    file.say(fmt::format("pairs_lag{}", number), std::to_string(counts.pairs[n]));
    file.add(tensor(number, "row_offsets"), DType::u64, {counts.vocab + 1}, lag.row_offsets);
    file.add(tensor(number, "columns"), DType::u32, {lag.nnz()}, lag.columns);
    file.add(tensor(number, "counts"), DType::u64, {lag.nnz()}, lag.values);
  }
  if (!counts.holdout.blocks.empty()) {
    std::vector<std::int64_t> blocks;
    for (const Holdout::Block& b : counts.holdout.blocks)
      blocks.insert(blocks.end(), {b.first, b.before, b.own, b.after});
    file.add("holdout.ids", DType::u32, {static_cast<std::int64_t>(counts.holdout.ids.size())},
             counts.holdout.ids);
    file.add("holdout.blocks", DType::i64, {static_cast<std::int64_t>(counts.holdout.blocks.size()), 4},
             std::move(blocks));
  }
  file.write(path, with);
}

template <>
std::optional<Counts> load<Counts>(Device& device, const std::string& path, const std::string& key) {
  const auto file = open_artifact(path, kCount.artifact, key);
  if (!file) return std::nullopt;
  Counts counts;
  counts.vocab = metadata_integer(*file, path, "vocab_size", 1);
  const std::int64_t lags = metadata_integer(*file, path, "max_lag", 1);
  if (lags > kMostLags)
    throw InputError(fmt::format("{}: says it holds {} lags, {} are possible", path, lags, kMostLags));
  counts.max_lag = static_cast<std::int32_t>(lags);
  counts.tokens = static_cast<std::uint64_t>(metadata_integer(*file, path, "tokens", 0));
  if (const auto hash = file->metadata().find("corpus_hash"); hash != file->metadata().end())
    counts.corpus_hash = hash->second;
  if (file->metadata().contains("unknown_id")) {
    const std::int64_t id = metadata_integer(*file, path, "unknown_id", 0);
    if (id >= counts.vocab)
      throw InputError(
          fmt::format("{}: its unknown id {} is outside the vocabulary of {}", path, id, counts.vocab));
    counts.unknown_id = static_cast<TokenId>(id);
  }
  counts.unigram = file->read<std::uint64_t>("unigram", {counts.vocab});
  const auto total = checked_sum(counts.unigram);
  if (total != counts.tokens)
    throw InputError(fmt::format("{}: the unigram adds up to {}, its metadata say {} tokens", path,
                                 total ? std::to_string(*total) : "more than 2^63", counts.tokens));
  for (std::int64_t lag = 1; lag <= lags; ++lag) {
    auto [of_lag, pairs] = read_lag(device, *file, path, counts.vocab, lag);
    counts.lags.push_back(std::move(of_lag));
    counts.pairs.push_back(pairs.value_or(0));
    if (!pairs || *pairs != static_cast<std::uint64_t>(
                                metadata_integer(*file, path, fmt::format("pairs_lag{}", lag), 0)))
      throw InputError(
          fmt::format("{}: lag {}: the counts do not add up to the pairs of its metadata", path, lag));
  }
  counts.holdout = read_holdout(*file, path, counts.vocab);
  return counts;
}

}  // namespace aloft
