#include <fmt/format.h>

#include "host/error.hpp"
#include "pipeline/offset/factors.hpp"

namespace aloft {

void save(const std::string& path, const LagFactors& f, const std::string& key) {
  ArtifactFile file(kFactors.artifact, key);
  file.say("estimator", f.estimator == Estimator::tucker ? "tucker" : "discriminant");
  file.say("holdout_positions", std::to_string(f.holdout_positions));
  file.add("source", DType::f64, {f.vocab, f.d_s}, f.source);
  file.add("target", DType::f64, {f.vocab, f.d_o}, f.target);
  file.add("cores", DType::f64, {f.lags, f.d_s, f.d_o}, f.cores);
  file.add("bias", DType::f64, {f.vocab}, f.bias);
  file.add("log_p", DType::f64, {f.vocab}, f.log_p);
  file.add("lag_weights", DType::f64, {f.lags}, f.lag_weights);
  file.add("participation", DType::f64, {f.lags}, f.participation);
  file.add("scalars", DType::f64, {7},
           std::vector{f.alpha, f.kappa, f.ridge, f.written_norm, f.holdout_loss, f.holdout_unigram_loss,
                       f.holdout_error});
  file.write(path);
}

template <>
std::optional<LagFactors> load<LagFactors>(Device&, const std::string& path, const std::string& key) {
  const auto file = open_artifact(path, kFactors.artifact, key);
  if (!file) return std::nullopt;
  LagFactors f;
  const auto& cores = file->info("cores").shape;
  if (cores.size() != 3) throw InputError(path + ": cores is no tensor of three extents");
  f.bias = file->read<double>("bias", {-1});
  f.vocab = static_cast<std::int64_t>(f.bias.size());
  f.lags = static_cast<std::int32_t>(cores[0]);
  f.d_s = cores[1];
  f.d_o = cores[2];
  f.source = file->read<double>("source", {f.vocab, f.d_s});
  f.target = file->read<double>("target", {f.vocab, f.d_o});
  f.cores = file->read<double>("cores", {f.lags, f.d_s, f.d_o});
  f.log_p = file->read<double>("log_p", {f.vocab});
  f.lag_weights = file->read<double>("lag_weights", {f.lags});
  f.participation = file->read<double>("participation", {f.lags});
  const auto scalars = file->read<double>("scalars", {7});
  f.alpha = scalars[0];
  f.kappa = scalars[1];
  f.ridge = scalars[2];
  f.written_norm = scalars[3];
  f.holdout_loss = scalars[4];
  f.holdout_unigram_loss = scalars[5];
  f.holdout_error = scalars[6];
  f.holdout_positions = metadata_integer(*file, path, "holdout_positions", 0);
  const auto estimator = file->metadata().find("estimator");
  if (estimator == file->metadata().end()) throw InputError(path + ": does not say what estimated it");
  f.estimator = estimator->second == "tucker" ? Estimator::tucker : Estimator::discriminant;
  return f;
}

}  // namespace aloft
