#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/token_source.hpp"
#include "kernels/sparse.hpp"
#include "pipeline/base/artifact_file.hpp"
#include "pipeline/base/context.hpp"
#include "pipeline/base/stage.hpp"
#include "pipeline/counts/shuffled_entries.hpp"

// The page to begin with for counting: a corpus in, the exact pair counts J_1..J_max_lag out. plan.hpp
// decides how (and says why), accumulator.hpp does it, holdout.hpp sets a slice of the text aside,
// marginals.hpp sums.
//
// Here as in the other rooms: no stage keeps state, and each result can be saved and loaded. Where a stage
// takes memory worth planning, NAME_memory says how much before any work: all that it allocates, its result
// included, its arguments not; never less than it takes, and at most a quarter more where the counts' shape
// is exact.

namespace aloft {

inline constexpr Stage kCount{.name = "count", .artifact = "counts", .more_files = {"vocab.json"}};

/// Short blocks of the token stream, evenly spread over it, each with the tokens around it (holdout.hpp).
struct Holdout {
  struct Block {
    std::int64_t first = 0;                       ///< where its tokens start in ids
    std::int64_t before = 0, own = 0, after = 0;  ///< how many come before, in and after the block
  };
  std::vector<std::uint32_t> ids;  ///< may hold document breaks
  std::vector<Block> blocks;
};

/// J_1..J_max_lag and the unigram of one corpus. Exact. Lag n (1-based) is item n − 1 of every list.
struct Counts {
  std::int64_t vocab = 0;
  std::int32_t max_lag = 0;
  std::uint64_t tokens = 0;            ///< document breaks not included
  std::string corpus_hash;             ///< XXH3-128 of the id stream, breaks included
  std::optional<TokenId> unknown_id;   ///< of what the tokenizer has no id for; nothing: none, or not known
  std::vector<std::uint64_t> unigram;  ///< [vocab]
  std::vector<CountCsr> lags;          ///< [max_lag] of [vocab, vocab]
  std::vector<std::uint64_t> pairs;    ///< [max_lag] N_n = sum of J_n
  Holdout holdout;                     ///< part of the corpus and of these counts; may be empty
};
/// lag{n}.row_offsets U64 [V+1], lag{n}.columns U32, lag{n}.counts U64 (n = 1..lags); unigram U64 [V]; where
/// a slice was held out, holdout.ids U32 and holdout.blocks I64 [blocks, 4] (first id, tokens before, in and
/// after it). `with`: another file, which appears together with this one.
void save(const std::string& path, const Counts& counts, const std::string& key, AtomicFile* with = nullptr);
template <>
[[nodiscard]] std::optional<Counts> load<Counts>(Device& device, const std::string& path,
                                                 const std::string& key);

/// What of some counts decides how much memory the stages that read them take.
struct CountsShape {
  std::int64_t vocab = 0;
  std::vector<std::int64_t> entries;  ///< [lags] pairs that each stores, or upper estimates
  [[nodiscard]] std::int64_t most_entries() const;
  [[nodiscard]] std::uint64_t bytes() const;  ///< of all lags
};
[[nodiscard]] CountsShape shape_of(const Counts& counts);
/// Of counts that take so many bytes, the same at each lag.
[[nodiscard]] CountsShape shape_of_bytes(std::int64_t vocab, std::int64_t lags, std::uint64_t bytes);

/// dense: one table of counters; striped: a table for some of its rows at a time, the corpus streamed once
/// for each; sparse: no table, positions are grouped or sorted.
enum class CountStrategy { automatic, dense, striped, sparse };

struct CountParams {
  std::int64_t vocab = 0;
  std::int32_t max_lag = 8;
  CountStrategy strategy = CountStrategy::automatic;
  std::int64_t chunk_tokens = 0;      ///< 0: chosen from the plan
  std::int64_t stripe_rows = 0;       ///< striped: source ids counted in a pass; 0: as many as fit
  std::uint64_t memory_bytes = 0;     ///< host memory for all of it; 0: no limit
  std::uint64_t program_bytes = 0;    ///< of which the program takes so much whatever it counts
  std::uint64_t device_bytes = 0;     ///< a device's own memory for all of it; 0: it shares the host's
  bool repeatable = true;             ///< the corpus can be streamed more than once
  std::uint64_t expected_tokens = 0;  ///< for the plan and for `automatic`; 0: unknown
  std::vector<std::int64_t> expected_entries = {};  ///< [lags] pairs stored, for the plan; empty: estimated
  double expected_growth = 1;  ///< with the text's length, to this power (expected_entries.hpp)
  std::vector<FrequencyClass> frequencies = {};  ///< of its ids, to plan counting it shuffled; empty: unknown
  std::uint64_t flush_after =
      0xFFFF'FFFFu;  ///< positions a u32 table may take in before it is emptied into u64
};
/// Starts another pass over the corpus.
using OpenPass = std::function<std::unique_ptr<TokenSource>()>;
/// Streams the corpus as often as plan_count() says, mostly once. Any strategy, chunk size, stripe and thread
/// count give the same bits. Throws InputError when two passes differ, and what plan_count() throws.
[[nodiscard]] Counts count_transitions(Context& ctx, const CountParams& p, const OpenPass& open);
/// Throws InputError naming `origin`, a file, when no two tokens of it are neighbours.
void require_pairs(const Counts& counts, const std::string& origin);

/// Counts of text whose tokens were drawn independently from the unigram (a shuffled corpus), the null of
/// every asymmetry and spectrum: `tokens` tokens, one document, reproducible from the seed. Of `limits` only
/// the memory counts, and, where they are for as many tokens, what is expected. max_lag 0: as counts.
[[nodiscard]] Counts count_shuffled_null(Context& ctx, const Counts& counts, std::uint64_t tokens,
                                         std::uint64_t seed, const CountParams& limits = {},
                                         std::int32_t max_lag = 0);
/// What to plan it with, and its limits: those of the text that `counting` counts.
[[nodiscard]] CountParams params_of_shuffled(const CountParams& counting, std::uint64_t tokens);

}  // namespace aloft
