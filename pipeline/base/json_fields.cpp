#include "pipeline/base/json_fields.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "host/error.hpp"
#include "host/json_text.hpp"
#include "host/printable.hpp"

namespace aloft {
namespace {

using nlohmann::json;

std::string kind_of(const json& value) {
  return value.is_number() ? "the number " + value.dump()
                           : std::string("a value of type ") + value.type_name();
}

}  // namespace

json parse_json_object(const std::string& text, const std::string& origin) {
  json value = parse_json(text, origin);
  if (!value.is_object()) throw InputError(origin + ": a JSON object is needed");
  return value;
}

JsonFields::JsonFields(const json& object, std::string origin, std::string path)
    : object_(&object), origin_(std::move(origin)), path_(std::move(path)) {}

bool JsonFields::has(const std::string& field) const {
  const auto found = object_->find(field);
  return found != object_->end() && !found->is_null();
}

const json* JsonFields::find(const std::string& field) {
  known_.insert(field);
  return has(field) ? &*object_->find(field) : nullptr;
}

void JsonFields::fail(const std::string& field, const std::string& reason) const {
  throw InputError(
      fmt::format("{}: {}{}{}: {}", origin_, path_, path_.empty() ? "" : ".", printable(field), reason));
}

std::optional<std::string> JsonFields::text(const std::string& field) {
  const json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) fail(field, "a string is needed, not " + kind_of(*value));
  if (value->get_ref<const std::string&>().empty()) fail(field, "must not be empty");
  return value->get<std::string>();
}

std::optional<bool> JsonFields::boolean(const std::string& field) {
  const json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) fail(field, "true or false is needed, not " + kind_of(*value));
  return value->get<bool>();
}

std::optional<std::int64_t> JsonFields::positive(const std::string& field) {
  const json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number_unsigned()) fail(field, "a positive whole number is needed, not " + kind_of(*value));
  const auto number = value->get<std::uint64_t>();
  if (number == 0 || number > std::uint64_t{1} << 31)
    fail(field, fmt::format("{} is not in 1..2^31", number));
  return static_cast<std::int64_t>(number);
}

std::optional<double> JsonFields::real(const std::string& field, double low, double high, bool open) {
  const json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) fail(field, "a number is needed, not " + kind_of(*value));
  const auto number = value->get<double>();
  if (!std::isfinite(number) || number < low || number > high || (open && number == low))
    fail(field, fmt::format("{} is out of range: {}{} to {}", number, open ? "above " : "", low, high));
  return number;
}

std::optional<std::vector<std::string>> JsonFields::texts(const std::string& field) {
  const json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_array()) fail(field, "an array of strings is needed, not " + kind_of(*value));
  std::vector<std::string> out;
  for (const json& item : *value) {
    if (!item.is_string())
      fail(fmt::format("{}[{}]", field, out.size()), "a string is needed, not " + kind_of(item));
    out.push_back(item.get<std::string>());
  }
  return out;
}

std::optional<JsonFields> JsonFields::object(const std::string& field) {
  const json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) fail(field, "an object is needed, not " + kind_of(*value));
  return JsonFields(*value, origin_, path_.empty() ? field : path_ + "." + field);
}

void JsonFields::refuse_unknown() const {
  for (const auto& [field, value] : object_->items())
    if (!known_.contains(field)) fail(field, "unknown field");
}

}  // namespace aloft
