#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace aloft {

/// Records in a text file: counted as text, their keys, quotes, escapes and other columns would pass for
/// prose.
struct StructuredText {
  std::string what;     ///< "JSON Lines", "JSON", "CSV", "tab-separated values"
  std::string command;  ///< a shell command that reads it from stdin and writes its texts, each followed by
                        ///< kRecordSeparator
};
inline constexpr const char* kRecordSeparator = "<|endoftext|>";

/// What a text's beginning shows it to be, `whole`: there is no more of it. JSON where it parses as such, or
/// nine in ten of its lines do with keys in common, or are strings with an escape in one of them (without
/// one: in a file called .jsonl or of 20 such lines). Tables where, line for line, they have the same columns
/// and either the extension says so or a first line of names does; prose and source code do not.
[[nodiscard]] std::optional<StructuredText> structured_text(std::string_view head, bool whole,
                                                            std::string_view extension);
/// The two halves of it.
[[nodiscard]] std::optional<StructuredText> structured_json(std::string_view head, bool whole,
                                                            std::string_view extension);
[[nodiscard]] std::optional<StructuredText> structured_table(std::string_view head, bool whole,
                                                             std::string_view extension);

}  // namespace aloft
