#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "host/npy.hpp"
#include "host/safetensors.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/spectra/spectra.hpp"

namespace aloft {
namespace {

struct HostMatrix {
  std::int64_t rows = 0, cols = 0;
  std::vector<double> values;
};

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool is_real(DType t) { return t == DType::f64 || t == DType::f32 || t == DType::f16 || t == DType::bf16; }

/// The named tensor, or the only one that could be an embedding of this size.
HostMatrix read_safetensors(const std::string& path, const std::string& tensor, std::int64_t vocab,
                            std::int64_t d) {
  const SafetensorsReader file(path);
  std::string name = tensor;
  if (name.empty()) {
    std::vector<std::string> fitting;
    for (const TensorInfo& t : file.tensors())
      if (is_real(t.dtype) && t.shape.size() == 2 && t.shape[0] >= vocab && t.shape[1] == d)
        fitting.push_back(t.name);
    if (fitting.size() != 1)
      throw InputError(
          fmt::format("{}: {} tensors could be the embedding ({} or more rows of {}){}; name the one to use",
                      path, fitting.empty() ? "no" : std::to_string(fitting.size()), vocab, d,
                      fitting.empty() ? std::string() : ": " + fitting[0] + ", " + fitting[1]));
    name = fitting[0];
  }
  const TensorInfo& info = file.info(name);
  if (info.shape.size() != 2)
    throw InputError(
        fmt::format("{}: tensor {} has {} dimensions, an embedding has 2", path, name, info.shape.size()));
  return {info.shape[0], info.shape[1], file.read_real(name, {-1, -1})};
}

HostMatrix read_npy(const std::string& path) {
  NpyMatrix m = read_npy_matrix(path);
  return {m.rows, m.cols, std::move(m.values)};
}

}  // namespace

Embedding embed_from_file(Context& ctx, const std::string& path, const std::string& tensor,
                          std::int64_t vocab, std::int64_t d) {
  if (!ends_with(path, ".npy") && !ends_with(path, ".safetensors"))
    throw UsageError(fmt::format("{}: an embedding is read from a .npy or a .safetensors file", path));
  HostMatrix m = ends_with(path, ".npy") ? read_npy(path) : read_safetensors(path, tensor, vocab, d);
  if (m.rows < vocab)
    throw InputError(
        fmt::format("{}: the embedding has {} rows, the corpus {} token ids: it belongs to another tokenizer",
                    path, m.rows, vocab));
  if (m.cols != d)
    throw InputError(
        fmt::format("{}: the embedding has {} columns, the model's width is {}", path, m.cols, d));
  const std::int64_t used = vocab * d;  // models pad their vocabulary: those rows never occur
  m.values.resize(static_cast<std::size_t>(used));
  for (std::int64_t i = 0; i < used; ++i) {
    double& value = at(m.values, i);
    const auto rounded = static_cast<float>(value);
    if (!std::isfinite(rounded))
      throw InputError(
          fmt::format("{}: row {}, column {} is {}: not a finite 32-bit number", path, i / d, i % d, value));
    value = static_cast<double>(rounded);
  }
  std::int64_t rank = 0;  // columns from here on are zero
  for (std::int64_t i = 0; i < used; ++i)
    if (at(m.values, i) != 0) rank = std::max(rank, i % d + 1);
  if (rank == 0) throw InputError(fmt::format("{}: the embedding is zero", path));
  return {matrix_from(ctx.device(), m.values, vocab, d), "file", rank};
}

Peak embed_from_file_memory(std::int64_t vocab, std::int64_t d) {
  Peak out;
  out.reach(on_device(matrix_bytes(vocab, d)) + on_host(matrix_bytes(vocab, d)));
  return out;
}

}  // namespace aloft
