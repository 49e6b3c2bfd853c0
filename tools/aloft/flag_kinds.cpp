#include "tools/aloft/flag_kinds.hpp"

#include <algorithm>
#include <cmath>

#include "host/utf8.hpp"

namespace aloft {

CLI::Option* find_option(CLI::App& command, const std::string& flag) {
  for (CLI::Option* option : command.get_options())
    for (const std::string& name : option->get_lnames())
      if (flag.size() == name.size() + 2 && flag.starts_with("--") && flag.ends_with(name)) return option;
  return nullptr;
}

const CLI::Option* find_option(const CLI::App& command, const std::string& flag) {
  return find_option(const_cast<CLI::App&>(command),
                     flag);  // the same search, and what it finds is const again
}

namespace {

CLI::Validator number_check(const std::string& what, bool zero) {
  return CLI::Validator(
      [what, zero](const std::string& text) {
        double value = 0;
        const bool number = CLI::detail::lexical_cast(text, value) && std::isfinite(value);
        return number && (value > 0 || (zero && value == 0)) ? std::string()
                                                             : fmt::format("'{}' is no {}", text, what);
      },
      "FLOAT");
}

}  // namespace

CLI::Validator number_above_zero() { return number_check("number above 0", false); }
CLI::Validator number_from_zero() { return number_check("number from 0", true); }

CLI::Validator not_empty() {
  return {[](const std::string& value) { return std::string(value.empty() ? "an empty value" : ""); }, ""};
}

CLI::Validator utf8_text() {
  return {[](const std::string& value) {
            return std::string(value.empty()                              ? "an empty value"
                               : valid_utf8_prefix(value) != value.size() ? "not valid UTF-8"
                                                                          : "");
          },
          ""};
}

CLI::Validator whole_number() {
  return CLI::Validator(
      [](const std::string& text) {
        const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
        return digits ? std::string() : fmt::format("'{}' is no whole number from 0", text);
      },
      "UINT");
}

CLI::Validator one_of(std::vector<std::string> words) {
  return {[words = std::move(words)](const std::string& word) {
            const bool known = std::find(words.begin(), words.end(), word) != words.end();
            return known ? std::string() : fmt::format("'{}' is not one of {}", word, fmt::join(words, ", "));
          },
          ""};
}

}  // namespace aloft
