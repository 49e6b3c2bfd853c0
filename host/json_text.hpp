#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace aloft {

// The program's only way to read JSON: the library copies, compares and prints a value by recursion, so what
// is nested without end would overflow the stack.

inline constexpr int kDeepestJson = 64;
inline constexpr std::uint64_t kLongestJson = std::uint64_t{64} << 20;
/// A value takes 16 bytes and more, its text as few as two.
inline constexpr std::size_t kMostJsonValues = 4'000'000;
/// An ordered object searches all its keys for every one that is added.
inline constexpr std::size_t kMostOrderedKeys = 4096;

/// Whole text as JSON (nlohmann::json or ordered_json). Throws InputError naming `origin`, and the byte where
/// there is one: invalid JSON, text behind it, equal keys in one object, a number that no double holds, more
/// than kDeepestJson levels, kMostJsonValues values or kLongestJson bytes, and, where keys keep their order,
/// more than kMostOrderedKeys of them.
template <class Json = nlohmann::json>
[[nodiscard]] Json parse_json(std::string_view text, const std::string& origin);

/// The same; nothing where parse_json would throw.
template <class Json = nlohmann::json>
[[nodiscard]] std::optional<Json> try_parse_json(std::string_view text);

/// Whole text as events, for what is too long for a tree, or must see every key. `handler` learns of invalid
/// JSON by parse_error and throws; its own errors pass through. InputError for more than `most_bytes` or
/// kDeepestJson levels.
void read_json_events(std::string_view text, const std::string& origin,
                      nlohmann::json_sax<nlohmann::json>& handler, std::uint64_t most_bytes);

/// The events of a text that may be JSON, or begin like it, up to where it is none: `handler` learns of that
/// by parse_error. Nothing is built and no level takes stack, so there are no bounds; throws nothing itself.
void look_for_json(std::string_view text, nlohmann::json_sax<nlohmann::json>& handler);

}  // namespace aloft
