#include "host/json_text.hpp"

#include <fmt/format.h>

#include <set>
#include <type_traits>
#include <vector>

#include "host/error.hpp"
#include "host/printable.hpp"

namespace aloft {
namespace {

void expect_bounds(std::string_view text, const std::string& origin, std::uint64_t most_bytes,
                   std::uint64_t most_values) {
  if (text.size() > most_bytes)
    throw InputError(fmt::format("{}: {} bytes of JSON are more than the {} expected at most", origin,
                                 text.size(), most_bytes));
  int depth = 0;
  std::uint64_t values = 0;  // commas and openings: as many as there are values, about
  bool quoted = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (quoted) {
      if (c == '\\') ++at;
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      ++values;
    } else if (c == '[' || c == '{') {
      ++values;
      if (++depth > kDeepestJson)
        throw InputError(
            fmt::format("{}: its JSON is nested deeper than {} levels at byte {}", origin, kDeepestJson, at));
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  if (values > most_values)
    throw InputError(
        fmt::format("{}: its JSON holds more than the {} values expected at most", origin, most_values));
}

}  // namespace

template <class Json>
Json parse_json(std::string_view text, const std::string& origin) {
  expect_bounds(text, origin, kLongestJson, kMostJsonValues);
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto watch = [&](int, typename Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event != Json::parse_event_t::key) return true;
    const auto& key = value.template get_ref<const std::string&>();
    if (!keys.back().insert(key).second)
      throw InputError(fmt::format("{}: the key '{}' appears twice", origin, printable(key)));
    if (std::is_same_v<Json, nlohmann::ordered_json> && keys.back().size() > kMostOrderedKeys)
      throw InputError(fmt::format("{}: an object of it has more than {} keys", origin, kMostOrderedKeys));
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), watch);
  } catch (const typename Json::parse_error& e) {
    throw InputError(fmt::format("{}: not valid JSON at byte {}", origin, e.byte));
  } catch (const typename Json::exception&) {
    throw InputError(origin + ": not valid JSON: a number is out of range");
  }
}
template nlohmann::json parse_json(std::string_view, const std::string&);
template nlohmann::ordered_json parse_json(std::string_view, const std::string&);

template <class Json>
std::optional<Json> try_parse_json(std::string_view text) {
  try {
    return parse_json<Json>(text, "");
  } catch (const InputError&) {
    return std::nullopt;
  }
}
template std::optional<nlohmann::json> try_parse_json(std::string_view);
template std::optional<nlohmann::ordered_json> try_parse_json(std::string_view);

void read_json_events(std::string_view text, const std::string& origin,
                      nlohmann::json_sax<nlohmann::json>& handler, std::uint64_t most_bytes) {
  expect_bounds(text, origin, most_bytes, text.size());
  nlohmann::json::sax_parse(text.begin(), text.end(), &handler);
}

void look_for_json(std::string_view text, nlohmann::json_sax<nlohmann::json>& handler) {
  nlohmann::json::sax_parse(text.begin(), text.end(), &handler);
}

}  // namespace aloft
