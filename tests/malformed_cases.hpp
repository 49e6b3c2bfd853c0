#pragma once
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/cli_helpers.hpp"

namespace aloft::cli_tests {

/// One malformed input. In `commands`, a word `@NAME` (or `--flag=@NAME`) is that name in the case's folder.
struct Malformed {
  std::string defect;  ///< its class
  std::string name;
  std::vector<std::pair<std::string, std::string>> files;  ///< name, content; "NAME/": a folder
  std::vector<Words> commands;                             ///< each must refuse it
  std::string culprit;                                     ///< the file that the message must name
};
using Cases = std::vector<Malformed>;

Cases malformed_texts();
Cases malformed_token_files();
Cases malformed_settings();
Cases malformed_counts();
Cases malformed_holdouts();
Cases malformed_embeddings();

// How the program is called

inline const Words kSmallModel{"--arch", "gpt2", "--layers",    "1", "--d-model", "8",     "--heads", "1",
                               "--lags", "2",    "--pr-target", "2", "--recipe",  "spread"};

inline Words init_with(const Words& flags) {
  return Words{"init", "--quiet"} + kSmallModel + flags + Words{"--output", "@run"};
}
inline Words count_with(const Words& flags) {
  return Words{"count", "--quiet", "--lags", "2"} + flags +
         Words{"--output", "@counts-out.safetensors", "--vocab-output", "@vocab-out.json"};
}

/// A corpus file that neither `count` nor `init` may take.
inline Malformed bad_corpus(std::string defect, std::string name, const std::string& file,
                            std::string content, const Words& flags) {
  const Words all = Words{"--corpus", "@" + file} + flags;
  return {std::move(defect),
          std::move(name),
          {{file, std::move(content)}},
          {count_with(all), init_with(all)},
          file};
}

/// `text` with its only `from` replaced: what is wrong with a file is in one place.
inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  if (at == std::string::npos) throw std::logic_error("nothing to replace: " + from);
  return text.replace(at, from.size(), to);
}

// Sound files, each the base of a family of defects

inline const std::string kSoundText = "the cat sat on the mat and the dog sat on the cat and the mat\n";
inline const std::string kSoundVocabulary =
    R"({"tokenizer":"words","version":1,"lowercase":true,"tokens":["<unk>","the","cat","sat","on"]})";
inline const std::string kSoundArchitecture = R"({
  "name": "mine",
  "tensors": {"fusion": "separate", "orientation": "out_in", "query": "l.{layer}.q", "key": "l.{layer}.k",
              "value": "l.{layer}.v", "output": "l.{layer}.o", "embedding": "wte", "head": "lm_head"},
  "tied_head": true,
  "norm": "rmsnorm",
  "attention": {"grouped_query": true, "free_head_dim": true, "bias": false, "qk_norm": false},
  "position": {"kind": "rope", "pairing": "half", "base": 10000},
  "init": {"std": 0.02, "residual_scaled": false}
})";
inline const std::string kSoundModelConfig = R"({
  "model_type": "llama", "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
  "hidden_size": 8, "max_position_embeddings": 64, "vocab_size": 64, "rope_theta": 10000.0,
  "initializer_range": 0.02, "tie_word_embeddings": false, "rope_scaling": {"rope_type": "linear", "factor": 2.0}
})";
inline const std::string kSoundYaml = "vocab-size: 12\nlags: 2\nlayer-lags: [1]\nquiet: true\nseed: 7\n";

/// llm.c: 256 int32 of header, then ids.
inline std::string llmc(std::int64_t magic, std::int64_t version, std::int64_t tokens,
                        const std::string& ids) {
  return le<std::int32_t>({magic, version, tokens}) + std::string(253 * 4, '\0') + ids;
}
inline const std::string kSoundIds16 = le<std::uint16_t>({1, 2, 3, 1, 2, 4, 3, 2, 1, 1, 2, 3});
inline const std::string kSoundIds32 = le<std::uint32_t>({1, 2, 3, 1, 2, 4, 3, 2, 1, 1, 2, 3});
inline const std::string kSoundLlmc = llmc(20240520, 1, 12, kSoundIds16);
inline std::string npy_ids(
    const std::string& header = "{'descr': '<u2', 'fortran_order': False, 'shape': (12,), }",
    const std::string& data = kSoundIds16) {
  return npy(header, data);
}

/// A SentencePiece model (protobuf): field 1 pieces {text, score, type}, 2 trainer, 3 normalizer.
inline std::string proto(int field, const std::string& text) {
  return std::string{static_cast<char>(field << 3 | 2), static_cast<char>(text.size())} + text;
}
inline std::string proto(int field, char value) { return {static_cast<char>(field << 3), value}; }
inline std::string piece(const std::string& text, char type) {
  return proto(1, proto(1, text) + std::string("\x15\0\0\x80\xbf", 5) + proto(3, type));  // score -1
}
inline const std::string kSoundPieces = piece("<unk>", 2) + piece("<s>", 3) + piece("</s>", 3) +
                                        piece("\xe2\x96\x81the", 1) + piece("\xe2\x96\x81", 1) +
                                        piece("a", 1) + piece("t", 1);
inline const std::string kSoundModelTail =
    proto(2, proto(3, '\1')) +
    proto(3, proto(1, "identity") + proto(3, '\1') + proto(4, '\1') + proto(5, '\1'));

/// A safetensors file tensor by tensor.
struct Tensors {
  struct One {
    std::string name, dtype, shape, data;
  };
  std::map<std::string, std::string> metadata;
  std::vector<One> all;

  One& operator[](const std::string& name) {
    for (One& t : all)
      if (t.name == name) return t;
    throw std::logic_error("no tensor " + name);
  }
  void drop(const std::string& name) {
    std::erase_if(all, [&](const One& t) { return t.name == name; });
  }
  [[nodiscard]] std::string json() const {
    std::string out = "{\"__metadata__\":{", separator;
    for (const auto& [key, value] : metadata) {
      out += separator + "\"" + key + "\":\"" + value + "\"";
      separator = ",";
    }
    out += "}";
    std::size_t at = 0;
    for (const One& t : all) {
      out += ",\"" + t.name + "\":{\"dtype\":\"" + t.dtype + "\",\"shape\":" + t.shape +
             ",\"data_offsets\":[" + std::to_string(at) + "," + std::to_string(at + t.data.size()) + "]}";
      at += t.data.size();
    }
    return out + "}";
  }
  [[nodiscard]] std::string data() const {
    std::string out;
    for (const One& t : all) out += t.data;
    return out;
  }
  [[nodiscard]] std::string file() const { return safetensors(json(), data()); }
};

/// counts.safetensors of the corpus 0 1 2 0 1 2 1 (vocabulary 3) at lags 1 and 2.
inline Tensors sound_counts() {
  Tensors t;
  t.metadata = {{"artifact", "counts"}, {"format", "pt"},      {"vocab_size", "3"}, {"max_lag", "2"},
                {"tokens", "7"},        {"corpus_hash", "00"}, {"pairs_lag1", "6"}, {"pairs_lag2", "5"}};
  t.all = {{"unigram", "U64", "[3]", le<std::uint64_t>({2, 3, 2})},
           {"lag1.row_offsets", "U64", "[4]", le<std::uint64_t>({0, 1, 2, 4})},
           {"lag1.columns", "U32", "[4]", le<std::uint32_t>({1, 2, 0, 1})},
           {"lag1.counts", "U64", "[4]", le<std::uint64_t>({2, 2, 1, 1})},
           {"lag2.row_offsets", "U64", "[4]", le<std::uint64_t>({0, 1, 3, 4})},
           {"lag2.columns", "U32", "[4]", le<std::uint32_t>({2, 0, 1, 1})},
           {"lag2.counts", "U64", "[4]", le<std::uint64_t>({2, 1, 1, 1})}};
  return t;
}

/// The same with a held-out slice (malformed_holdout_cases.cpp).
Tensors sound_counts_with_slice();

}  // namespace aloft::cli_tests
