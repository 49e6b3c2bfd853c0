#pragma once
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

// Kinds of flags that several commands have.

namespace aloft {

/// The option of this long name, "--corpus"; null where there is none. (CLI11's own search cannot fail, it
/// says, and ends the program when memory runs out.)
[[nodiscard]] CLI::Option* find_option(CLI::App& command, const std::string& flag);
[[nodiscard]] const CLI::Option* find_option(const CLI::App& command, const std::string& flag);

/// CLI11 reads "-1" as the largest unsigned number.
[[nodiscard]] CLI::Validator whole_number();
/// CLI11's own checks show the largest double in full.
[[nodiscard]] CLI::Validator number_above_zero();
[[nodiscard]] CLI::Validator number_from_zero();
/// Refuses an empty value: a variable that was not set, not a wish for the default.
[[nodiscard]] CLI::Validator not_empty();
/// Refuses an empty value, and one that is not UTF-8.
[[nodiscard]] CLI::Validator utf8_text();

/// Refuses what is not among these words.
[[nodiscard]] CLI::Validator one_of(std::vector<std::string> words);

/// A flag whose words stand for an enum's values; shown by name in --help and in manifests.
template <class E>
CLI::Option* add_choice(CLI::App& command, const std::string& flag, E& value,
                        const std::map<std::string, E>& words, const std::string& help) {
  std::string initial, names;
  for (const auto& [word, meaning] : words) {
    names += (names.empty() ? "" : ", ") + word;
    if (meaning == value) initial = word;
  }
  return command
      .add_option_function<std::string>(
          flag,
          [flag, &value, words, names](const std::string& word) {
            const auto found = words.find(word);
            if (found == words.end())
              throw CLI::ValidationError(flag, fmt::format("'{}' is not one of {}", word, names));
            value = found->second;
          },
          help + ": " + names)
      ->default_str(initial)
      ->type_name("WORD");
}

}  // namespace aloft
