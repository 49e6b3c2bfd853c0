#include "pipeline/model/checkpoint_names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "host/error.hpp"
#include "host/printable.hpp"
#include "pipeline/model/head_layout.hpp"

namespace aloft {
namespace {

constexpr std::string_view kWeight = ".weight";

/// The tensor of each layer that its queries are in.
const std::string& query_name(const Architecture& arch) {
  return arch.fusion == Architecture::Fusion::separate ? arch.query : arch.qkv;
}

/// What the names of the layers and of the embedding both begin with, up to the first dot: "model.".
std::string base_prefix(const Architecture& arch) {
  const std::string first = arch.embedding.substr(0, arch.embedding.find('.') + 1);
  return query_name(arch).starts_with(first) ? first : "";
}

/// The numbers that stand for {layer} of `pattern` in the names.
std::set<std::int64_t> layers_named(const std::vector<std::string>& names, const std::string& pattern) {
  const std::size_t at = pattern.find("{layer}");
  const std::string before = pattern.substr(0, at), after = pattern.substr(at + 7);
  std::set<std::int64_t> out;
  for (const std::string& name : names) {
    if (name.size() <= before.size() + after.size() || !name.starts_with(before) || !name.ends_with(after))
      continue;
    const char* begin = name.data() + before.size();
    const char* end = name.data() + name.size() - after.size();
    std::int32_t layer = -1;
    const auto parsed = std::from_chars(begin, end, layer);
    const bool plain = parsed.ec == std::errc() && parsed.ptr == end && layer >= 0 &&
                       (*begin != '0' || end - begin == 1);  // "-0", "007" are other names
    if (plain && *begin != '-') out.insert(layer);
  }
  return out;
}

std::vector<std::string> possible_prefixes(const Architecture& arch) {
  std::vector<std::string> out{""};
  for (const std::string& one : arch.optional_prefixes) out.push_back(one);
  for (const std::string& one : arch.optional_prefixes)
    for (const std::string& other : arch.optional_prefixes)
      if (one != other) out.push_back(one + other);
  out.insert(out.end(), {"language_model.", "model.language_model."});
  return out;
}

}  // namespace

std::string CheckpointNames::of(const std::string& name) const {
  if (!dropped.empty() && name.starts_with(dropped)) return prefix + name.substr(dropped.size());
  return prefix + name;
}

CheckpointNames find_names(const TensorFiles& files, const Architecture& arch) {
  const std::vector<std::string> names = files.names();
  const std::string base = base_prefix(arch);
  for (const std::string& prefix : possible_prefixes(arch))
    for (const std::string& dropped :
         base.empty() ? std::vector<std::string>{""} : std::vector{std::string(), base}) {
      CheckpointNames found{prefix, dropped, 0};
      const std::string pattern = found.of(query_name(arch));
      const std::set<std::int64_t> layers = layers_named(names, pattern);
      if (layers.empty()) continue;
      for (; layers.contains(found.layers); ++found.layers) {
      }
      if (static_cast<std::size_t>(found.layers) != layers.size())
        throw InputError(fmt::format("{}: has layers up to {}, but no layer {} ('{}')", files.origin(),
                                     *layers.rbegin(), found.layers,
                                     printable(layer_name(pattern, found.layers))));
      return found;
    }
  const std::string wanted = layer_name(query_name(arch), 0);
  std::vector<std::string> near = nearest_names(wanted, names, 3);
  for (std::string& n : near) n = fmt::format("'{}'", printable(n));
  throw InputError(fmt::format(
      "{}: has no tensor '{}', as models of architecture {} have{}; is --arch the right one?", files.origin(),
      wanted, arch.name, near.empty() ? "" : fmt::format(" (nearest: {})", fmt::join(near, ", "))));
}

std::string bias_name(const std::string& weight) {
  if (!weight.ends_with(kWeight)) return "";
  return weight.substr(0, weight.size() - kWeight.size()) + ".bias";
}

}  // namespace aloft
