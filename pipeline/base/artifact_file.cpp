#include "pipeline/base/artifact_file.hpp"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>

#include "host/error.hpp"
#include "host/hash.hpp"

namespace aloft {
namespace {

// Over everything but itself, so that a damaged file is not taken for a result.
constexpr const char* kDigest = "digest";

class Digest {
 public:
  explicit Digest(const std::map<std::string, std::string>& metadata) {
    for (const auto& [name, value] : metadata)
      if (name != kDigest) add(name), add(value);
  }
  void add(const TensorInfo& info) {  // and after it, its data
    add(info.name);
    add(dtype_name(info.dtype));
    for (const std::int64_t extent : info.shape) hash_.update(&extent, sizeof extent);
  }
  void add(std::span<const std::byte> bytes) { hash_.update(bytes.data(), bytes.size()); }
  [[nodiscard]] std::string hex() const { return hash_.hex(); }

 private:
  void add(std::string_view text) {
    const std::uint64_t length = text.size();
    hash_.update(&length, sizeof length);
    hash_.update(text.data(), text.size());
  }
  Hash hash_;
};

std::string key_of(const SafetensorsReader& file, const std::string& path, std::string_view kind) {
  const auto& metadata = file.metadata();
  const auto found = metadata.find("artifact");
  if (found == metadata.end() || found->second != kind)
    throw InputError(fmt::format("{}: holds {}, not aloft {}", path,
                                 found == metadata.end() ? "no aloft artifact" : "aloft " + found->second,
                                 kind));
  const auto key = metadata.find("key");
  return key == metadata.end() ? "" : key->second;
}

}  // namespace

std::string artifact_key(const std::string& path, std::string_view kind) {
  return key_of(SafetensorsReader(path), path, kind);
}

std::optional<SafetensorsReader> open_artifact(const std::string& path, std::string_view kind,
                                               const std::string& key) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  SafetensorsReader file(path);
  const auto& metadata = file.metadata();
  if (const std::string made_from = key_of(file, path, kind); !key.empty() && made_from != key)
    return std::nullopt;
  Digest digest(metadata);
  for (const TensorInfo& info : file.tensors()) {
    digest.add(info);
    file.read_blocks(info.name, [&](std::span<const std::byte> bytes) { digest.add(bytes); });
  }
  const auto written = metadata.find(kDigest);
  const bool foreign = key.empty() && written == metadata.end();  // a user's own, made by another program
  if (!foreign && (written == metadata.end() || written->second != digest.hex()))
    throw InputError(
        fmt::format("{}: its content is not what was written (the digest differs): delete it", path));
  return file;
}

ArtifactFile::ArtifactFile(std::string_view kind, const std::string& key) {
  metadata_["artifact"] = std::string(kind);
  metadata_["format"] = "pt";
  if (!key.empty()) metadata_["key"] = key;
}

void ArtifactFile::add(const std::string& name, const Matrix& m) {
  add<double>(name, DType::f64, {m.batch, m.rows, m.cols}, m.data);
}

void ArtifactFile::write(const std::string& path, AtomicFile* with) const {
  Digest digest(metadata_);
  for (std::size_t i = 0; i < infos_.size(); ++i) {
    digest.add(infos_[i]);
    digest.add(data_[i]);
  }
  auto metadata = metadata_;
  metadata[kDigest] = digest.hex();
  SafetensorsWriter writer(path, std::move(metadata), infos_);
  for (const auto bytes : data_) writer.append(bytes);
  writer.commit(with);
}

Matrix read_matrix(Device& device, const SafetensorsReader& file, const std::string& name, std::int64_t batch,
                   std::int64_t rows, std::int64_t cols) {
  const std::vector<double> values = file.read<double>(name, {batch, rows, cols});
  const auto& shape = file.info(name).shape;
  return matrix_from(device, values, shape[1], shape[2], shape[0]);
}

std::int64_t metadata_integer(const SafetensorsReader& file, const std::string& path, const std::string& name,
                              std::int64_t least) {
  const auto found = file.metadata().find(name);
  std::int64_t value = 0;
  if (found == file.metadata().end()) throw InputError(fmt::format("{}: its metadata lack '{}'", path, name));
  const std::string& text = found->second;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc{} || end != text.data() + text.size() || value < least)
    throw InputError(
        fmt::format("{}: metadata '{}' is '{}', a whole number from {} is needed", path, name, text, least));
  return value;
}

}  // namespace aloft
