#include "pipeline/offset/layout.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "host/error.hpp"
#include "host/plural.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/model/rotary.hpp"
#include "pipeline/offset/position_offsets.hpp"

namespace aloft {
namespace {

using A = Architecture;
constexpr std::int64_t kMostLagsPlaced = 8, kMostWideLags = 4;
constexpr std::int64_t kManyIds = 32;            // for each coordinate
constexpr std::int64_t kFewestMatching = 4;      // numbers by which induction tells tokens apart
constexpr double kEnoughMass = 0.97;             // on the offset, of a table's pattern
constexpr std::int64_t kTableContext = 2048;     // longer tables get the frequencies of this length
constexpr std::int64_t kFewest = 4, kMost = 16;  // frequencies of a table

[[noreturn]] void refuse(const A& arch, const std::string& why) {
  throw UsageError(fmt::format("recipe offset cannot be placed in {}: {}", arch.name, why));
}

std::vector<double> frequencies_of(const A& arch, const ModelShape& s, const OffsetParams& p) {
  if (arch.position == A::Position::rope) return rotary_frequencies(arch, s);
  const std::int64_t context = std::min(s.context, kTableContext), room = std::min(kMost, s.head_dim / 2);
  if (room < 1) refuse(arch, "a head needs two rows to look anywhere");
  if (p.position_frequencies > 0) {
    if (p.position_frequencies > s.head_dim / 2)
      refuse(arch, fmt::format("{} position frequencies need heads of {} rows, these have {}",
                               p.position_frequencies, 2 * p.position_frequencies, s.head_dim));
    return table_frequencies(p.position_frequencies, context);
  }
  const auto choices = table_frequencies(std::min(kFewest, room), room, context);
  for (const std::vector<double>& few : choices)
    if (mass_on_offset(offset_pattern(few, 0, context), few, 0, context, p.sharpness) >= kEnoughMass)
      return few;
  return choices.back();
}

/// Rows of a head in which a query finds equal content wherever it is: those that RoPE does not turn, or
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

/// Those whose heads can look at a distance.
std::vector<std::int32_t> rotating_layers(const A& arch, const ModelShape& s) {
  std::vector<std::int32_t> out;
  for (std::int64_t l = 0; l < s.layers; ++l)
    if (rotates(arch, l)) out.push_back(static_cast<std::int32_t>(l));
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
  if (arch.tied_head && !rotates(arch, 0))
    refuse(arch,
           "its head is the embedding, so heads of layer 0 have to look at the token itself, and that layer "
           "has no positions");
  if (rotating_layers(arch, s).empty()) refuse(arch, "none of its layers has positions");
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

std::int32_t lags_to_design(const A& arch, const ModelShape& s, const OffsetParams& p, std::int32_t counted,
                            bool many) {
  const auto rotating = static_cast<std::int64_t>(rotating_layers(arch, s).size());
  const auto layers = static_cast<std::int32_t>(std::min(rotating, many ? kMostWideLags : kMostLagsPlaced));
  const std::int32_t lags = p.lags > 0              ? p.lags
                            : !p.lag_layers.empty() ? static_cast<std::int32_t>(p.lag_layers.size())
                                                    : std::min(layers, counted);
  if (lags > counted)
    throw UsageError(
        fmt::format("offset: {} lags are to be designed, {} were counted: raise --lags", lags, counted));
  if (lags > s.context) throw UsageError(fmt::format("{} lags in a context of {}", lags, s.context));
  return lags;
}

// ---- coordinates of the residual stream

/// Those that neither S nor U takes, beside the padding.
struct Extras {
  bool constant = false, log_p = false;
  std::int64_t position_dims = 0;
  [[nodiscard]] std::int64_t count() const {
    return (constant ? 1 : 0) + 1 + position_dims + (log_p ? 1 : 0);
  }
};

Extras extras_of(const A& arch, const OffsetLayout& layout) {
  const bool table = arch.position == A::Position::learned;
  Extras out;
  out.constant = !(arch.tied_head && table && !arch.final_norm_bias.empty());
  out.log_p = arch.tied_head;
  out.position_dims = table ? 2 * static_cast<std::int64_t>(layout.frequencies.size()) : 0;
  return out;
}

std::int64_t room_beside(const Extras& extras, const A& arch, const ModelShape& s) {
  const std::int64_t room = s.d_model - extras.count();
  if (room < 2)
    refuse(arch, fmt::format(
                     "a width of {} leaves no room beside {} coordinates for constant, padding and positions",
                     s.d_model, extras.count()));
  return room;
}

/// Induction: as many match coordinates as heads have rows that hardly turn, a fifth of the room at most.
void plan_matching(const A& arch, const ModelShape& s, std::int64_t room, OffsetLayout& out) {
  out.still_rows = still_rows(arch, s, out.frequencies);
  out.match_dims = std::min(static_cast<std::int64_t>(out.still_rows.size()), room / 5);
  if (out.match_dims < kFewestMatching)
    refuse(arch,
           fmt::format(
               "induction needs {} rows of a head that positions do not turn, and this model has room for {}",
               kFewestMatching, out.match_dims));
  out.still_rows.resize(static_cast<std::size_t>(out.match_dims));
}

void place_coordinates(const Extras& extras, OffsetLayout& out) {
  std::int64_t next = out.d_s;
  const auto take = [&](std::int64_t count) { return std::exchange(next, next + count); };
  if (extras.constant) out.constant = take(1);
  out.padding = take(1);
  if (extras.position_dims > 0) out.position = take(extras.position_dims);
  if (extras.log_p) out.log_p = take(1);
  if (out.match_dims > 0) out.match = take(out.match_dims);
  out.output = next;
}

// ---- how many directions, and in which layers

/// Two lags a layer from the first on, where neither the user nor the vocabulary speaks against it: with many
/// ids twice the directions are worth as much as the second lag of a layer, or more (profiles/training.md).
bool two_lags_a_layer(const OffsetParams& p, std::int32_t lags, const Room& heads, bool many) {
  return !many && lags > 1 && p.source_dims == 0 && p.lag_layers.empty() && heads.host_two_lags();
}

std::int64_t source_dims(const A& arch, const OffsetParams& p, bool two, const Room& heads, std::int64_t room,
                         std::int64_t corpus_vocab) {
  if (arch.tied_head && heads.kv < 2)
    refuse(arch,
           "its head is the embedding, so layer 0 needs a second key-value head to erase the token's own "
           "output");
  const std::int64_t most = std::min(heads.rows(heads.most_carrying()), room - 1);
  if (most < 1) refuse(arch, "its heads are too small");
  if (p.source_dims > most)
    throw UsageError(
        fmt::format("--source-dims {}: this model has room for {} at most", p.source_dims, most));
  if (p.source_dims > corpus_vocab)
    throw UsageError(fmt::format("--source-dims {}: the corpus has {}, so no more directions than that",
                                 p.source_dims, counted(corpus_vocab, "id")));
  const std::int64_t wished = p.source_dims > 0 ? p.source_dims
                              : two             ? std::min(room / 2, heads.rows(heads.kv / 4))
                                                : room / 2;
  return std::clamp<std::int64_t>(wished, 1, std::min(most, corpus_vocab));
}

std::vector<std::int32_t> layers_of_lags(const A& arch, const OffsetParams& p, const ModelShape& s,
                                         std::int32_t lags, bool two) {
  const std::vector<std::int32_t> rotating = rotating_layers(arch, s);
  std::vector<std::int32_t> out = p.lag_layers;
  if (out.empty())
    for (std::int32_t n = 0; n < lags; ++n)
      out.push_back(at(rotating, std::min<std::int64_t>(two ? n / 2 : n, std::ssize(rotating) - 1)));
  if (out.size() != static_cast<std::size_t>(lags))
    throw UsageError(
        fmt::format("--offset-layers names {} for {}", counted(out.size(), "layer"), counted(lags, "lag")));
  return out;
}

/// Output directions: what is left of the room, no more than the lags carry; tied: no more than the heads of
/// layer 0 that carry no lag can erase.
void size_output(const A& arch, const Room& heads, std::int64_t room, std::int64_t corpus_vocab,
                 OffsetLayout& out) {
  out.d_o = std::min({room - out.d_s, out.lags * out.d_s, corpus_vocab});
  if (!arch.tied_head) return;
  const auto first = std::count(out.lag_layers.begin(), out.lag_layers.end(), 0);
  const std::int64_t left =
      std::max<std::int64_t>(1, heads.kv - std::max<std::int64_t>(1, first) * out.carrying);
  out.d_o = std::min(out.d_o, heads.rows(left));
  out.erasing = heads.groups(out.d_o);
}

// ---- heads

/// Deals the key-value heads of each layer, from the first on.
class HeadDealer {
 public:
  HeadDealer(const A& arch, const ModelShape& s)
      : arch_(arch), kv_heads_(s.kv_heads), used_(static_cast<std::size_t>(s.layers)) {}

  [[nodiscard]] std::int64_t layers() const { return static_cast<std::int64_t>(used_.size()); }
  /// The first of so many heads of a layer.
  std::int64_t take(std::int64_t layer, std::int64_t count) {
    return std::exchange(at(used_, layer), at(used_, layer) + count);
  }
  /// The first layer from `from` on that has a head left; one with positions where `rotating`.
  [[nodiscard]] std::int64_t layer_with_spare(std::int64_t from, bool rotating) const {
    while (from < layers() && (at(used_, from) >= kv_heads_ || (rotating && !rotates(arch_, from)))) ++from;
    if (from >= layers())
      refuse(arch_, "induction needs a spare key-value head in two of its layers, one after the other");
    return from;
  }
  void check() const {
    for (std::int64_t l = 0; l < layers(); ++l)
      if (at(used_, l) > kv_heads_)
        throw UsageError(
            fmt::format("layer {} would need {} key-value heads and has {}: spread the lags over more layers "
                        "(--offset-layers), or lower --source-dims",
                        l, at(used_, l), kv_heads_));
  }

 private:
  const A& arch_;
  std::int64_t kv_heads_;
  std::vector<std::int64_t> used_;
};

void deal_lags(const A& arch, HeadDealer& dealer, OffsetLayout& out) {
  for (const std::int32_t layer : out.lag_layers) {
    if (layer < 0 || layer >= dealer.layers())
      throw UsageError(
          fmt::format("--offset-layers: layer {} is not among 0..{}", layer, dealer.layers() - 1));
    if (!rotates(arch, layer))
      throw UsageError(fmt::format(
          "--offset-layers: layer {} has no positions, no head there looks at a distance", layer));
    out.lag_heads.push_back(dealer.take(layer, out.carrying));
  }
}

/// log p is driven by the spare row of what layer 0 carries, or by a head of its own.
void deal_log_p(HeadDealer& dealer, OffsetLayout& out) {
  const auto first = std::find(out.lag_layers.begin(), out.lag_layers.end(), 0);
  out.log_p_head = first == out.lag_layers.end()
                       ? dealer.take(0, 1)
                       : at(out.lag_heads, first - out.lag_layers.begin()) + out.carrying - 1;
}

void deal_induction(HeadDealer& dealer, OffsetLayout& out) {
  out.match_dims = std::min(out.match_dims, out.d_s);
  out.copy_layer = dealer.layer_with_spare(0, true);
  out.copy_head = dealer.take(out.copy_layer, 1);
  out.match_layer = dealer.layer_with_spare(out.copy_layer + 1, false);
  out.match_head = dealer.take(out.match_layer, 1);
}

}  // namespace

bool many_ids(std::int64_t corpus_vocab, const ModelShape& s) {
  return corpus_vocab < std::numeric_limits<std::int64_t>::max() && corpus_vocab > kManyIds * s.d_model;
}

OffsetLayout plan_offset(const A& arch, const ModelShape& s, const OffsetParams& p, std::int32_t counted_lags,
                         std::int64_t corpus_vocab) {
  check_host(arch, s, p);
  OffsetLayout out;
  const bool many = many_ids(corpus_vocab, s);
  out.lags = lags_to_design(arch, s, p, counted_lags, many);
  out.frequencies = frequencies_of(arch, s, p);
  out.drives_log_p = arch.tied_head && arch.final_norm_bias.empty();

  const Extras extras = extras_of(arch, out);
  std::int64_t room = room_beside(extras, arch, s);
  if (p.induction) plan_matching(arch, s, room, out);
  room -= out.match_dims;

  const Room heads{s.kv_heads, s.head_dim, out.drives_log_p ? 1 : 0, arch.tied_head};
  const bool two = two_lags_a_layer(p, out.lags, heads, many);
  out.d_s = source_dims(arch, p, two, heads, room, corpus_vocab);
  out.carrying = heads.groups(out.d_s);
  out.lag_layers = layers_of_lags(arch, p, s, out.lags, two);
  size_output(arch, heads, room, corpus_vocab, out);
  place_coordinates(extras, out);

  HeadDealer dealer(arch, s);  // a lag takes whole key-value groups, and so does erasing in layer 0
  deal_lags(arch, dealer, out);
  if (out.drives_log_p) deal_log_p(dealer, out);
  out.erasing_head = dealer.take(0, out.erasing);
  if (p.induction) deal_induction(dealer, out);
  dealer.check();
  return out;
}

}  // namespace aloft
