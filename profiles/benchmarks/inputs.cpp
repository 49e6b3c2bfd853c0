#include "profiles/benchmarks/inputs.hpp"

#include <algorithm>
#include <random>

#include "host/corpus.hpp"
#include "host/progress.hpp"

namespace aloft::profiles {
namespace {

constexpr std::uint64_t kSeed = 20261125;

std::vector<TokenId> text_ids(const std::string& path, const std::string& tokenizer, std::int64_t vocab) {
  NoProgress progress;
  CorpusSpec spec;
  spec.paths = {path};
  spec.format = "text";
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
  const auto scaled = [&](std::uint64_t bits) { return static_cast<double>(bits) * 0x1p-53 * sum; };
  // guide[b]: where the search would end for the least draw whose top bits are b. It rises with the draw, so
  // a draw's own answer is between its guide and the next: the same id as from all of `below`, much sooner.
  constexpr int kDrawBits = 53, kGuideBits = 16;
  std::vector<std::ptrdiff_t> guide((std::size_t{1} << kGuideBits) + 1);
  for (std::size_t b = 0; b < guide.size(); ++b) {
    const double u = scaled(std::uint64_t{b} << (kDrawBits - kGuideBits));
    guide[b] = std::upper_bound(below.begin(), below.end(), u) - below.begin();
  }
  std::mt19937_64 rng(seed);
  std::vector<TokenId> out(static_cast<std::size_t>(n));
  for (TokenId& id : out) {
    const std::uint64_t bits = rng() >> 11;
    const auto b = static_cast<std::size_t>(bits >> (kDrawBits - kGuideBits));
    const auto at = std::upper_bound(below.begin() + guide[b], below.begin() + guide[b + 1], scaled(bits));
    id = static_cast<TokenId>(std::min<std::ptrdiff_t>(at - below.begin(), vocab - 1));
  }
  return out;
}

// Streams long enough that a run takes milliseconds, short enough that peers finish too. Text stays as it is,
// except for B2, where its 10^6 words would fill a table in no time.
std::vector<CountInput> count_inputs(const std::string& backend, bool with_text, Scale scale) {
  const bool cuda = backend == "cuda";
  const std::int64_t dense_vocab = scale.width(cuda ? 16384 : 4096),
                     sparse_vocab = scale.width(cuda ? 131072 : 50257);
  const auto tokens = [&](int power) { return scale.length((cuda ? std::int64_t{4} : 1) << power); };
  std::vector<CountInput> out{{"B1", "zipf", 256, tokens(24), scale},
                              {"B2", "zipf", dense_vocab, tokens(23), scale},
                              {"B3", "zipf", sparse_vocab, tokens(22), scale}};
  if (with_text) {
    out.push_back({"B1", "text", 256, 0, scale});
    out.push_back({"B2", "text", dense_vocab, tokens(22), scale});
    out.push_back({"B3", "text", sparse_vocab, 0, scale});
  }
  return out;
}

std::vector<TokenId> make_ids(const CountInput& input, const std::string& text) {
  if (input.source == "zipf")
    return zipf_ids(input.tokens, input.vocab, kSeed + static_cast<std::uint64_t>(input.vocab));
  auto ids = text_ids(text, input.benchmark == "B1" ? "bytes" : "words", input.vocab);
  ids.resize(static_cast<std::size_t>(input.scale.length(static_cast<std::int64_t>(ids.size()))));
  repeat_until(ids, input.tokens);
  return ids;
}

}  // namespace aloft::profiles
