#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "host/npy_rows.hpp"
#include "host/safetensors.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/spectra/spectra.hpp"

namespace aloft {
namespace {

constexpr std::int64_t kPieceBytes = std::int64_t{4} << 20;

/// Takes rows one after the other, as numbers of 32 bits, and puts them on the device: never more than a
/// piece of them is on the host.
class Rows {
 public:
  Rows(Context& ctx, const std::string& path, std::int64_t vocab, std::int64_t d)
      : ctx_(ctx), path_(path), d_(d), rows_(ctx.device(), vocab, d) {}

  /// The next numbers; what is behind the vocabulary is left: models pad theirs.
  void take(std::span<const double> values) {
    std::size_t next = 0;
    while (next < values.size() && taken_ < total()) {
      const auto n = static_cast<std::size_t>(
          std::min({total() - taken_, piece_limit(), static_cast<std::int64_t>(values.size() - next)}));
      piece_.assign(values.begin() + static_cast<std::ptrdiff_t>(next),
                    values.begin() + static_cast<std::ptrdiff_t>(next + n));
      put();
      next += n;
    }
  }
  [[nodiscard]] Embedding finish() {
    if (rank_ == 0) throw InputError(fmt::format("{}: the embedding is zero", path_));
    return {std::move(rows_), "file", rank_};
  }
  [[nodiscard]] std::int64_t rows_at_once() const { return std::max<std::int64_t>(1, piece_limit() / d_); }

 private:
  [[nodiscard]] std::int64_t total() const { return rows_.rows * d_; }
  [[nodiscard]] static std::int64_t piece_limit() {
    return kPieceBytes / static_cast<std::int64_t>(sizeof(double));
  }
  void put() {
    for (std::size_t k = 0; k < piece_.size(); ++k) {
      const std::int64_t i = taken_ + static_cast<std::int64_t>(k);
      const auto rounded = static_cast<float>(piece_[k]);
      if (!std::isfinite(rounded))
        throw InputError(fmt::format("{}: row {}, column {} is {}: not a finite 32-bit number", path_, i / d_,
                                     i % d_, piece_[k]));
      piece_[k] = static_cast<double>(rounded);
      if (rounded != 0) rank_ = std::max(rank_, i % d_ + 1);  // columns from there on are zero
    }
    Device& device = ctx_.device();
    device.upload(rows_.data.data() + taken_, piece_.data(), piece_.size() * sizeof(double));
    device.synchronize();
    taken_ += static_cast<std::int64_t>(piece_.size());
    ctx_.check_interrupt();
  }

  Context& ctx_;
  const std::string& path_;
  const std::int64_t d_;
  Matrix rows_;
  std::vector<double> piece_;
  std::int64_t taken_ = 0, rank_ = 0;
};

void expect_fits(const std::string& path, std::int64_t rows, std::int64_t cols, std::int64_t vocab,
                 std::int64_t d) {
  if (rows < vocab)
    throw InputError(
        fmt::format("{}: the embedding has {} rows, the corpus {} token ids: it belongs to another tokenizer",
                    path, rows, vocab));
  if (cols != d)
    throw InputError(fmt::format("{}: the embedding has {} columns, the model's width is {}", path, cols, d));
}

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool is_real(DType t) { return t == DType::f64 || t == DType::f32 || t == DType::f16 || t == DType::bf16; }

/// The named tensor, or the only one that could be an embedding of this size.
Embedding read_safetensors(Context& ctx, const std::string& path, const std::string& tensor,
                           std::int64_t vocab, std::int64_t d) {
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
  expect_fits(path, info.shape[0], info.shape[1], vocab, d);
  Rows rows(ctx, path, vocab, d);
  file.read_real_blocks(name, [&](std::span<const double> part) { rows.take(part); });
  return rows.finish();
}

Embedding read_npy(Context& ctx, const std::string& path, std::int64_t vocab, std::int64_t d) {
  const NpyRows file(path);
  expect_fits(path, file.rows(), file.cols(), vocab, d);
  Rows rows(ctx, path, vocab, d);
  const std::int64_t step = rows.rows_at_once();
  std::vector<double> piece;
  for (std::int64_t first = 0; first < vocab; first += step) {
    piece.resize(static_cast<std::size_t>(std::min(step, vocab - first) * d));
    file.read(first, piece);
    rows.take(piece);
  }
  return rows.finish();
}

}  // namespace

Embedding embed_from_file(Context& ctx, const std::string& path, const std::string& tensor,
                          std::int64_t vocab, std::int64_t d) {
  if (!ends_with(path, ".npy") && !ends_with(path, ".safetensors"))
    throw UsageError(fmt::format("{}: an embedding is read from a .npy or a .safetensors file", path));
  return ends_with(path, ".npy") ? read_npy(ctx, path, vocab, d)
                                 : read_safetensors(ctx, path, tensor, vocab, d);
}

Peak embed_from_file_memory(std::int64_t vocab, std::int64_t d) {
  Peak out;
  out.reach(on_device(matrix_bytes(vocab, d)) +
            on_host(3 * std::max<std::uint64_t>(kPieceBytes, matrix_bytes(1, d))));
  return out;
}

}  // namespace aloft
