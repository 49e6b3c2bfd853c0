#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "host/interrupt.hpp"
#include "host/json_build.hpp"
#include "host/safetensors.hpp"
#include "kernels/spectral_measures.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/counts/coverage.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "tools/aloft/inspect.hpp"

namespace aloft {
namespace {

using nlohmann::ordered_json;

bool is_floating(DType t) {
  return t == DType::f32 || t == DType::f64 || t == DType::f16 || t == DType::bf16;
}

ordered_json tensor_summary(const SafetensorsReader& file, const TensorInfo& t) {
  ordered_json out{{"name", t.name},
                   {"dtype", dtype_name(t.dtype)},
                   {"shape", fmt::format("[{}]", fmt::join(t.shape, ", "))}};
  if (!is_floating(t.dtype) || t.elements() == 0) return out;
  double sum = 0, squares = 0, largest = 0;
  std::int64_t not_finite = 0;
  file.read_real_blocks(t.name, [&](std::span<const double> part) {
    check_interrupt();
    for (const double x : part) {
      if (!std::isfinite(x)) {
        ++not_finite;
        continue;
      }
      sum += x;
      squares += x * x;
      largest = std::max(largest, std::abs(x));
    }
  });
  const double n = static_cast<double>(t.elements() - not_finite), mean = n > 0 ? sum / n : 0;
  out["mean"] = mean;
  out["std"] = n > 0 ? std::sqrt(std::max(0.0, squares / n - mean * mean)) : 0;
  out["norm"] = std::sqrt(squares);
  out["largest"] = largest;
  if (not_finite > 0) out["not_finite"] = not_finite;
  return out;
}

ordered_json counts_summary(const std::string& path) {
  Backend backend = make_backend("cpu");
  const Counts counts = *load<Counts>(*backend.device, path, "");
  ordered_json out{{"vocab", counts.vocab}, {"tokens", counts.tokens}, {"corpus_hash", counts.corpus_hash}};
  out["ids_seen"] =
      std::count_if(counts.unigram.begin(), counts.unigram.end(), [](std::uint64_t n) { return n > 0; });
  if (const auto covered = coverage(counts)) {
    out["unknown_tokens"] = covered->unknown;
    out["unknown_share"] = covered->share;
  }
  for (std::size_t n = 0; n < counts.lags.size(); ++n) {
    const RealCsr real = backend.linear->to_real(counts.lags[n].view(), nullptr);
    const Asymmetry a = asymmetry(backend.linear->transpose_inner(real.view()));
    array_in(out, "lags")
        .push_back({{"lag", n + 1},
                    {"pairs", counts.pairs[n]},
                    {"distinct", counts.lags[n].nnz()},
                    {"count_asymmetry_ratio", a.ratio}});
  }
  return out;
}

/// Name of the stage that leaves such a file; "" for none.
std::string stage_of(const std::string& artifact) {
  for (const Recipe& recipe : all_recipes())
    for (const Stage& stage : recipe.stages)
      if (stage.artifact == artifact) return std::string(stage.name);
  return "";
}

}  // namespace

ordered_json safetensors_summary(const std::string& path) {
  const SafetensorsReader file(path);
  ordered_json out{{"kind", "safetensors"}};
  const auto kind = file.metadata().find("artifact");
  if (kind != file.metadata().end()) {
    out["kind"] = "aloft " + kind->second;
    if (const std::string stage = stage_of(kind->second); !stage.empty()) out["stage"] = stage;
  }
  out["metadata"] = file.metadata();
  out["metadata"].erase(
      "layers");  // an artifact's record of its layers: long, and spectra.json says it better
  if (kind != file.metadata().end() && kind->second == kCount.artifact) {
    out["counts"] = counts_summary(path);
    return out;
  }
  for (const TensorInfo& t : file.tensors()) array_in(out, "tensors").push_back(tensor_summary(file, t));
  return out;
}

}  // namespace aloft
