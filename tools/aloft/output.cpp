#include "tools/aloft/output.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "host/printable.hpp"

namespace aloft {

void print_json(const nlohmann::ordered_json& result) {
  const std::string text = result.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  std::fputs((printable_json(text) + "\n").c_str(), stdout);
}

}  // namespace aloft
