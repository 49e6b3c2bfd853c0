#include "pipeline/counts/holdout.hpp"

#include <algorithm>
#include <utility>

#include "host/error.hpp"
#include "pipeline/base/host_matrix.hpp"

namespace aloft {
namespace {

constexpr std::uint64_t kSliceBlock = 64;  // own tokens of a block
constexpr std::size_t kMostBlocks = 512;   // 32768 tokens in all, of each lag up to twice as many pairs

/// The places of `h` from which `reach` tokens on there is no document break, [first, last) relative to each
/// block's own tokens: called with the iterator of the first of the reach + 1 tokens and the number of the
/// block.
template <class Visit>
void for_each_run(const Holdout& h, std::int64_t reach, std::int64_t from, bool inside, const Visit& visit) {
  for (std::size_t i = 0; i < h.blocks.size(); ++i) {
    const Holdout::Block& b = h.blocks[i];
    const std::int64_t have = b.before + b.own + b.after;
    const std::int64_t end = inside ? b.before + b.own - reach : std::min(b.before + b.own, have - reach);
    for (std::int64_t k = std::max<std::int64_t>(0, b.before + from); k < end; ++k) {
      const auto first = h.ids.begin() + b.first + k;
      if (std::find(first, first + reach + 1, kDocumentBreak) == first + reach + 1)
        visit(first, static_cast<std::int64_t>(i));
    }
  }
}

/// Pairs at `lag` inside one document with at least one end in the slice, sorted.
std::vector<std::pair<TokenId, TokenId>> pairs_touching(const Holdout& h, std::int64_t lag) {
  std::vector<std::pair<TokenId, TokenId>> out;
  for_each_run(h, lag, -lag, false, [&](auto first, std::int64_t) { out.emplace_back(*first, first[lag]); });
  std::sort(out.begin(), out.end());
  return out;
}

/// How often each pair is there; pairs sorted.
CountCsr csr_of(Device& device, std::int64_t vocab, const std::vector<std::pair<TokenId, TokenId>>& pairs) {
  std::vector<std::uint64_t> offsets(static_cast<std::size_t>(vocab) + 1), values;
  std::vector<std::uint32_t> columns;
  for (std::size_t k = 0; k < pairs.size(); ++k) {
    if (k > 0 && pairs[k] == pairs[k - 1]) {
      ++values.back();
      continue;
    }
    columns.push_back(pairs[k].second);
    values.push_back(1);
    ++offsets[pairs[k].first + 1];
  }
  for (std::size_t i = 1; i < offsets.size(); ++i) offsets[i] += offsets[i - 1];
  return {vocab, vocab, to_device<const std::uint64_t>(device, offsets),
          to_device<const std::uint32_t>(device, columns), to_device<const std::uint64_t>(device, values)};
}

[[noreturn]] void not_of_these_counts() {
  throw InputError("the held-out slice is not part of the counts it came with: count the corpus again");
}

}  // namespace

HoldoutSource::HoldoutSource(TokenSource& source, std::int32_t context)
    : source_(source), context_(static_cast<std::uint64_t>(context)) {
  expects(context >= 1 && context_ < distance_ / 4, "a context of few tokens");
}

void HoldoutSource::begin_block() {
  if (blocks_.size() == kMostBlocks) {  // the first block begins at `distance`: keep the even multiples
    for (std::size_t i = 0; i < kMostBlocks / 2; ++i) blocks_[i] = std::move(blocks_[2 * i + 1]);
    blocks_.resize(kMostBlocks / 2);
    distance_ *= 2;
    if (seen_ % distance_ != 0) return;
  }
  blocks_.push_back({seen_, static_cast<std::int64_t>(recent_.size()), recent_});
}

std::size_t HoldoutSource::read(std::span<TokenId> out) {
  const std::size_t n = source_.read(out);
  for (std::size_t at = 0; at < n;) {  // in pieces that end where a block begins
    if (seen_ > 0 && seen_ % distance_ == 0) begin_block();
    const std::size_t piece = std::min<std::uint64_t>(n - at, distance_ - seen_ % distance_);
    const auto tokens = out.subspan(at, piece);
    const std::uint64_t end = blocks_.empty() ? 0 : blocks_.back().begin + kSliceBlock + context_;
    if (seen_ < end) {
      const auto take = tokens.first(std::min<std::uint64_t>(piece, end - seen_));
      blocks_.back().ids.insert(blocks_.back().ids.end(), take.begin(), take.end());
    }
    const auto latest = tokens.last(std::min<std::uint64_t>(piece, context_));
    recent_.insert(recent_.end(), latest.begin(), latest.end());
    if (recent_.size() > context_)
      recent_.erase(recent_.begin(), recent_.end() - static_cast<std::ptrdiff_t>(context_));
    seen_ += piece;
    at += piece;
  }
  return n;
}

Holdout HoldoutSource::take() {
  Holdout out;
  for (const Block& b : blocks_) {
    const auto own = std::min<std::int64_t>(static_cast<std::int64_t>(b.ids.size()) - b.before, kSliceBlock);
    if (own <= 0) continue;
    out.blocks.push_back({static_cast<std::int64_t>(out.ids.size()), b.before, own,
                          static_cast<std::int64_t>(b.ids.size()) - b.before - own});
    out.ids.insert(out.ids.end(), b.ids.begin(), b.ids.end());
  }
  blocks_.clear();
  return out;
}

Counts without_pairs(const Counts& counts) {
  Counts out;
  out.vocab = counts.vocab;
  out.max_lag = counts.max_lag;
  out.tokens = counts.tokens;
  out.corpus_hash = counts.corpus_hash;
  out.unknown_id = counts.unknown_id;
  out.unigram = counts.unigram;
  return out;
}

Counts holdout_counts(Context& ctx, const Counts& counts, std::int32_t lags) {
  const Holdout& h = counts.holdout;
  Counts out;
  out.vocab = counts.vocab;
  out.max_lag = lags;
  out.unigram.resize(counts.unigram.size());
  for_each_run(h, 0, 0, true, [&](auto id, std::int64_t) {
    ++out.unigram[*id];
    ++out.tokens;
  });
  for (std::int32_t l = 1; l <= lags; ++l) {
    const auto pairs = pairs_touching(h, l);
    out.lags.push_back(csr_of(ctx.device(), counts.vocab, pairs));
    out.pairs.push_back(pairs.size());
  }
  return out;
}

std::vector<std::uint64_t> unigram_without_holdout(const Counts& counts) {
  std::vector<std::uint64_t> out = counts.unigram;
  for_each_run(counts.holdout, 0, 0, true, [&](auto id, std::int64_t) {
    if (out[*id]-- == 0) not_of_these_counts();
  });
  return out;
}

Counts without_holdout(Context& ctx, const Counts& counts, std::int32_t lags) {
  const Holdout& h = counts.holdout;
  Counts out = without_pairs(counts);
  out.max_lag = lags;
  out.unigram = unigram_without_holdout(counts);
  for_each_run(h, 0, 0, true, [&](auto, std::int64_t) { --out.tokens; });
  for (std::int32_t l = 1; l <= lags; ++l) {
    const auto pairs = pairs_touching(h, l);
    const CountCsr held_out = csr_of(ctx.device(), counts.vocab, pairs);
    try {
      out.lags.push_back(ctx.count().subtract(at(counts.lags, l - 1).view(), held_out.view()));
    } catch (const InputError&) {
      not_of_these_counts();
    }
    out.pairs.push_back(at(counts.pairs, l - 1) - pairs.size());
  }
  return out;
}

Peak without_holdout_memory(const CountsShape& counts) {
  constexpr std::int64_t pairs = 2 * kMostBlocks * kSliceBlock;  // each own token before one, behind another
  const std::int64_t nnz = std::min(pairs, counts.most_entries());
  const std::uint64_t csr = csr_bytes(counts.vocab, nnz);
  // What subtract() takes, with as much for the prefix sum's workspace; lists that grow have room for more.
  const std::uint64_t numbers = 2 * static_cast<std::uint64_t>(nnz + 1) * sizeof(std::uint64_t),
                      lists = 2 * (csr + pairs * sizeof(std::pair<TokenId, TokenId>));
  Peak out;
  out.reach(on_device(counts.bytes() + csr + numbers) + on_host(lists));
  return out;
}

HoldoutPositions holdout_positions(const Holdout& h, std::int32_t lags, std::int64_t most) {
  HoldoutPositions all;
  all.lags = lags;
  for_each_run(h, lags, -lags, true,
               [&](auto first, std::int64_t block) {  // from the oldest token of the context
                 for (std::int32_t l = 1; l <= lags; ++l) all.context.push_back(first[lags - l]);
                 all.next.push_back(first[lags]);
                 all.block.push_back(block);
               });
  return some_of(all, most);
}

HoldoutPositions some_of(const HoldoutPositions& positions, std::int64_t most) {
  const std::int64_t have = positions.size(), n = std::min(have, most), lags = positions.lags;
  HoldoutPositions out;
  out.lags = positions.lags;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t k = i * have / n;
    const auto context = positions.context.begin() + k * lags;
    out.context.insert(out.context.end(), context, context + lags);
    out.next.push_back(at(positions.next, k));
    out.block.push_back(at(positions.block, k));
  }
  return out;
}

}  // namespace aloft
