#pragma once
#include <optional>
#include <string>

#include "pipeline/values.hpp"

// Saving and loading what flows between stages, as safetensors. `key` names what the artifact was made from
// (a hash of parameters and inputs); load_* returns nothing when the file is absent, its key differs, or key
// is empty-checked below, and throws InputError when the file claims to be whole but is not. Writing is
// atomic.

namespace aloft {

void save(const std::string& path, const Counts& counts, const std::string& key);
void save(const std::string& path, const Embedding& embedding, const std::string& key);
void save(const std::string& path, const Projections& projections, const std::string& key);
void save(const std::string& path, const Spectra& spectra, const std::string& key);
void save(const std::string& path, const ExpandedSpectra& expanded, const std::string& key);

/// An empty key accepts any.
[[nodiscard]] std::optional<Counts> load_counts(Device& device, const std::string& path,
                                                const std::string& key);
[[nodiscard]] std::optional<Embedding> load_embedding(Device& device, const std::string& path,
                                                      const std::string& key);
[[nodiscard]] std::optional<Projections> load_projections(Device& device, const std::string& path,
                                                          const std::string& key);
[[nodiscard]] std::optional<Spectra> load_spectra(Device& device, const std::string& path,
                                                  const std::string& key);
[[nodiscard]] std::optional<ExpandedSpectra> load_expanded(Device& device, const std::string& path,
                                                           const std::string& key);

}  // namespace aloft
