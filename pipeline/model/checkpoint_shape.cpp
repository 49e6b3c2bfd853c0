#include "pipeline/model/checkpoint_shape.hpp"

#include <fmt/format.h>

#include "host/error.hpp"
#include "host/printable.hpp"
#include "pipeline/model/head_layout.hpp"

namespace aloft {
namespace {

using A = Architecture;
using Size = std::optional<std::int64_t>;

/// A size of the model under the names that people give it.
struct SizeNames {
  const char* what;
  Size ModelFlags::*flag;
  Size ModelConfig::*field;
  const char* flag_name;
  const char* keys;  ///< of config.json
};
constexpr SizeNames kLayers{"layers", &ModelFlags::layers, &ModelConfig::layers, "--layers",
                            "num_hidden_layers, n_layer"};
constexpr SizeNames kWidth{"dimensions of the model", &ModelFlags::d_model, &ModelConfig::d_model,
                           "--d-model", "hidden_size, n_embd"};
constexpr SizeNames kVocab{"tokens", &ModelFlags::vocab, &ModelConfig::vocab, "--model-vocab-size",
                           "vocab_size"};
constexpr SizeNames kContext{"positions", &ModelFlags::context, &ModelConfig::context, "--context",
                             "max_position_embeddings, n_positions"};
constexpr SizeNames kHeads{"heads", &ModelFlags::heads, &ModelConfig::heads, "--heads",
                           "num_attention_heads, n_head"};
constexpr SizeNames kKvHeads{"key-value heads", &ModelFlags::kv_heads, &ModelConfig::kv_heads, "--kv-heads",
                             "num_key_value_heads"};
constexpr SizeNames kHeadDim{"dimensions of a head", &ModelFlags::head_dim, &ModelConfig::head_dim,
                             "--head-dim", "head_dim"};

/// Reads what the tensors say against what was given.
class Sizes {
 public:
  Sizes(const TensorFiles& files, const A& arch, const CheckpointNames& names, const ModelFlags& flags,
        const ModelConfig& config)
      : files_(files), arch_(arch), names_(names), flags_(flags), config_(config) {
    // What resolve_shape would not take from the config: who gives other heads does not mean its grouping or
    // head size, who gives another width does not mean its head size.
    if (flags.heads && flags.heads != config.heads) config_.kv_heads = config_.head_dim = std::nullopt;
    if (flags.d_model && flags.d_model != config.d_model) config_.head_dim = config_.mlp_width = std::nullopt;
    if (flags.heads) config_.heads = flags.heads;
    if (flags.d_model) config_.d_model = flags.d_model;
  }

  [[nodiscard]] ModelShape resolve() {
    const std::vector<std::int64_t> output = matrix(arch_.output, 0);
    const bool in_out = arch_.orientation == A::Orientation::in_out;
    const std::string embedding = names_.of(arch_.embedding);
    settle(kLayers, names_.layers, "its tensors' names");
    if (files_.contains(embedding)) {
      const std::vector<std::int64_t> shape = two_dimensional(embedding);
      settle(kVocab, shape[0], embedding);
      settle(kWidth, shape[1], embedding);
    } else {
      settle(kWidth, output[in_out ? 1 : 0], names_.of(layer_name(arch_.output, 0)));
      if (!given(kVocab))
        throw UsageError(fmt::format("--model-vocab-size is needed: {} has no embedding '{}'",
                                     files_.origin(), embedding));
    }
    if (arch_.position == A::Position::learned && files_.contains(names_.of(arch_.position_embedding))) {
      const std::string table = names_.of(arch_.position_embedding);
      settle(kContext, two_dimensional(table)[0], table);
    }
    settle_heads(output[in_out ? 0 : 1]);
    const ModelShape shape = resolve_shape(flags_, config_, arch_, 0);
    check_layer(shape);
    return shape;
  }

 private:
  [[nodiscard]] Size given(const SizeNames& size) const {
    return flags_.*size.flag ? flags_.*size.flag : config_.*size.field;
  }
  /// "--heads 4", "8 heads (num_attention_heads, n_head of config.json)".
  [[nodiscard]] std::string said(const SizeNames& size) const {
    if (flags_.*size.flag) return fmt::format("{} {}", size.flag_name, *(flags_.*size.flag));
    return fmt::format(
        "{} {} ({})", *(config_.*size.field), size.what,
        from_.contains(size.what) ? from_.at(size.what) : fmt::format("{} of {}", size.keys, config_.origin));
  }

  /// Where nothing was given the tensors say it; what was given must agree with them.
  void settle(const SizeNames& size, std::int64_t found, const std::string& where) {
    if (const Size wanted = given(size); wanted && *wanted != found)
      throw InputError(fmt::format("{}: has {} {} by {}, but {} was given", files_.origin(), found, size.what,
                                   printable(where), said(size)));
    fill(size, found, where);
  }
  void fill(const SizeNames& size, std::int64_t found, const std::string& where) {
    if (given(size)) return;
    config_.*size.field = found;
    from_[size.what] = "by " + printable(where);
  }

  /// `width`: of all heads together.
  void settle_heads(std::int64_t width) {
    const Size heads = given(kHeads);
    if (!heads)
      throw UsageError(fmt::format(
          "--heads is needed (or --model-config with a Hugging Face config.json): the tensors of {} "
          "do not say how many there are",
          files_.origin()));
    if (*heads <= 0) return;  // resolve_shape says so
    const std::string output = names_.of(layer_name(arch_.output, 0));
    if (!given(kHeadDim) && width % *heads != 0)
      throw InputError(fmt::format("{}: '{}' has {} dimensions of all heads together, no multiple of {}",
                                   files_.origin(), printable(output), width, said(kHeads)));
    fill(kHeadDim, width / *heads, output);
    const std::int64_t head_dim = *given(kHeadDim);
    if (head_dim <= 0) return;
    std::int64_t keys = width;
    std::string where = output;
    if (arch_.fusion == A::Fusion::separate) {
      where = names_.of(layer_name(arch_.key, 0));
      keys = outputs(arch_.key);
    } else if (arch_.fusion == A::Fusion::concatenated) {
      where = names_.of(layer_name(arch_.qkv, 0));
      keys = (outputs(arch_.qkv) - *heads * head_dim) / 2;
    }
    if (arch_.grouped_query && keys > 0 && keys % head_dim == 0) fill(kKvHeads, keys / head_dim, where);
  }

  [[nodiscard]] std::vector<std::int64_t> two_dimensional(const std::string& name) const {
    const std::vector<std::int64_t>& shape = files_.info(name).shape;
    if (shape.size() != 2)
      throw InputError(fmt::format("{}: tensor '{}' has shape [{}], a matrix is needed", files_.origin(),
                                   printable(name), fmt::join(shape, ", ")));
    return shape;
  }
  [[nodiscard]] std::vector<std::int64_t> matrix(const std::string& name, std::int64_t layer) const {
    return two_dimensional(names_.of(layer_name(name, layer)));
  }
  [[nodiscard]] std::int64_t outputs(const std::string& name) const {
    return matrix(name, 0)[arch_.orientation == A::Orientation::in_out ? 1 : 0];
  }

  void check_layer(const ModelShape& shape) const {
    const std::string because =
        fmt::format("{}, {}, {}, {}", said_or(kHeads, shape.heads), said_or(kKvHeads, shape.kv_heads),
                    said_or(kHeadDim, shape.head_dim), said_or(kWidth, shape.d_model));
    for (const HeadTensor& t : head_tensors(arch_, shape))
      expect_shape(
          files_, names_.of(layer_name(t.name, 0)),
          matrix_shape(arch_, static_cast<std::int64_t>(t.blocks.size()) * shape.head_dim, shape.d_model),
          because);
    expect_shape(files_, names_.of(layer_name(arch_.output, 0)),
                 matrix_shape(arch_, shape.d_model, shape.heads * shape.head_dim), because);
  }
  [[nodiscard]] std::string said_or(const SizeNames& size, std::int64_t value) const {
    return given(size) ? said(size) : fmt::format("{} {}", value, size.what);
  }

  const TensorFiles& files_;
  const A& arch_;
  const CheckpointNames& names_;
  const ModelFlags& flags_;
  ModelConfig config_;
  std::map<std::string, std::string> from_;  ///< sizes that the tensors said: which one
};

}  // namespace

ModelShape checkpoint_shape(const TensorFiles& files, const Architecture& arch, const CheckpointNames& names,
                            const ModelFlags& flags, const ModelConfig& config) {
  return Sizes(files, arch, names, flags, config).resolve();
}

void expect_shape(const TensorFiles& files, const std::string& name, const std::vector<std::int64_t>& shape,
                  const std::string& because) {
  const std::vector<std::int64_t>& found = files.info(name).shape;
  if (found != shape)
    throw InputError(fmt::format("{}: tensor '{}' has shape [{}], [{}] is needed: {}", files.origin(),
                                 printable(name), fmt::join(found, ", "), fmt::join(shape, ", "), because));
}

}  // namespace aloft
