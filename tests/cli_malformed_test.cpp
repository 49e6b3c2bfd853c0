#include <fmt/format.h>

#include "tests/malformed_cases.hpp"

// Every malformed input ends the program with exit code 3, one line on stderr that names the file, nothing on
// stdout, and a disk as it was before. The tables of inputs are in malformed_*_cases.cpp.

namespace aloft::cli_tests {
namespace {

const Cases& all_cases() {
  static const Cases all = [] {
    Cases out;
    for (const auto make : {malformed_texts, malformed_token_files, malformed_settings, malformed_counts,
                            malformed_holdouts, malformed_embeddings})
      for (Malformed& c : make()) out.push_back(std::move(c));
    return out;
  }();
  return all;
}

Words all_defects() {
  Words out;
  for (const Malformed& c : all_cases())
    if (std::find(out.begin(), out.end(), c.defect) == out.end()) out.push_back(c.defect);
  return out;
}

Words in_folder(Words words, const Folder& folder) {
  for (std::string& word : words) {
    const std::size_t at = word.find('@');
    if (at != std::string::npos && (at == 0 || word[at - 1] == '='))
      word = word.substr(0, at) + folder / word.substr(at + 1);
  }
  return words;
}

void write(const std::vector<std::pair<std::string, std::string>>& files, const Folder& folder) {
  for (const auto& [name, text] : files) {
    if (name.ends_with('/')) {
      fs::create_directory(folder / name);
    } else {
      folder.file(name, text);
    }
  }
}

class MalformedInput : public testing::TestWithParam<std::string> {};

TEST_P(MalformedInput, IsRefusedInOneLineAndLeavesNothing) {
  for (const Malformed& c : all_cases()) {
    if (c.defect != GetParam()) continue;
    for (const Words& command : c.commands) {
      SCOPED_TRACE(fmt::format("{}: {} ({})", c.defect, c.name, command.front()));
      const Folder folder;
      write(c.files, folder);
      const Words before = folder.names();
      const Outcome o = Process(in_folder(command, folder)).wait(60);
      EXPECT_TRUE(refused(o, 3, {folder / c.culprit}));
      EXPECT_EQ(folder.names(), before);
      for (const auto& [name, text] : c.files) {
        if (!name.ends_with('/')) {
          EXPECT_EQ(content(folder / name), text);
        }
      }
    }
  }
}

std::string name_of(const testing::TestParamInfo<std::string>& info) {
  std::string out;
  bool upper = true;
  for (const char c : info.param) {
    const bool letter = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (letter) out += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    upper = !letter;
  }
  return out;
}
INSTANTIATE_TEST_SUITE_P(Each, MalformedInput, testing::ValuesIn(all_defects()), name_of);

TEST(MalformedInputs, AreManyAndDistinct) {
  std::set<std::string> names, inputs;
  for (const Malformed& c : all_cases()) {
    EXPECT_TRUE(names.insert(c.defect + ": " + c.name).second)
        << c.defect << ": " << c.name << " is there twice";
    EXPECT_FALSE(c.commands.empty()) << c.name;
    std::string input = fmt::format("{}", fmt::join(c.commands.front(), " "));
    for (const auto& [name, text] : c.files) input += '\n' + name + '\n' + text;
    EXPECT_TRUE(inputs.insert(input).second) << c.defect << ": " << c.name << " is the same as another";
  }
  EXPECT_GE(inputs.size(), 200u);
  EXPECT_GE(all_defects().size(), 20u);
}

// Were these refused as well, the cases above would show nothing.
TEST(MalformedInputs, AreAcceptedWithoutTheirDefect) {
  std::vector<float> values;
  for (Numbers random(3); values.size() < 24;) values.push_back(static_cast<float>(random.below(1000)) - 500);
  const std::string rows = bytes_of(values);
  Tensors embedding;
  embedding.all = {{"wte", "F32", "[3,8]", rows}};
  const std::vector<std::pair<std::string, std::string>> files{
      {"t.txt", kSoundText},
      {"vocab.json", kSoundVocabulary},
      {"sp.model", kSoundPieces + kSoundModelTail},
      {"ids.u16", kSoundIds16},
      {"ids.u32", kSoundIds32},
      {"ids.bin", kSoundLlmc},
      {"ids.npy", npy_ids()},
      {"arch.json", kSoundArchitecture},
      {"config.json", kSoundModelConfig},
      {"run.yaml", kSoundYaml},
      {"counts.safetensors", sound_counts().file()},
      {"slice.safetensors", sound_counts_with_slice().file()},
      {"e.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 8), }", rows)},
      {"e.safetensors", embedding.file()}};
  const Words sizes{"--layers", "1", "--d-model", "8", "--heads", "2", "--lags", "2"},
      spread{"--recipe", "spread", "--pr-target", "2"};
  const std::vector<Words> commands{
      count_with({"--corpus", "@t.txt", "--vocab-size", "8"}),
      init_with({"--corpus", "@t.txt", "--vocab-size", "8"}),
      init_with({"--corpus", "@t.txt", "--vocabulary", "@vocab.json"}),
      init_with({"--corpus", "@t.txt", "--tokenizer", "@sp.model"}),
      init_with({"--corpus", "@ids.u16", "--vocab-size", "5"}),
      init_with({"--corpus", "@ids.u32", "--vocab-size", "5"}),
      init_with({"--corpus", "@ids.bin", "--vocab-size", "5"}),
      init_with({"--corpus", "@ids.npy", "--vocab-size", "5"}),
      init_with({"--corpus", "@t.txt", "--config", "@run.yaml"}),
      init_with({"--counts", "@counts.safetensors"}),
      init_with({"--counts", "@slice.safetensors"}),
      Words{"init", "--recipe", "offset", "--arch", "llama", "--counts", "@slice.safetensors", "--output",
            "@run"} +
          sizes,
      init_with({"--counts", "@counts.safetensors", "--embedding", "@e.npy"}),
      init_with({"--counts", "@counts.safetensors", "--embedding", "@e.safetensors"}),
      Words{"init", "--arch", "@arch.json", "--counts", "@counts.safetensors", "--output", "@run"} + spread +
          sizes,
      Words{"init", "--model-config", "@config.json", "--counts", "@counts.safetensors", "--recipe", "spread",
            "--pr-target", "2", "--lags", "2", "--output", "@run"}};
  for (const Words& command : commands) {
    SCOPED_TRACE(fmt::format("{}", fmt::join(command, " ")));
    const Folder folder;
    write(files, folder);
    const Outcome o = run(in_folder(command, folder));
    EXPECT_EQ(o.code, 0) << o;
  }
}

}  // namespace
}  // namespace aloft::cli_tests
