#include "pipeline/model/head_layout.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pipeline/model/rotary.hpp"

namespace aloft {
namespace {

using A = Architecture;

/// rows[r] = the canonical row of a head that becomes the model's row r. The canonical pair i is (i, i +
/// R/2), R = rotary_dim, and turns by +tθ_i. For a model that turns the other way the two rows change places:
/// with z = a + ib the score of a pair is Re(conj(q) k e^{i(t−s)θ}); swapping makes z into i·conj(z) for q
/// and k alike, which turns conj(q) k into its conjugate, and so e^{−i(t−s)θ} gives the same real part.
std::vector<std::int64_t> rotary_rows(const A& arch, const ModelShape& shape) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(shape.head_dim));
  std::iota(rows.begin(), rows.end(), 0);
  const std::int64_t half = rotary_dim(arch, shape) / 2;
  for (std::int64_t i = 0; i < half; ++i) {
    const bool interleaved = arch.pairing == A::Pairing::interleaved;
    std::int64_t first = i, second = i + half;
    if (arch.rope_sign < 0) std::swap(first, second);
    rows[static_cast<std::size_t>(interleaved ? 2 * i : i)] = first;
    rows[static_cast<std::size_t>(interleaved ? 2 * i + 1 : i + half)] = second;
  }
  return rows;
}

/// What each row of a head's query is multiplied by: RoPE that is stretched may also enlarge what it turns.
std::vector<float> query_row_factors(const A& arch, const ModelShape& shape) {
  const double plain = query_factor(arch, shape), amplitude = rotary_amplitude(arch, shape);
  std::vector<float> out(static_cast<std::size_t>(shape.head_dim), static_cast<float>(plain));
  std::fill_n(out.begin(), rotary_dim(arch, shape), static_cast<float>(plain / (amplitude * amplitude)));
  return out;
}

void append_part(std::vector<HeadBlock>& blocks, HeadPart part, std::int64_t heads) {
  for (std::int64_t h = 0; h < heads; ++h) blocks.push_back({part, h});
}

}  // namespace

std::vector<HeadTensor> head_tensors(const Architecture& arch, const ModelShape& shape) {
  std::vector<HeadTensor> out;
  if (arch.fusion == A::Fusion::separate) {
    out = {{arch.query, {}}, {arch.key, {}}, {arch.value, {}}};
    append_part(out[0].blocks, HeadPart::query, shape.heads);
    append_part(out[1].blocks, HeadPart::key, shape.kv_heads);
    append_part(out[2].blocks, HeadPart::value, shape.kv_heads);
    return out;
  }
  std::vector<HeadBlock>& blocks = out.emplace_back(HeadTensor{arch.qkv, {}}).blocks;
  if (arch.fusion == A::Fusion::concatenated) {
    append_part(blocks, HeadPart::query, shape.heads);
    append_part(blocks, HeadPart::key, shape.kv_heads);
    append_part(blocks, HeadPart::value, shape.kv_heads);
  } else {
    for (std::int64_t h = 0; h < shape.heads; ++h)
      for (const HeadPart part : {HeadPart::query, HeadPart::key, HeadPart::value})
        blocks.push_back({part, h});
  }
  return out;
}

HeadRows head_rows(const Architecture& arch, const ModelShape& shape, HeadPart part) {
  HeadRows out;
  out.factors.assign(static_cast<std::size_t>(shape.head_dim), 1.0F);
  if (part == HeadPart::value) {
    out.rows.resize(static_cast<std::size_t>(shape.head_dim));
    std::iota(out.rows.begin(), out.rows.end(), 0);
    return out;
  }
  out.rows = rotary_rows(arch, shape);
  if (part == HeadPart::query) out.factors = query_row_factors(arch, shape);
  return out;
}

float query_factor(const Architecture& arch, const ModelShape& shape) {
  if (!arch.score_scale) return 1;
  return static_cast<float>(1 / (std::sqrt(static_cast<double>(shape.head_dim)) * *arch.score_scale));
}

float output_factor(const Architecture& arch) { return static_cast<float>(1 / arch.residual_multiplier); }

std::string layer_name(const std::string& name, std::int64_t layer) {
  std::string out = name;
  return out.replace(out.find("{layer}"), 7, std::to_string(layer));
}

std::vector<std::int64_t> matrix_shape(const Architecture& arch, std::int64_t out, std::int64_t in) {
  return arch.orientation == A::Orientation::out_in ? std::vector{out, in} : std::vector{in, out};
}

std::vector<float> transposed(std::span<const float> x, std::size_t rows, std::size_t cols) {
  constexpr std::size_t kBlock = 32;
  std::vector<float> out(x.size());
  for (std::size_t i0 = 0; i0 < rows; i0 += kBlock)
    for (std::size_t j0 = 0; j0 < cols; j0 += kBlock)
      for (std::size_t i = i0; i < std::min(rows, i0 + kBlock); ++i)
        for (std::size_t j = j0; j < std::min(cols, j0 + kBlock); ++j) out[j * rows + i] = x[i * cols + j];
  return out;
}

}  // namespace aloft
