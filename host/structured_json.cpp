#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "host/json_events.hpp"
#include "host/json_text.hpp"
#include "host/structured_text.hpp"

namespace aloft {
namespace {

constexpr std::size_t kMostLines = 200;  // of which a look is taken
constexpr std::size_t kFewestLines = 2;
constexpr std::size_t kFewestQuotedLines = 20;  // that no escape shows to be JSON: speech is quoted too

/// Top-level shape of the first JSON value in a text: its keys, and how long their strings are. Nothing is
/// kept of the values, and nesting costs no stack.
class JsonShape final : public JsonEvents {
 public:
  bool complete = false;  ///< the value has ended
  bool cut_off = false;   ///< the text ended within it, so far valid
  bool followed = false;  ///< behind it is more
  bool another = false;   ///< behind it begins another value
  bool is_object = false;
  std::size_t elements = 0;                    ///< of an array: the objects and strings in it
  bool of_strings = false;                     ///< of an array: the first of these is a string
  std::set<std::string> keys;                  ///< of the object, or of the objects in the array
  std::map<std::string, std::size_t> lengths;  ///< bytes of their strings

  explicit JsonShape(std::string_view text) : size_(text.size()) { look_for_json(text, *this); }

 private:
  void text(const std::string& value) override {
    if (depth() == 0) complete = true;
    if (depth() == 1 && !is_object) {
      of_strings = of_strings || elements == 0;
      ++elements;
    }
    if (depth() == level()) lengths[key_] += value.size();
  }
  void opened(bool object) override {
    if (depth() == 0) is_object = object;
    if (depth() == 1 && object && !is_object) ++elements;
  }
  void closed() override { complete = complete || depth() == 0; }
  void named(const std::string& key) override {
    if (depth() != level()) return;
    key_ = key;
    keys.insert(key_);
  }
  void failed(std::size_t position, const std::string& last) override {
    followed = complete;
    cut_off = !complete && position >= size_;
    another = complete && (last.ends_with("{") || last.ends_with("["));
  }
  /// How deep the fields are.
  [[nodiscard]] std::size_t level() const { return is_object ? 1 : 2; }

  std::size_t size_ = 0;
  std::string key_;
};

/// JSON's own characters are ASCII, so this is the same JSON, and it ends within no character.
std::string ascii_of(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (static_cast<unsigned char>(c) >= 0x80) c = 'x';
  return out;
}

bool is_name(std::string_view key) {
  return !key.empty() && key.size() <= 40 && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  }) && (key[0] < '0' || key[0] > '9');
}

/// jq's way to the texts of an object: `text`, or the key whose strings are longest, where it is there and no
/// null; without one, all strings.
std::string texts_in_object(const std::map<std::string, std::size_t>& text) {
  if (text.contains("text")) return ".text // empty";
  const std::string* best = nullptr;
  std::size_t most = 0;
  for (const auto& [key, bytes] : text)
    if (bytes > most && is_name(key)) {
      best = &key;
      most = bytes;
    }
  return best == nullptr ? ".. | strings | ." : fmt::format(".{} // empty", *best);
}

std::string jq_command(const std::string& texts) {
  return fmt::format("jq -j '{}, \"{}\"'", texts, kRecordSeparator);
}

/// Whether the lines, those that are whole, are values of one shape.
std::optional<StructuredText> json_lines(std::string_view text, bool whole, bool named) {
  std::set<std::string> first;
  std::map<std::string, std::size_t> strings;
  std::size_t lines = 0, alike = 0, arrays = 0, quoted = 0, escaped = 0;
  while (!text.empty() && lines < kMostLines) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos && !whole) break;
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const std::size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) continue;
    ++lines;
    const bool is_string = line[begin] == '"';
    if (line[begin] != '{' && line[begin] != '[' && !is_string) continue;
    const JsonShape shape(line);
    if (!shape.complete || shape.followed) continue;
    if (is_string) {
      ++quoted;
      escaped += line.find('\\') != std::string_view::npos ? 1 : 0;
      continue;
    }
    if (!shape.is_object) {
      arrays += shape.elements > 0 ? 1 : 0;
      continue;
    }
    if (first.empty()) first = shape.keys;
    const bool common =
        std::any_of(first.begin(), first.end(), [&](const auto& key) { return shape.keys.contains(key); });
    alike += common ? 1 : 0;
    for (const auto& [key, bytes] : shape.lengths) strings[key] += bytes;
  }
  if (lines < kFewestLines) return std::nullopt;
  if (10 * alike >= 9 * lines) return StructuredText{"JSON Lines", jq_command(texts_in_object(strings))};
  const bool strings_alone =
      10 * quoted >= 9 * lines && (named || escaped > 0 || (quoted == lines && lines >= kFewestQuotedLines));
  if (10 * arrays >= 9 * lines || strings_alone)
    return StructuredText{"JSON Lines", jq_command(".. | strings | .")};
  return std::nullopt;
}

}  // namespace

std::optional<StructuredText> structured_json(std::string_view head, bool whole, std::string_view extension) {
  const std::string ascii = ascii_of(head);
  const std::string_view text = ascii;
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos || text.find_first_of("{[\"") == std::string_view::npos)
    return std::nullopt;
  const bool named = extension == ".jsonl" || extension == ".ndjson" || extension == ".json";
  if (auto lines = json_lines(text, whole, named)) return lines;
  if (text[begin] != '{' && text[begin] != '[') return std::nullopt;
  const JsonShape shape(text);
  const bool one = shape.complete && !shape.followed, still = shape.cut_off && !whole;
  if (shape.is_object) {
    if (shape.keys.empty()) return std::nullopt;
    // One long line, or values on several lines each: jq reads them all.
    if (shape.another || still) return StructuredText{"JSON", jq_command(texts_in_object(shape.lengths))};
    if (one) return StructuredText{"JSON", jq_command(".. | strings | .")};
    return std::nullopt;
  }
  if (shape.elements == 0 || !(one || still || shape.another)) return std::nullopt;
  return StructuredText{"JSON", jq_command(shape.of_strings ? std::string(".[] | strings | .")
                                                            : ".[] | " + texts_in_object(shape.lengths))};
}

}  // namespace aloft
