#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace aloft {

/// One result as JSON on stdout: valid UTF-8 whatever came in, and nothing in it that a terminal would obey.
void print_json(const nlohmann::ordered_json& result);

}  // namespace aloft
