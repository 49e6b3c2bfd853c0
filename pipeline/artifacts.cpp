#include "pipeline/artifacts.hpp"

#include <fmt/format.h>

#include <numeric>
#include <span>

#include "pipeline/artifact_file.hpp"

namespace aloft {
namespace {

// ---- small structs as rows of doubles: every field exactly, in the order written here
// --------------------------------

/// Doubles hold these integers and flags exactly. Text stays in the metadata.
std::vector<double> row_of(const LayerExpansion& e) {
  return {static_cast<double>(e.lag),
          e.pr_target,
          e.pr_before,
          e.pr_after,
          e.spectral_cosine,
          e.matrix_cosine,
          e.subspace_overlap,
          static_cast<double>(e.overlap_k),
          e.parameter,
          e.max_pr,
          e.reached ? 1.0 : 0.0,
          e.temper_after};
}
constexpr std::int64_t kLayerFields = 12;

LayerExpansion layer_from(const double* x, std::string method) {
  LayerExpansion e;
  e.lag = static_cast<std::int32_t>(x[0]);
  e.pr_target = x[1];
  e.pr_before = x[2];
  e.pr_after = x[3];
  e.spectral_cosine = x[4];
  e.matrix_cosine = x[5];
  e.subspace_overlap = x[6];
  e.overlap_k = static_cast<std::int32_t>(x[7]);
  e.parameter = x[8];
  e.max_pr = x[9];
  e.reached = x[10] != 0;
  e.temper_after = x[11];
  e.method = std::move(method);
  return e;
}

void put(ArtifactWriter& out, const std::string& name, const std::vector<double>& values) {
  out.tensor(name, DType::f64, {static_cast<std::int64_t>(values.size())}, values);
}

void put(ArtifactWriter& out, const std::string& prefix, const SkewPlanes& planes) {
  out.tensor(prefix + "sigma", DType::f64, {planes.left.batch, planes.left.rows}, planes.sigma);
  out.matrix(prefix + "left", planes.left);
  out.matrix(prefix + "right", planes.right);
}

SkewPlanes planes_from(const ArtifactReader& in, Device& device, const std::string& prefix) {
  SkewPlanes out;
  out.left = in.matrix(device, prefix + "left");
  out.right = in.matrix(device, prefix + "right");
  in.require(out.left.batch == out.right.batch && out.left.rows == out.right.rows &&
                 out.left.cols == out.right.cols && out.left.rows == out.left.cols / 2,
             "left and right planes differ in shape");
  out.sigma = in.read<double>(prefix + "sigma", {out.left.batch, out.left.rows});
  return out;
}

// ---- counts
// --------------------------------------------------------------------------------------------------------

std::string lag_name(std::size_t lag, const char* part) { return fmt::format("lag{}.{}", lag + 1, part); }

CountCsr csr_from(const ArtifactReader& in, Device& device, std::size_t lag, std::int64_t vocab,
                  std::uint64_t pairs) {
  const auto offsets = in.read<std::uint64_t>(lag_name(lag, "row_offsets"), {vocab + 1});
  const auto columns = in.read<std::uint32_t>(lag_name(lag, "columns"), {-1});
  const auto values =
      in.read<std::uint64_t>(lag_name(lag, "values"), {static_cast<std::int64_t>(columns.size())});
  bool sound = offsets.front() == 0 && offsets.back() == columns.size();
  for (std::size_t i = 0; sound && i + 1 < offsets.size(); ++i) sound = offsets[i] <= offsets[i + 1];
  for (std::size_t i = 0; sound && i + 1 < offsets.size(); ++i)
    for (std::uint64_t e = offsets[i]; sound && e < offsets[i + 1]; ++e)
      sound = columns[e] < static_cast<std::uint64_t>(vocab) && values[e] > 0 &&
              (e == offsets[i] || columns[e - 1] < columns[e]);
  sound = sound && std::accumulate(values.begin(), values.end(), std::uint64_t{0}) == pairs;
  in.require(sound, fmt::format("lag {} is not a well-formed count matrix", lag + 1));
  CountCsr out;
  out.rows = out.cols = vocab;
  out.row_offsets = to_device(device, std::span(offsets));
  out.columns = to_device(device, std::span(columns));
  out.values = to_device(device, std::span(values));
  return out;
}

}  // namespace

void save(const std::string& path, const Counts& counts, const std::string& key) {
  ArtifactWriter out("counts", key);
  out.fact("vocab", static_cast<std::uint64_t>(counts.vocab));
  out.fact("max_lag", static_cast<std::uint64_t>(counts.max_lag));
  out.fact("tokens", counts.tokens);
  out.fact("corpus_hash", counts.corpus_hash);
  out.tensor("unigram", DType::u64, {counts.vocab}, counts.unigram);
  out.tensor("pairs", DType::u64, {counts.max_lag}, counts.pairs);
  for (std::size_t lag = 0; lag < counts.lags.size(); ++lag) {
    const CountCsr& j = counts.lags[lag];
    out.tensor(lag_name(lag, "row_offsets"), DType::u64, {j.rows + 1}, to_host(j.row_offsets));
    out.tensor(lag_name(lag, "columns"), DType::u32, {j.nnz()}, to_host(j.columns));
    out.tensor(lag_name(lag, "values"), DType::u64, {j.nnz()}, to_host(j.values));
  }
  out.write(path);
}

std::optional<Counts> load_counts(Device& device, const std::string& path, const std::string& key) {
  const auto in = ArtifactReader::open(path, "counts", key);
  if (!in) return std::nullopt;
  Counts out;
  out.vocab = in->number("vocab");
  out.max_lag = static_cast<std::int32_t>(in->number("max_lag"));
  out.tokens = static_cast<std::uint64_t>(in->number("tokens"));
  out.corpus_hash = in->fact("corpus_hash");
  out.unigram = in->read<std::uint64_t>("unigram", {out.vocab});
  out.pairs = in->read<std::uint64_t>("pairs", {out.max_lag});
  in->require(std::accumulate(out.unigram.begin(), out.unigram.end(), std::uint64_t{0}) == out.tokens,
              "the unigram does not add up to the number of tokens");
  for (std::size_t lag = 0; lag < out.pairs.size(); ++lag)
    out.lags.push_back(csr_from(*in, device, lag, out.vocab, out.pairs[lag]));
  return out;
}

// ---- embedding: F32, which holds its values exactly
// --------------------------------------------------------------------

void save(const std::string& path, const Embedding& embedding, const std::string& key) {
  ArtifactWriter out("embedding", key);
  out.fact("method", embedding.method);
  out.fact("rank", static_cast<std::uint64_t>(embedding.rank));
  const auto wide = to_host(embedding.rows.data);
  out.tensor("embedding", DType::f32, {embedding.rows.rows, embedding.rows.cols},
             std::vector<float>(wide.begin(), wide.end()));
  out.write(path);
}

std::optional<Embedding> load_embedding(Device& device, const std::string& path, const std::string& key) {
  const auto in = ArtifactReader::open(path, "embedding", key);
  if (!in) return std::nullopt;
  const auto rank = in->number("rank");
  const auto shape = in->shape("embedding", 2);
  in->require(rank <= shape[1], "the rank exceeds the dimension");
  const auto narrow = in->read<float>("embedding", shape);
  return Embedding{matrix_from(device, {narrow.begin(), narrow.end()}, shape[0], shape[1]),
                   in->fact("method"), rank};
}

// ---- projections, spectra
// ------------------------------------------------------------------------------------------

void save(const std::string& path, const Projections& projections, const std::string& key) {
  ArtifactWriter out("projections", key);
  out.matrix("transition", projections.transition);
  out.matrix("deviation", projections.deviation);
  out.matrix("source_covariance", projections.source_covariance);
  out.matrix("target_covariance", projections.target_covariance);
  out.write(path);
}

std::optional<Projections> load_projections(Device& device, const std::string& path, const std::string& key) {
  const auto in = ArtifactReader::open(path, "projections", key);
  if (!in) return std::nullopt;
  Projections out{in->matrix(device, "transition"), in->matrix(device, "deviation"),
                  in->matrix(device, "source_covariance"), in->matrix(device, "target_covariance")};
  const Matrix& p = out.transition;
  for (const Matrix* m : {&out.transition, &out.deviation, &out.source_covariance, &out.target_covariance})
    in->require(m->rows == p.rows && m->cols == p.rows && m->batch == p.batch,
                "the matrices differ in shape");
  return out;
}

void save(const std::string& path, const Spectra& spectra, const std::string& key) {
  ArtifactWriter out("spectra", key);
  put(out, "antisymmetric.", spectra.antisymmetric);
  out.tensor("general_sigma", DType::f64, {spectra.antisymmetric.left.batch, spectra.antisymmetric.left.cols},
             spectra.general_sigma);
  put(out, "transition_norm", spectra.transition_norm);
  out.write(path);
}

std::optional<Spectra> load_spectra(Device& device, const std::string& path, const std::string& key) {
  const auto in = ArtifactReader::open(path, "spectra", key);
  if (!in) return std::nullopt;
  Spectra out;
  out.antisymmetric = planes_from(*in, device, "antisymmetric.");
  const std::int64_t lags = out.antisymmetric.left.batch;
  out.general_sigma = in->read<double>("general_sigma", {lags, out.antisymmetric.left.cols});
  out.transition_norm = in->read<double>("transition_norm", {lags});
  return out;
}

void save(const std::string& path, const ExpandedSpectra& expanded, const std::string& key) {
  ArtifactWriter out("expanded", key);
  put(out, "", expanded.planes);
  std::vector<double> fields;
  for (std::size_t layer = 0; layer < expanded.layers.size(); ++layer) {
    const auto row = row_of(expanded.layers[layer]);
    fields.insert(fields.end(), row.begin(), row.end());
    out.fact(fmt::format("method.{}", layer), expanded.layers[layer].method);
  }
  out.tensor("layers", DType::f64, {static_cast<std::int64_t>(expanded.layers.size()), kLayerFields}, fields);
  out.write(path);
}

std::optional<ExpandedSpectra> load_expanded(Device& device, const std::string& path,
                                             const std::string& key) {
  const auto in = ArtifactReader::open(path, "expanded", key);
  if (!in) return std::nullopt;
  ExpandedSpectra out;
  out.planes = planes_from(*in, device, "");
  const std::int64_t layers = out.planes.left.batch;
  const auto fields = in->read<double>("layers", {layers, kLayerFields});
  for (std::int64_t layer = 0; layer < layers; ++layer)
    out.layers.push_back(
        layer_from(fields.data() + layer * kLayerFields, in->fact(fmt::format("method.{}", layer))));
  return out;
}

}  // namespace aloft
