#include "pipeline/artifact_file.hpp"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>

#include "host/error.hpp"
#include "host/hash.hpp"

namespace aloft {
namespace {

constexpr const char* kFormat = "1";  // of what the artifacts hold; another number is not read
constexpr const char* kDigest = "digest";

void hash_text(Hash& hash, const std::string& text) {
  const auto length = static_cast<std::uint64_t>(text.size());
  hash.update(&length, sizeof length);
  hash.update(text.data(), text.size());
}

/// Metadata (but for the digest itself) and tensors in file order.
class Digest {
 public:
  explicit Digest(const std::map<std::string, std::string>& metadata) {
    for (const auto& [name, value] : metadata) {
      if (name == kDigest) continue;
      hash_text(hash_, name);
      hash_text(hash_, value);
    }
  }
  void add(const TensorInfo& info, std::span<const std::byte> bytes) {
    hash_text(hash_, info.name);
    hash_text(hash_, std::string(dtype_name(info.dtype)));
    for (const std::int64_t extent : info.shape) hash_.update(&extent, sizeof extent);
    hash_.update(bytes.data(), bytes.size());
  }
  [[nodiscard]] std::string hex() const { return hash_.hex(); }

 private:
  Hash hash_;
};

}  // namespace

ArtifactWriter::ArtifactWriter(std::string kind, const std::string& key) {
  metadata_ = {
      {"format", "pt"}, {"aloft.kind", std::move(kind)}, {"aloft.format", kFormat}, {"aloft.key", key}};
}

void ArtifactWriter::matrix(const std::string& name, const Matrix& m) {
  tensor(name, DType::f64, {m.batch, m.rows, m.cols}, to_host(m.data));
}

void ArtifactWriter::write(const std::string& path) {
  Digest digest(metadata_);
  std::vector<TensorInfo> infos;
  for (const Tensor& t : tensors_) {
    digest.add(t.info, t.bytes);
    infos.push_back(t.info);
  }
  metadata_[kDigest] = digest.hex();
  SafetensorsWriter file(path, metadata_, infos);
  for (const Tensor& t : tensors_) file.append(t.bytes);
  file.commit();
}

std::optional<ArtifactReader> ArtifactReader::open(const std::string& path, const std::string& kind,
                                                   const std::string& key) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  ArtifactReader out(path, SafetensorsReader(path));
  const std::string found = out.fact("aloft.kind");
  out.require(found == kind, fmt::format("holds {}, not {}", found, kind));
  if (out.fact("aloft.format") != kFormat) return std::nullopt;  // written by another version: made anew
  if (!key.empty() && out.fact("aloft.key") != key) return std::nullopt;
  Digest digest(out.file_.metadata());
  for (const TensorInfo& info : out.file_.tensors()) digest.add(info, out.file_.bytes(info.name));
  out.require(digest.hex() == out.fact(kDigest),
              "the content is not what was written (its digest differs): delete it");
  return out;
}

std::string ArtifactReader::fact(const std::string& name) const {
  const auto found = file_.metadata().find(name);
  require(found != file_.metadata().end(),
          fmt::format("not written by aloft: its metadata have no '{}'", name));
  return found->second;
}

std::int64_t ArtifactReader::number(const std::string& name) const {
  const std::string text = fact(name);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  require(error == std::errc() && end == text.data() + text.size() && value >= 0,
          fmt::format("metadata '{}' is '{}', not a number", name, text));
  return value;
}

std::vector<std::int64_t> ArtifactReader::shape(const std::string& name, std::size_t dimensions) const {
  const TensorInfo& info = file_.info(name);
  require(info.shape.size() == dimensions,
          fmt::format("tensor {} has {} dimensions, not {}", name, info.shape.size(), dimensions));
  return info.shape;
}

Matrix ArtifactReader::matrix(Device& device, const std::string& name) const {
  const auto extents = shape(name, 3);
  return matrix_from(device, file_.read<double>(name, extents), extents[1], extents[2], extents[0]);
}

void ArtifactReader::require(bool ok, const std::string& reason) const {
  if (!ok) throw InputError(path_ + ": " + reason);
}

}  // namespace aloft
