#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

// Where the compiler has no libFuzzer: runs every file of the folders it is given, then mutations of them,
// for -max_total_time=SECONDS or -runs=N. It takes libFuzzer's arguments and knows no coverage. A crash
// leaves its input in crash-input.

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kLongest = 4096;

void run(const std::string& input, const std::string& kept) {
  std::ofstream(kept, std::ios::binary | std::ios::trunc) << input;  // what crashes is there afterwards
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

std::string mutated(const std::vector<std::string>& all, std::mt19937_64& random) {
  const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  std::string text = all[pick(all.size())];
  for (std::size_t edits = 1 + pick(4); edits > 0; --edits) {
    const std::size_t at = pick(text.size() + 1);
    const std::string& other = all[pick(all.size())];
    const std::size_t from = pick(other.size() + 1);
    switch (pick(5)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(random());
        break;
      case 1:
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << pick(8)));
        break;
      case 2:
        text.erase(at, pick(8));
        break;
      case 3:
        text.resize(at);
        break;
      default:
        text.insert(at, other.substr(from, pick(16)));
        break;
    }
  }
  return text.substr(0, kLongest);
}

}  // namespace

int main(int argc, char** argv) {
  LLVMFuzzerInitialize(&argc, &argv);
  double seconds = 0;
  std::uint64_t most = 0, seed = 1, done = 0;
  std::string kept = "crash-input";
  std::vector<std::string> all{""};
  for (int k = 1; k < argc; ++k) {
    const std::string word = argv[k];
    const auto value = [&] { return word.substr(word.find('=') + 1); };
    if (word.rfind("-max_total_time=", 0) == 0) seconds = std::stod(value());
    if (word.rfind("-runs=", 0) == 0) most = std::stoull(value());
    if (word.rfind("-seed=", 0) == 0) seed = std::stoull(value());
    if (word.rfind("-artifact_prefix=", 0) == 0) kept = value() + "crash-input";
    if (word[0] == '-' || !std::filesystem::is_directory(word)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(word)) {
      std::ifstream in(entry.path(), std::ios::binary);
      all.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    }
  }
  std::mt19937_64 random(seed);
  const auto begin = Clock::now();
  for (const std::string& input : all) run(input, kept), ++done;
  while ((most > 0 && done < most) ||
         (seconds > 0 && std::chrono::duration<double>(Clock::now() - begin).count() < seconds))
    run(mutated(all, random), kept), ++done;
  std::filesystem::remove(kept);
  std::cerr << "Done " << done << " runs\n";
  return 0;
}
