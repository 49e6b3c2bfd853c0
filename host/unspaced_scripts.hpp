#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "host/vocabulary.hpp"

namespace aloft {

/// One line where much of a text is of scripts whose words no blank ends (Chinese, Japanese, Thai, ...): runs
/// of letters are no words there, though few of them need be unknown to a large vocabulary. "": it is not.
/// `types`: the text's tokens, `counts` [types.size()] how often each occurs. Chinese and Japanese that was
/// cut into words before passes.
[[nodiscard]] std::string unspaced_warning(const TokenTable& types, const std::vector<std::uint64_t>& counts);

}  // namespace aloft
