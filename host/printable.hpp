#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace aloft {

/// Text from outside (a file's content, a name, a library's message) as one line that does nothing to a
/// terminal and reads as what it is. A newline, tab or carriage return becomes \n, \t, \r; other control
/// characters, DEL, marks of writing direction, line separators and invisible tags become \u009b; bytes that
/// are not UTF-8 become \xff. What is longer than `most` bytes loses its end, "..." stands for it.
[[nodiscard]] std::string printable(std::string_view text, std::size_t most = 120);

/// The same for a whole message: what is too long loses its middle, for the end says what to do.
[[nodiscard]] std::string printable_message(std::string_view text);

/// JSON with the same characters as \u escapes, which they can be wherever JSON has them; its line breaks
/// stay. `json` is valid UTF-8.
[[nodiscard]] std::string printable_json(std::string_view json);

}  // namespace aloft
