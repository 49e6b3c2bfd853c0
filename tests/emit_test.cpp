#include "pipeline/emit.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <complex>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "host/error.hpp"
#include "tools/aloft/builtin_architectures.hpp"

// Two independent checks. The layout tests say, index by index and without looking at the architecture
// description, where each number of the canonical form must lie in the file. The score test runs the
// attention of a model that pairs, turns and scales in its own way on the emitted rows, and compares with the
// canonical formula.

namespace {

namespace fs = std::filesystem;
using namespace aloft;

std::string built_in(const std::string& name) {
  for (const auto& a : builtin_architectures())
    if (a.name == name) return a.json;
  throw Error("no built-in " + name);
}
Architecture architecture(const std::string& name) { return parse_architecture(built_in(name), name); }

/// Random numbers without any symmetry; heads·head_dim = d, so that a transposed W_O has the same shape.
HeadWeights random_heads(const ModelShape& s, bool with_embedding) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  const auto fill = [&](std::int64_t n) {
    std::vector<float> x(static_cast<std::size_t>(n));
    for (float& v : x) v = normal(random);
    return x;
  };
  HeadWeights w;
  for (std::int64_t l = 0; l < s.layers; ++l) {
    LayerHeads layer;
    layer.query = fill(s.heads * s.head_dim * s.d_model);
    layer.key = fill(s.kv_heads * s.head_dim * s.d_model);
    layer.value = fill(s.kv_heads * s.head_dim * s.d_model);
    layer.output = fill(s.heads * s.head_dim * s.d_model);
    w.layers.push_back(std::move(layer));
  }
  if (with_embedding) w.embedding = fill(s.vocab * s.d_model);
  return w;
}

class Emit : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("aloft-emit-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    path_ = (folder_ / "init.safetensors").string();
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_;
  std::string path_;
};

/// Where entry [h][r][c] of a canonical tensor lies: name, row and column in the file.
struct Place {
  std::string name;
  std::int64_t row, column;
};
enum class Part { query, key, value, output };
using Layout = std::function<Place(const ModelShape&, std::int64_t layer, Part, std::int64_t h,
                                   std::int64_t r, std::int64_t c)>;

Place linear(const std::string& name, std::int64_t row, std::int64_t column) { return {name, row, column}; }

Place nanogpt(const ModelShape& s, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
  const std::string block = "transformer.h." + std::to_string(l) + ".attn.";
  if (p == Part::output) return linear(block + "c_proj.weight", c, h * s.head_dim + r);
  return linear(block + "c_attn.weight", static_cast<std::int64_t>(p) * s.d_model + h * s.head_dim + r, c);
}
Place gpt2(const ModelShape& s, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
  Place at = nanogpt(s, l, p, h, r, c);
  std::swap(at.row, at.column);  // Conv1D
  return at;
}
Place llama(const ModelShape& s, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
  const std::string block = "model.layers." + std::to_string(l) + ".self_attn.";
  if (p == Part::output) return linear(block + "o_proj.weight", c, h * s.head_dim + r);
  const char* name = p == Part::query ? "q" : p == Part::key ? "k" : "v";
  return linear(block + name + "_proj.weight", h * s.head_dim + r, c);
}
Place neox(const ModelShape& s, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
  const std::string block = "gpt_neox.layers." + std::to_string(l) + ".attention.";
  if (p == Part::output) return linear(block + "dense.weight", c, h * s.head_dim + r);
  return linear(block + "query_key_value.weight", (h * 3 + static_cast<std::int64_t>(p)) * s.head_dim + r, c);
}
/// GPT-J: interleaved pairs in the first half of each head (rotary_dim = head_dim / 2 in this test).
Place gptj(const ModelShape& s, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
  const std::string block = "transformer.h." + std::to_string(l) + ".attn.";
  if (p == Part::output) return linear(block + "out_proj.weight", c, h * s.head_dim + r);
  const std::int64_t rotary = s.head_dim / 2;
  std::int64_t row = r;
  if (p != Part::value && r < rotary) row = r < rotary / 2 ? 2 * r : 2 * (r - rotary / 2) + 1;
  const char* name = p == Part::query ? "q" : p == Part::key ? "k" : "v";
  return linear(block + name + "_proj.weight", h * s.head_dim + row, c);
}

constexpr const char* kGptj = R"({"name":"gptj","tensors":{"fusion":"separate","orientation":"out_in",
  "query":"transformer.h.{layer}.attn.q_proj.weight","key":"transformer.h.{layer}.attn.k_proj.weight",
  "value":"transformer.h.{layer}.attn.v_proj.weight","output":"transformer.h.{layer}.attn.out_proj.weight",
  "embedding":"transformer.wte.weight","head":"lm_head.weight"},"tied_head":false,"norm":"layernorm",
  "attention":{"grouped_query":false,"free_head_dim":false,"bias":false,"qk_norm":false},
  "position":{"kind":"rope","pairing":"interleaved","base":10000,"fraction":0.5},
  "init":{"std":0.02,"residual_scaled":false}})";

/// Entries of the file that differ from round(canonical), over all layers; every entry of the file must be
/// reached.
std::int64_t differences(const std::string& path, const ModelShape& s, const HeadWeights& w,
                         const Layout& layout, const std::function<float(float)>& round) {
  const SafetensorsReader file(path);
  std::map<std::string, std::vector<double>> tensors;
  std::map<std::string, std::vector<bool>> reached;
  for (const TensorInfo& t : file.tensors()) {
    tensors[t.name] = file.read_real(t.name, t.shape);
    reached[t.name].resize(tensors[t.name].size());
  }
  std::int64_t wrong = 0;
  for (std::int64_t l = 0; l < s.layers; ++l)
    for (const Part p : {Part::query, Part::key, Part::value, Part::output}) {
      const LayerHeads& layer = w.layers[static_cast<std::size_t>(l)];
      const auto& canonical = p == Part::query   ? layer.query
                              : p == Part::key   ? layer.key
                              : p == Part::value ? layer.value
                                                 : layer.output;
      const std::int64_t heads = p == Part::query || p == Part::output ? s.heads : s.kv_heads;
      for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t r = 0; r < s.head_dim; ++r)
          for (std::int64_t c = 0; c < s.d_model; ++c) {
            const Place at = layout(s, l, p, h, r, c);
            const auto& shape = file.info(at.name).shape;
            const auto index = static_cast<std::size_t>(at.row * shape.at(1) + at.column);
            const float expected =
                round(canonical[static_cast<std::size_t>((h * s.head_dim + r) * s.d_model + c)]);
            if (at.row >= shape.at(0) || at.column >= shape.at(1) ||
                tensors[at.name].at(index) != static_cast<double>(expected))
              ++wrong;
            else
              reached[at.name][index] = true;
          }
    }
  for (const auto& [name, bits] : reached) {
    const bool embedding = name.find("wte") != std::string::npos || name.find("embed") != std::string::npos;
    if (wrong == 0 && !embedding) {
      EXPECT_EQ(std::count(bits.begin(), bits.end(), false), 0) << name;
    }
  }
  return wrong;
}

float same(float x) { return x; }

struct LayoutCase {
  const char* name;
  std::string json;
  Layout layout;
  ModelShape shape;
};

std::vector<LayoutCase> layout_cases() {
  const ModelShape plain{2, 4, 4, 8, 32, 16, 11, 10000}, grouped{2, 4, 2, 8, 32, 16, 11, 10000};
  return {{"nanogpt", built_in("nanogpt"), nanogpt, plain},
          {"nanogpt-rope", built_in("nanogpt-rope"), nanogpt, plain},
          {"gpt2", built_in("gpt2"), gpt2, plain},
          {"llama", built_in("llama"), llama, plain},
          {"llama grouped", built_in("llama"), llama, grouped},
          {"llama wide heads", built_in("llama"), llama, {1, 4, 1, 12, 32, 16, 11, 10000}},
          {"neox", built_in("neox"), neox, plain},
          {"gptj", kGptj, gptj, plain}};
}

TEST_F(Emit, EveryNumberLiesWhereTheModelReadsIt) {
  for (const LayoutCase& c : layout_cases()) {
    const Architecture arch = parse_architecture(c.json, c.name);
    const HeadWeights w = random_heads(c.shape, true);
    emit(path_, arch, c.shape, w, DType::f32, {});
    EXPECT_EQ(differences(path_, c.shape, w, c.layout, same), 0) << c.name;
    EXPECT_EQ(SafetensorsReader(path_).read<float>(arch.embedding, {c.shape.vocab, c.shape.d_model}),
              w.embedding)
        << c.name;
    emit(path_, arch, c.shape, w, DType::bf16, {});
    EXPECT_EQ(differences(path_, c.shape, w, c.layout, [](float x) { return from_bf16(to_bf16(x)); }), 0)
        << c.name;
    emit(path_, arch, c.shape, w, DType::f16, {});
    EXPECT_EQ(differences(path_, c.shape, w, c.layout, [](float x) { return from_f16(to_f16(x)); }), 0)
        << c.name;
  }
}

// The check above can fail: the same file read as a layout that is wrong in one way only.
TEST_F(Emit, WrongLayoutsAreTold) {
  const ModelShape s{2, 4, 4, 8, 32, 16, 11, 10000};
  const HeadWeights w = random_heads(s, false);
  const auto wrong = [&](const char* name, const Layout& layout) {
    return differences(path_, s, w, layout, same) > 1000 ? "" : name;
  };

  emit(path_, architecture("llama"), s, w, DType::f32, {});
  const auto transposed_only = [](Part which) {
    return
        [which](const ModelShape& m, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
          Place at = llama(m, l, p, h, r, c);
          if (p == which) std::swap(at.row, at.column);
          return at;
        };
  };
  for (const Part p : {Part::query, Part::key, Part::value, Part::output})
    EXPECT_STREQ(wrong("transposed", transposed_only(p)), "");
  EXPECT_STREQ(
      wrong("heads and rows exchanged",
            [](const ModelShape& m, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
              Place at = llama(m, l, p, 0, 0, c);
              if (p == Part::output) return llama(m, l, p, h, r, c);
              at.row = r * m.heads + h;
              return at;
            }),
      "");
  emit(path_, architecture("neox"), s, w, DType::f32, {});
  EXPECT_STREQ(
      wrong("fused in blocks",
            [](const ModelShape& m, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
              Place at = neox(m, l, p, h, r, c);
              if (p != Part::output) at.row = static_cast<std::int64_t>(p) * m.d_model + h * m.head_dim + r;
              return at;
            }),
      "");
  emit(path_, parse_architecture(kGptj, "gptj"), s, w, DType::f32, {});
  EXPECT_STREQ(
      wrong("half pairs",
            [](const ModelShape& m, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
              Place at = gptj(m, l, p, h, r, c);
              if (p != Part::output) at.row = h * m.head_dim + r;
              return at;
            }),
      "");
}

// ---- scores
// -----------------------------------------------------------------------------------------------------

using Complex = std::complex<double>;

/// Score of head `h` between x at position t and y at position u, from the emitted q_proj and k_proj, as a
/// model with these conventions computes it.
double model_score(const SafetensorsReader& file, const Architecture& a, const ModelShape& s, std::int64_t h,
                   const std::vector<double>& x, double t, const std::vector<double>& y, double u) {
  const auto project = [&](const char* name, std::int64_t head, const std::vector<double>& in) {
    const auto w = file.read_real(name, {-1, s.d_model});
    std::vector<double> out(static_cast<std::size_t>(s.head_dim));
    for (std::size_t r = 0; r < out.size(); ++r)
      for (std::size_t c = 0; c < in.size(); ++c)
        out[r] += w[(static_cast<std::size_t>(head * s.head_dim) + r) * in.size() + c] * in[c];
    return out;
  };
  const auto rotary =
      static_cast<std::size_t>(std::floor(static_cast<double>(s.head_dim) * a.rotary_fraction));
  const auto turn = [&](std::vector<double> v, double position) {
    for (std::size_t i = 0; i < rotary / 2; ++i) {
      const bool interleaved = a.pairing == Architecture::Pairing::interleaved;
      const std::size_t first = interleaved ? 2 * i : i, second = interleaved ? 2 * i + 1 : i + rotary / 2;
      const double theta = std::pow(a.rope_base, -2.0 * static_cast<double>(i) / static_cast<double>(rotary));
      const Complex z = Complex(v[first], v[second]) * std::polar(1.0, a.rope_sign * position * theta);
      v[first] = z.real();
      v[second] = z.imag();
    }
    return v;
  };
  const auto q = turn(project("model.layers.0.self_attn.q_proj.weight", h, x), t);
  const auto k = turn(project("model.layers.0.self_attn.k_proj.weight", h / (s.heads / s.kv_heads), y), u);
  double dot = 0;
  for (std::size_t r = 0; r < q.size(); ++r) dot += q[r] * k[r];
  return dot * a.score_scale.value_or(1 / std::sqrt(static_cast<double>(s.head_dim)));
}

/// The same from the canonical form: pairs (i, i + R/2), turning by +θ, scores over √head_dim.
double canonical_score(const LayerHeads& layer, const Architecture& a, const ModelShape& s, std::int64_t h,
                       const std::vector<double>& x, double t, const std::vector<double>& y, double u) {
  const auto d = static_cast<std::size_t>(s.d_model), dh = static_cast<std::size_t>(s.head_dim);
  const auto rotary =
      static_cast<std::size_t>(std::floor(static_cast<double>(s.head_dim) * a.rotary_fraction));
  const auto g = static_cast<std::size_t>(h / (s.heads / s.kv_heads));
  const auto row = [&](const std::vector<float>& w, std::size_t head, std::size_t r,
                       const std::vector<double>& in) {
    double sum = 0;
    for (std::size_t c = 0; c < d; ++c) sum += static_cast<double>(w[(head * dh + r) * d + c]) * in[c];
    return sum;
  };
  double score = 0;
  for (std::size_t i = 0; i < rotary / 2; ++i) {
    const double theta = std::pow(a.rope_base, -2.0 * static_cast<double>(i) / static_cast<double>(rotary));
    const Complex q(row(layer.query, static_cast<std::size_t>(h), i, x),
                    row(layer.query, static_cast<std::size_t>(h), i + rotary / 2, x));
    const Complex k(row(layer.key, g, i, y), row(layer.key, g, i + rotary / 2, y));
    score += (std::conj(q) * k * std::polar(1.0, (u - t) * theta)).real();
  }
  for (std::size_t r = rotary; r < dh; ++r)
    score += row(layer.query, static_cast<std::size_t>(h), r, x) * row(layer.key, g, r, y);
  return score / std::sqrt(static_cast<double>(dh));
}

TEST_F(Emit, ModelsThatPairTurnAndScaleInTheirOwnWayComputeTheCanonicalScore) {
  const ModelShape s{1, 4, 2, 8, 24, 64, 11, 10000};
  const HeadWeights w = random_heads(s, false);
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  int compared = 0;
  for (const auto pairing : {Architecture::Pairing::half, Architecture::Pairing::interleaved})
    for (const int sign : {1, -1})
      for (const double fraction : {1.0, 0.5})
        for (const std::optional<double> scale :
             {std::optional<double>(), std::optional<double>(1.0), std::optional<double>(0.07)}) {
          Architecture a = architecture("llama");
          a.pairing = pairing;
          a.rope_sign = sign;
          a.rotary_fraction = fraction;
          a.score_scale = scale;
          emit(path_, a, s, w, DType::f32, {});
          const SafetensorsReader file(path_);
          Architecture other = a;  // a model of the other sign must not agree
          other.rope_sign = -sign;
          double worst_other = 0;
          for (std::int64_t h = 0; h < s.heads; ++h)
            for (int trial = 0; trial < 4; ++trial) {
              std::vector<double> x(24), y(24);
              for (double& v : x) v = normal(random);
              for (double& v : y) v = normal(random);
              const double t = static_cast<double>(random() % 64),
                           u = t - 1 - static_cast<double>(random() % 20);
              const double expected = canonical_score(w.layers[0], a, s, h, x, t, y, u);
              ASSERT_NEAR(model_score(file, a, s, h, x, t, y, u), expected, 1e-5 * (1 + std::abs(expected)));
              worst_other =
                  std::max(worst_other, std::abs(model_score(file, other, s, h, x, t, y, u) - expected));
              ++compared;
            }
          EXPECT_GT(worst_other, 1.0);
        }
  EXPECT_EQ(compared, 2 * 2 * 2 * 3 * 4 * 4);
}

// ---- the file as a whole
// ----------------------------------------------------------------------------------------

TEST_F(Emit, TensorsMetadataAndBytesAreDeterministic) {
  const ModelShape s{2, 4, 2, 8, 32, 16, 11, 10000};
  const HeadWeights w = random_heads(s, true);
  const Architecture llama_arch = architecture("llama");
  emit(path_, llama_arch, s, w, DType::bf16, {{"recipe", "random"}});
  const std::string first = read_file(path_);
  emit(path_, llama_arch, s, w, DType::bf16, {{"recipe", "random"}});
  EXPECT_EQ(read_file(path_), first);

  const SafetensorsReader file(path_);
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"recipe", "random"}}));
  const auto declared = emitted_tensors(llama_arch, s, true, DType::bf16);
  ASSERT_EQ(file.tensors().size(), declared.size());
  ASSERT_EQ(declared.size(), 9u);
  for (std::size_t i = 0; i < declared.size(); ++i) {
    EXPECT_EQ(file.tensors()[i].name, declared[i].name);
    EXPECT_EQ(file.tensors()[i].shape, declared[i].shape);
    EXPECT_EQ(file.tensors()[i].dtype, DType::bf16);
  }
  EXPECT_EQ(declared[2].name, "model.layers.0.self_attn.k_proj.weight");
  EXPECT_EQ(declared[2].shape, (std::vector<std::int64_t>{16, 32}));
  EXPECT_EQ(
      emitted_tensors(architecture("gpt2"), {1, 4, 4, 8, 32, 16, 11, 10000}, false, DType::f32)[0].shape,
      (std::vector<std::int64_t>{32, 96}));
}

TEST_F(Emit, ATiedModelGetsItsEmbeddingOnce) {
  const ModelShape s{1, 4, 4, 8, 32, 16, 11, 10000};
  for (const char* name : {"gpt2", "nanogpt", "nanogpt-rope"}) {
    emit(path_, architecture(name), s, random_heads(s, true), DType::f32, {});
    const SafetensorsReader file(path_);
    EXPECT_TRUE(file.contains("transformer.wte.weight")) << name;
    EXPECT_FALSE(file.contains("lm_head.weight")) << name;
    EXPECT_EQ(file.tensors().size(), 3u) << name;
  }
  emit(path_, architecture("gpt2"), s, random_heads(s, false), DType::f32, {});
  EXPECT_EQ(SafetensorsReader(path_).tensors().size(), 2u);  // without one, the model's own stays
}

TEST_F(Emit, WhatCannotBeWrittenIsRefusedAndLeavesNoFile) {
  const ModelShape s{1, 4, 4, 8, 32, 16, 11, 10000};
  const Architecture a = architecture("llama");
  HeadWeights w = random_heads(s, false);
  EXPECT_THROW(emit(path_, a, s, w, DType::f64, {}), UsageError);
  EXPECT_THROW(emit(path_, architecture("gpt2"), {1, 4, 2, 8, 32, 16, 11, 10000}, w, DType::f32, {}),
               UsageError);
  w.layers[0].key[5] = 70000;
  EXPECT_THROW(emit(path_, a, s, w, DType::f16, {}), NumericError);
  w.layers[0].key[5] = std::nanf("");
  EXPECT_THROW(emit(path_, a, s, w, DType::f32, {}), NumericError);
  EXPECT_THROW(save_heads(path_, s, w, {}), NumericError);
  w.layers[0].key.pop_back();
  EXPECT_THROW(emit(path_, a, s, w, DType::f32, {}), Error);
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(Emit, HeadsAreSavedAsTheyAre) {
  const ModelShape s{2, 4, 2, 8, 32, 16, 11, 10000};
  const HeadWeights w = random_heads(s, true);
  save_heads(path_, s, w, {{"seed", "3"}});
  const SafetensorsReader file(path_);
  EXPECT_EQ(file.tensors().size(), 9u);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.metadata().at("seed"), "3");
  for (std::size_t l = 0; l < 2; ++l) {
    const std::string prefix = "layer" + std::to_string(l) + ".";
    EXPECT_EQ(file.read<float>(prefix + "query", {4, 8, 32}), w.layers[l].query);
    EXPECT_EQ(file.read<float>(prefix + "key", {2, 8, 32}), w.layers[l].key);
    EXPECT_EQ(file.read<float>(prefix + "value", {2, 8, 32}), w.layers[l].value);
    EXPECT_EQ(file.read<float>(prefix + "output", {4, 8, 32}), w.layers[l].output);
  }
  EXPECT_EQ(file.read<float>("embedding", {11, 32}), w.embedding);
}

// Files for tests/python: ALOFT_SAMPLES=FOLDER makes FOLDER/NAME/{init,heads}.safetensors, one folder a
// layout.
TEST_F(Emit, WritesSamplesOnRequest) {
  const char* folder = std::getenv("ALOFT_SAMPLES");
  if (folder == nullptr) GTEST_SKIP() << "ALOFT_SAMPLES is not set";
  const std::string requests = read_file((fs::path(folder) / "requests.json").string());
  for (const auto& request : nlohmann::json::parse(requests)) {
    const fs::path out = fs::path(folder) / request.at("name").get<std::string>();
    const ModelShape s{
        request.at("layers"),  request.at("heads"),   request.at("kv_heads"), request.at("head_dim"),
        request.at("d_model"), request.at("context"), request.at("vocab"),    10000};
    fs::create_directories(out);
    HeadWeights w = random_heads(s, false);
    for (LayerHeads& layer : w.layers)
      for (auto* part : {&layer.query, &layer.key, &layer.value, &layer.output})
        for (float& x : *part) x *= 0.02F;
    emit((out / "init.safetensors").string(), parse_architecture(request.at("architecture").dump(), "sample"),
         s, w, DType::f32, {});
    save_heads((out / "heads.safetensors").string(), s, w, {});
  }
}

}  // namespace
