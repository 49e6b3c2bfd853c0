#pragma once
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "tests/paths.hpp"

// The kernels that the product's source defines, so that no kernel can be without a test: the table in
// README.md must name each, and the SIMT run must launch each. A function that each_element.cuh makes a
// kernel of counts as one.

namespace aloft {

inline std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

/// Name of each kernel in kernels/cuda/ -> its file's name.
inline std::map<std::string, std::string> kernels_in_source() {
  std::map<std::string, std::string> out;
  const auto word_at = [](const std::string& text, std::size_t begin) {
    std::size_t end = begin;
    while (end < text.size() &&
           (std::isalnum(static_cast<unsigned char>(text[end])) != 0 || text[end] == '_'))
      ++end;
    return text.substr(begin, end - begin);
  };
  const auto folder = std::filesystem::path(source_folder()) / "kernels/cuda";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto extension = entry.path().extension();
    if (extension != ".cu" && extension != ".cuh") continue;
    const std::string text = text_of(entry.path());
    if (extension == ".cu")
      for (const std::string call : {"for_each_element<", "for_each_element_of_batch<"})
        for (std::size_t at = text.find(call); at != std::string::npos; at = text.find(call, at + 1))
          out[word_at(text, at + call.size())] = entry.path().filename().string();
    for (std::size_t at = text.find("__global__ "); at != std::string::npos;
         at = text.find("__global__ ", at + 1)) {
      // __global__ [__launch_bounds__(..)] void [__launch_bounds__(..)] name(
      std::size_t open = text.find('(', at);
      const auto word_before = [&text](std::size_t end) {
        std::size_t begin = end;
        while (begin > 0 &&
               (std::isalnum(static_cast<unsigned char>(text[begin - 1])) != 0 || text[begin - 1] == '_'))
          --begin;
        return text.substr(begin, end - begin);
      };
      while (open != std::string::npos && word_before(open) == "__launch_bounds__")
        open = text.find('(', text.find(')', open));
      if (open != std::string::npos) out[word_before(open)] = entry.path().filename().string();
    }
  }
  return out;
}

}  // namespace aloft
