#include "profiles/benchmarks/inputs.hpp"

#include <algorithm>
#include <random>

#include "host/corpus.hpp"
#include "host/progress.hpp"

namespace aloft::profiles {
namespace {

struct Sizes {
  std::int64_t dense_vocab, sparse_vocab;
  std::int64_t byte_tokens, dense_tokens, sparse_tokens;
};
// Streams long enough that a run takes milliseconds, short enough that peers finish too.
constexpr Sizes kCpuSizes{4096, 50257, 1 << 24, 1 << 23, 1 << 22};
constexpr Sizes kCudaSizes{16384, 131072, 1 << 26, 1 << 25, 1 << 24};
constexpr std::int64_t kLeastDenseTokens = 1 << 22;
constexpr std::uint64_t kSeed = 20261125;

std::vector<TokenId> text_ids(const std::string& path, const std::string& tokenizer, std::int64_t vocab) {
  NoProgress progress;
  CorpusSpec spec;
  spec.paths = {path};
  spec.format = CorpusFormat::text;
  spec.tokenizer = tokenizer;
  spec.invalid_utf8 = InvalidUtf8::replace;
  if (tokenizer == "words") spec.vocab_size = vocab;
  const auto corpus = open_corpus(spec, progress);
  const auto source = corpus->open();
  std::vector<TokenId> out, block(1 << 16);
  while (const std::size_t n = source->read(block))
    out.insert(out.end(), block.begin(), block.begin() + static_cast<std::ptrdiff_t>(n));
  std::erase(out, kDocumentBreak);  // one document
  return out;
}

void repeat_until(std::vector<TokenId>& ids, std::int64_t least) {
  const std::size_t once = ids.size();
  while (once > 0 && static_cast<std::int64_t>(ids.size()) < least) {
    ids.reserve(ids.size() + once);
    std::copy_n(ids.begin(), once, std::back_inserter(ids));
  }
}

}  // namespace

std::string CountInput::name() const { return benchmark + "_" + source + "_V" + std::to_string(vocab); }

std::vector<TokenId> zipf_ids(std::int64_t n, std::int64_t vocab, std::uint64_t seed) {
  std::vector<double> below(static_cast<std::size_t>(vocab));  // weight of all ids up to this one
  double sum = 0;
  for (std::int64_t i = 0; i < vocab; ++i)
    below[static_cast<std::size_t>(i)] = sum += 1 / static_cast<double>(i + 1);
  std::mt19937_64 rng(seed);
  std::vector<TokenId> out(static_cast<std::size_t>(n));
  for (TokenId& id : out) {
    const double u = static_cast<double>(rng() >> 11) * 0x1p-53 * sum;
    const auto at = std::upper_bound(below.begin(), below.end(), u) - below.begin();
    id = static_cast<TokenId>(std::min<std::ptrdiff_t>(at, vocab - 1));
  }
  return out;
}

std::vector<CountInput> count_inputs(const std::string& backend, const std::string& text) {
  const Sizes& s = backend == "cuda" ? kCudaSizes : kCpuSizes;
  std::vector<CountInput> out;
  out.push_back({"B1", "zipf", 256, zipf_ids(s.byte_tokens, 256, kSeed)});
  out.push_back({"B2", "zipf", s.dense_vocab, zipf_ids(s.dense_tokens, s.dense_vocab, kSeed + 1)});
  out.push_back({"B3", "zipf", s.sparse_vocab, zipf_ids(s.sparse_tokens, s.sparse_vocab, kSeed + 2)});
  if (!text.empty()) {
    out.push_back({"B1", "text", 256, text_ids(text, "bytes", 256)});
    out.push_back({"B2", "text", s.dense_vocab, text_ids(text, "words", s.dense_vocab)});
    repeat_until(out.back().ids, kLeastDenseTokens);
    out.push_back({"B3", "text", s.sparse_vocab, text_ids(text, "words", s.sparse_vocab)});
  }
  return out;
}

}  // namespace aloft::profiles
