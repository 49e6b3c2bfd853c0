#include "pipeline/offset/layout.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "host/error.hpp"
#include "pipeline/position_offsets.hpp"

namespace aloft {
namespace {

using A = Architecture;
constexpr std::int32_t kMostLagsPlaced = 8;
constexpr std::int64_t kFewestMatching = 4;      // numbers by which induction tells tokens apart
constexpr double kEnoughMass = 0.97;             // on the offset, of a table's pattern
constexpr std::int64_t kTableContext = 2048;     // longer tables get the frequencies of this length
constexpr std::int64_t kFewest = 4, kMost = 16;  // frequencies of a table

[[noreturn]] void refuse(const A& arch, const std::string& why) {
  throw UsageError(fmt::format("recipe offset cannot be placed in {}: {}", arch.name, why));
}

std::vector<double> frequencies_of(const A& arch, const ModelShape& s, const OffsetParams& p) {
  if (arch.position == A::Position::rope)
    return rope_frequencies(rotary_dim(arch, s), s.rope_base,
                            arch.rope_scaling == "linear" ? arch.rope_scaling_factor : 1);
  const std::int64_t context = std::min(s.context, kTableContext), room = std::min(kMost, s.head_dim / 2);
  if (room < 1) refuse(arch, "a head needs two rows to look anywhere");
  if (p.position_frequencies > 0) {
    if (p.position_frequencies > s.head_dim / 2)
      refuse(arch, fmt::format("{} position frequencies need heads of {} rows, these have {}",
                               p.position_frequencies, 2 * p.position_frequencies, s.head_dim));
    return table_frequencies(p.position_frequencies, context);
  }
  for (std::int64_t n = std::min(kFewest, room);; ++n) {
    std::vector<double> out = table_frequencies(n, context);
    if (n == room ||
        mass_on_offset(offset_pattern(out, 0, context), out, 0, context, p.sharpness) >= kEnoughMass)
      return out;
  }
}

/// Rows of a head in which a query finds equal content wherever it stands: those that RoPE does not turn, or
/// by a radian at most over the whole context.
std::vector<std::int64_t> still_rows(const A& arch, const ModelShape& s,
                                     const std::vector<double>& frequencies) {
  std::vector<std::int64_t> out;
  const std::int64_t turning = arch.position == A::Position::rope ? s.rotary_dim : 0;
  for (std::int64_t r = 0; r < s.head_dim; ++r)
    if (r >= turning ||
        frequencies[static_cast<std::size_t>(r % (turning / 2))] * static_cast<double>(s.context) <= 1)
      out.push_back(r);
  return out;
}

void check_host(const A& arch, const ModelShape& s, const OffsetParams& p) {
  if (arch.position == A::Position::alibi || arch.position == A::Position::none)
    refuse(arch,
           "its attention has no positions that a head could be turned by (ALiBi and NoPE only fade or "
           "ignore distance)");
  if (arch.qk_norm) refuse(arch, "it normalises queries and keys, so no score can be set by their size");
  if (arch.tied_head && arch.final_norm.empty())
    refuse(arch,
           "its head is the embedding, so the final norm's gain has to be written, and the architecture does "
           "not "
           "name it (tensors.final_norm)");
  if (arch.position == A::Position::learned && s.context < 2) refuse(arch, "a context of one token");
  if (!(p.sharpness > 0) || !(p.write_norm > 0) || p.prior_sharpness < 0 || p.recency.value_or(0) < 0 ||
      !(p.own_norm > 0) || !(p.constant > 0) || !(p.bias_norm > 0))
    throw UsageError("offset: sharpness and norms must be above 0");
}

/// What a layer's key-value heads can hold.
struct Room {
  std::int64_t kv = 0, head_dim = 0, spare_row = 0;
  bool tied = false;

  /// Key-value heads for `n` coordinates and the spare row.
  [[nodiscard]] std::int64_t groups(std::int64_t n) const {
    return (n + spare_row + head_dim - 1) / head_dim;
  }
  [[nodiscard]] std::int64_t rows(std::int64_t groups) const { return groups * head_dim - spare_row; }
  [[nodiscard]] std::int64_t most_carrying() const { return tied ? kv / 2 : kv; }
  /// Two lags that take a quarter of the heads each; tied: half of the heads erase.
  [[nodiscard]] bool host_two_lags() const { return kv >= 4 && rows(kv / 4) >= 1; }
};

void place_lags(const OffsetParams& p, const ModelShape& s, bool two_a_layer, OffsetLayout& out) {
  out.lag_layers = p.lag_layers;
  if (out.lag_layers.empty())
    for (std::int32_t n = 0; n < out.lags; ++n)
      out.lag_layers.push_back(
          std::min<std::int32_t>(two_a_layer ? n / 2 : n, static_cast<std::int32_t>(s.layers) - 1));
  if (out.lag_layers.size() != static_cast<std::size_t>(out.lags))
    throw UsageError(
        fmt::format("--offset-layers names {} layers for {} lags", out.lag_layers.size(), out.lags));
}

}  // namespace

OffsetLayout plan_offset(const A& arch, const ModelShape& s, const OffsetParams& p, std::int32_t counted_lags,
                         std::int64_t corpus_vocab) {
  check_host(arch, s, p);
  OffsetLayout out;
  const auto layers = static_cast<std::int32_t>(std::min<std::int64_t>(s.layers, kMostLagsPlaced));
  out.lags = p.lags > 0              ? p.lags
             : !p.lag_layers.empty() ? static_cast<std::int32_t>(p.lag_layers.size())
                                     : std::min(layers, counted_lags);
  if (out.lags > counted_lags)
    throw UsageError(fmt::format("offset: {} lags are to be designed, {} were counted: raise --lags",
                                 out.lags, counted_lags));
  if (out.lags > s.context) throw UsageError(fmt::format("{} lags in a context of {}", out.lags, s.context));

  // Coordinates.
  out.frequencies = frequencies_of(arch, s, p);
  const bool table = arch.position == A::Position::learned;
  const bool norm_bias = !arch.final_norm_bias.empty();
  const bool has_constant = !(arch.tied_head && table && norm_bias);
  out.drives_log_p = arch.tied_head && !norm_bias;
  const std::int64_t position_dims = table ? 2 * static_cast<std::int64_t>(out.frequencies.size()) : 0;
  const std::int64_t extras = (has_constant ? 1 : 0) + 1 + position_dims + (arch.tied_head ? 1 : 0);
  std::int64_t room = s.d_model - extras;
  if (room < 2)
    refuse(arch, fmt::format(
                     "a width of {} leaves no room beside {} coordinates for constant, padding and positions",
                     s.d_model, extras));

  if (p.induction) {
    out.still_rows = still_rows(arch, s, out.frequencies);
    out.match_dims = std::min(static_cast<std::int64_t>(out.still_rows.size()), room / 5);
    if (out.match_dims < kFewestMatching)
      refuse(
          arch,
          fmt::format(
              "induction needs {} rows of a head that positions do not turn, and this model has room for {}",
              kFewestMatching, out.match_dims));
    out.still_rows.resize(static_cast<std::size_t>(out.match_dims));
    room -= out.match_dims;
  }

  // Heads: a lag takes whole key-value groups, and so does erasing a tied token's own part, in layer 0.
  const std::int64_t spare_row = out.drives_log_p ? 1 : 0;
  const Room heads{s.kv_heads, s.head_dim, spare_row, arch.tied_head};
  if (arch.tied_head && s.kv_heads < 2)
    refuse(arch,
           "its head is the embedding, so layer 0 needs a second key-value head to erase the token's own "
           "output");
  const std::int64_t most = std::min(heads.rows(heads.most_carrying()), room - 1);
  if (most < 1) refuse(arch, "its heads are too small");
  if (p.source_dims > most)
    throw UsageError(
        fmt::format("--source-dims {}: this model has room for {} at most", p.source_dims, most));
  const bool early = out.lags > 1 && p.source_dims == 0 && p.lag_layers.empty() && heads.host_two_lags();
  out.d_s = p.source_dims > 0 ? p.source_dims
            : early           ? std::min(room / 2, heads.rows(heads.kv / 4))
                              : room / 2;
  if (p.source_dims > corpus_vocab)
    throw UsageError(fmt::format("--source-dims {}: the corpus has {} ids, so no more directions than that",
                                 p.source_dims, corpus_vocab));
  out.d_s = std::clamp<std::int64_t>(out.d_s, 1, std::min(most, corpus_vocab));
  out.carrying = heads.groups(out.d_s);
  place_lags(p, s, early, out);
  out.d_o = std::min({room - out.d_s, out.lags * out.d_s, corpus_vocab});
  if (arch.tied_head) {
    const auto first = std::count(out.lag_layers.begin(), out.lag_layers.end(), 0);
    const std::int64_t left =
        std::max<std::int64_t>(1, s.kv_heads - std::max<std::int64_t>(1, first) * out.carrying);
    out.d_o = std::min(out.d_o, heads.rows(left));
    out.erasing = heads.groups(out.d_o);
  }

  std::int64_t next = out.d_s;
  if (has_constant) out.constant = next++;
  out.padding = next++;
  if (table) {
    out.position = next;
    next += position_dims;
  }
  if (arch.tied_head) out.log_p = next++;
  if (p.induction) {
    out.match = next;
    next += out.match_dims;
  }
  out.output = next;

  std::vector<std::int64_t> used(static_cast<std::size_t>(s.layers));
  for (const std::int32_t layer : out.lag_layers) {
    if (layer < 0 || layer >= s.layers)
      throw UsageError(fmt::format("--offset-layers: layer {} is not among 0..{}", layer, s.layers - 1));
    out.lag_heads.push_back(used[static_cast<std::size_t>(layer)]);
    used[static_cast<std::size_t>(layer)] += out.carrying;
  }
  if (out.drives_log_p) {  // the spare row of what layer 0 carries, or a head of its own
    const auto first = std::find(out.lag_layers.begin(), out.lag_layers.end(), 0);
    out.log_p_head =
        first == out.lag_layers.end()
            ? used[0]++
            : out.lag_heads[static_cast<std::size_t>(first - out.lag_layers.begin())] + out.carrying - 1;
  }
  out.erasing_head = used[0];
  used[0] += out.erasing;
  if (p.induction) {
    out.match_dims = std::min(out.match_dims, out.d_s);
    const auto spare = [&](std::int64_t from) {
      while (from < s.layers && used[static_cast<std::size_t>(from)] >= s.kv_heads) ++from;
      if (from >= s.layers)
        refuse(arch, "induction needs a spare key-value head in two of its layers, one after the other");
      return from;
    };
    out.copy_layer = spare(0);
    out.copy_head = used[static_cast<std::size_t>(out.copy_layer)]++;
    out.match_layer = spare(out.copy_layer + 1);
    out.match_head = used[static_cast<std::size_t>(out.match_layer)]++;
  }
  for (std::size_t l = 0; l < used.size(); ++l)
    if (used[l] > s.kv_heads)
      throw UsageError(
          fmt::format("layer {} would need {} key-value heads and has {}: spread the lags over more layers "
                      "(--offset-layers), or lower --source-dims",
                      l, used[l], s.kv_heads));
  return out;
}

}  // namespace aloft
