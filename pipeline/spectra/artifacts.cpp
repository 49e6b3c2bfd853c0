#include "pipeline/spectra/spectra.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "host/error.hpp"
#include "host/json_text.hpp"
#include "host/printable.hpp"
#include "pipeline/base/artifact_file.hpp"

namespace aloft {

void save(const std::string& path, const Embedding& embedding, const std::string& key) {
  ArtifactFile file(kEmbed.artifact, key);
  file.say("method", embedding.method);
  file.say("rank", std::to_string(embedding.rank));
  const std::vector<double> exact = to_host(embedding.rows.data);
  file.add<float>("embedding", DType::f32, {embedding.rows.rows, embedding.rows.cols},
                  {exact.begin(), exact.end()});
  file.write(path);
}

template <>
std::optional<Embedding> load<Embedding>(Device& device, const std::string& path, const std::string& key) {
  const auto file = open_artifact(path, kEmbed.artifact, key);
  if (!file) return std::nullopt;
  Embedding out;
  const std::vector<double> values = file->read_real("embedding", {-1, -1});
  const auto& shape = file->info("embedding").shape;
  out.rows = matrix_from(device, values, shape[0], shape[1]);
  out.rank = metadata_integer(*file, path, "rank", 0);
  const auto method = file->metadata().find("method");
  out.method = method == file->metadata().end() ? "file" : method->second;
  return out;
}

void save(const std::string& path, const Projections& p, const std::string& key) {
  ArtifactFile file(kProject.artifact, key);
  file.add("transition", p.transition);
  file.add("deviation", p.deviation);
  file.add("source_covariance", p.source_covariance);
  file.add("target_covariance", p.target_covariance);
  file.write(path);
}

template <>
std::optional<Projections> load<Projections>(Device& device, const std::string& path,
                                             const std::string& key) {
  const auto file = open_artifact(path, kProject.artifact, key);
  if (!file) return std::nullopt;
  Projections p;
  p.transition = read_matrix(device, *file, "transition", -1, -1, -1);
  const auto read = [&](const char* name) {
    return read_matrix(device, *file, name, p.transition.batch, p.transition.rows, p.transition.cols);
  };
  p.deviation = read("deviation");
  p.source_covariance = read("source_covariance");
  p.target_covariance = read("target_covariance");
  return p;
}

namespace {

void add_planes(ArtifactFile& file, const SkewPlanes& planes) {
  file.add<double>("sigma", DType::f64, {planes.left.batch, planes.left.rows}, planes.sigma);
  file.add("left", planes.left);
  file.add("right", planes.right);
}

SkewPlanes read_planes(Device& device, const SafetensorsReader& file) {
  SkewPlanes out;
  out.left = read_matrix(device, file, "left", -1, -1, -1);
  out.right = read_matrix(device, file, "right", out.left.batch, out.left.rows, out.left.cols);
  out.sigma = file.read<double>("sigma", {out.left.batch, out.left.rows});
  return out;
}

}  // namespace

void save(const std::string& path, const Spectra& spectra, const std::string& key) {
  ArtifactFile file(kDecompose.artifact, key);
  const SkewPlanes& planes = spectra.antisymmetric;
  add_planes(file, planes);
  file.add<double>("general_sigma", DType::f64, {planes.left.batch, planes.left.cols}, spectra.general_sigma);
  file.add<double>("transition_norm", DType::f64, {planes.left.batch}, spectra.transition_norm);
  file.write(path);
}

template <>
std::optional<Spectra> load<Spectra>(Device& device, const std::string& path, const std::string& key) {
  const auto file = open_artifact(path, kDecompose.artifact, key);
  if (!file) return std::nullopt;
  Spectra out;
  out.antisymmetric = read_planes(device, *file);
  const Matrix& left = out.antisymmetric.left;
  out.general_sigma = file->read<double>("general_sigma", {left.batch, left.cols});
  out.transition_norm = file->read<double>("transition_norm", {left.batch});
  return out;
}

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LayerExpansion, lag, pr_target, pr_before, pr_after, spectral_cosine,
                                   matrix_cosine, subspace_overlap, overlap_k, method, parameter, max_pr,
                                   reached, temper_after)

void save(const std::string& path, const ExpandedSpectra& expanded, const std::string& key) {
  ArtifactFile file(kExpand.artifact, key);
  add_planes(file, expanded.planes);
  file.say("layers", nlohmann::json(expanded.layers).dump());
  file.write(path);
}

template <>
std::optional<ExpandedSpectra> load<ExpandedSpectra>(Device& device, const std::string& path,
                                                     const std::string& key) {
  const auto file = open_artifact(path, kExpand.artifact, key);
  if (!file) return std::nullopt;
  ExpandedSpectra out;
  out.planes = read_planes(device, *file);
  const auto layers = file->metadata().find("layers");
  try {
    if (layers != file->metadata().end())
      out.layers =
          parse_json(layers->second, path + ": metadata 'layers'").get<std::vector<LayerExpansion>>();
  } catch (const nlohmann::json::exception& e) {
    throw InputError(fmt::format("{}: metadata 'layers' cannot be read: {}", path, printable(e.what())));
  }
  if (static_cast<std::int64_t>(out.layers.size()) != out.planes.left.batch)
    throw InputError(fmt::format("{}: {} layers in its metadata, {} in its tensors", path, out.layers.size(),
                                 out.planes.left.batch));
  return out;
}

}  // namespace aloft
