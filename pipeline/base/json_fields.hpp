#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "host/printable.hpp"

namespace aloft {

/// Whole text as JSON whose top is an object, read by parse_json (host/json_text.hpp). Throws InputError
/// naming `origin`.
[[nodiscard]] nlohmann::json parse_json_object(const std::string& text, const std::string& origin);

/// Typed access to the fields of one JSON object. A field that is null counts as absent. Every error is an
/// InputError "ORIGIN: PATH.FIELD: reason". Keeps references: the JSON must live longer.
class JsonFields {
 public:
  JsonFields(const nlohmann::json& object, std::string origin, std::string path = "");

  [[nodiscard]] bool has(const std::string& field) const;
  [[nodiscard]] std::optional<std::string> text(const std::string& field);
  [[nodiscard]] std::optional<bool> boolean(const std::string& field);
  [[nodiscard]] std::optional<std::int64_t> positive(const std::string& field);  ///< whole, 1 to 2^31
  /// Finite, low <= x <= high (low < x where `open`).
  [[nodiscard]] std::optional<double> real(const std::string& field, double low, double high,
                                           bool open = false);
  [[nodiscard]] std::optional<std::vector<std::string>> texts(const std::string& field);
  [[nodiscard]] std::optional<JsonFields> object(const std::string& field);
  /// One of the names in `choices`, as the value beside it.
  template <class T>
  [[nodiscard]] std::optional<T> choice(const std::string& field,
                                        const std::vector<std::pair<std::string, T>>& choices) {
    const auto value = text(field);
    if (!value) return std::nullopt;
    std::string names;
    for (const auto& [name, meaning] : choices) {
      if (name == *value) return meaning;
      names += (names.empty() ? "" : ", ") + name;
    }
    fail(field, "'" + printable(*value) + "' is not one of: " + names);
  }

  /// The value, or an error that the field is missing.
  template <class T>
  [[nodiscard]] T required(const std::string& field, std::optional<T> value) const {
    if (!value) fail(field, "is missing");
    return *std::move(value);
  }
  /// Throws if the object has a field that nothing asked for.
  void refuse_unknown() const;
  [[noreturn]] void fail(const std::string& field, const std::string& reason) const;

 private:
  const nlohmann::json* find(const std::string& field);

  const nlohmann::json* object_;
  std::string origin_, path_;
  std::set<std::string> known_;
};

}  // namespace aloft
