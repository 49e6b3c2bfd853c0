#include "tests/malformed_cases.hpp"

// Defects of token files: raw ids, llm.c, .npy; and corpora that are no file.

namespace aloft::cli_tests {
namespace {

const Words kVocab{"--vocab-size", "5"};
constexpr std::int64_t kMagic16 = 20240520, kMagic32 = 20240801, kMagicEvaluation = 20240522;

Words as(const std::string& format) { return kVocab + Words{"--format", format}; }

void add_raw(Cases& out) {
  for (const char* name : {"a.u16", "a.u32", "a.bin", "a.npy"})
    out.push_back(bad_corpus("empty token file", name, name, "", kVocab));
  for (const char* format : {"u16", "u32", "llmc", "npy"})
    out.push_back(bad_corpus("empty token file", std::string("named ") + format, "ids", "", as(format)));

  for (const std::int64_t id : {5, 6, 255, 40000, 65535}) {
    const std::string text = std::to_string(id);
    out.push_back(bad_corpus("id outside the vocabulary: u16", text + " first", "a.u16",
                             le<std::uint16_t>({id, 1, 2, 3}), kVocab));
    out.push_back(bad_corpus("id outside the vocabulary: u16", text + " in the middle", "a.u16",
                             le<std::uint16_t>({1, 2, id, 3}), kVocab));
    out.push_back(bad_corpus("id outside the vocabulary: u16", text + " last", "a.u16",
                             le<std::uint16_t>({1, 2, 3, id}), kVocab));
  }
  for (const std::int64_t id : {5L, 65536L, 65537L, 2147483648L, 4294967295L}) {
    const std::string text = std::to_string(id);
    out.push_back(bad_corpus("id outside the vocabulary: u32", text + " first", "a.u32",
                             le<std::uint32_t>({id, 1, 2, 3}), kVocab));
    out.push_back(bad_corpus("id outside the vocabulary: u32", text + " last", "a.u32",
                             le<std::uint32_t>({1, 2, 3, id}), kVocab));
  }
  out.push_back(bad_corpus("id outside the vocabulary: u16", "after a megabyte", "a.u16",
                           bytes_of(std::vector<std::uint16_t>(600000, 1)) + le<std::uint16_t>({7}), kVocab));
  out.push_back(bad_corpus("id outside the vocabulary: other", "llm.c version 1", "a.bin",
                           llmc(kMagic16, 1, 3, le<std::uint16_t>({1, 5, 2})), kVocab));
  out.push_back(bad_corpus("id outside the vocabulary: other", "llm.c version 7", "a.bin",
                           llmc(kMagic32, 7, 3, le<std::uint32_t>({1, 2, 70000})), kVocab));
  const auto ids = [](const std::string& type, const std::string& data) {
    return npy_ids("{'descr': '" + type + "', 'fortran_order': False, 'shape': (3,), }", data);
  };
  const std::pair<const char*, std::string> arrays[] = {
      {"|u1", ids("|u1", le<std::uint8_t>({1, 2, 200}))},
      {"|i1 negative", ids("|i1", le<std::int8_t>({1, -1, 2}))},
      {"<i2 negative", ids("<i2", le<std::int16_t>({-1, 1, 2}))},
      {"<i4", ids("<i4", le<std::int32_t>({1, 2, 5}))},
      {"<i4 negative", ids("<i4", le<std::int32_t>({1, -5, 2}))},
      {"<u8", ids("<u8", le<std::int64_t>({1, 2, 1L << 32}))},
      {"<i8 smallest", ids("<i8", le<std::int64_t>({1, 2, INT64_MIN}))},
      {"<u8 largest", ids("<u8", le<std::int64_t>({1, -1, 2}))}};
  for (const auto& [name, file] : arrays)
    out.push_back(bad_corpus("id outside the vocabulary: other", name, "a.npy", file, kVocab));
}

void add_sizes(Cases& out) {
  for (const std::size_t n : {1u, 3u, 5u, 23u})
    out.push_back(bad_corpus("odd size", "u16 of " + std::to_string(n) + " bytes", "a.u16",
                             kSoundIds16.substr(0, n), kVocab));
  for (const std::size_t n : {1u, 2u, 3u, 5u, 6u, 7u, 46u})
    out.push_back(bad_corpus("odd size", "u32 of " + std::to_string(n) + " bytes", "a.u32",
                             kSoundIds32.substr(0, n), kVocab));
  out.push_back(bad_corpus("another format", "u32 read as u16", "a.u16", kSoundIds32, kVocab));
  out.push_back(bad_corpus("another format", "u32 named u16", "a.bin", kSoundIds32, as("u16")));
  out.push_back(bad_corpus("another format", "u16 read as u32", "a.u32", kSoundIds16, kVocab));
  const std::string wide = le<std::int64_t>({1, 2, 3, 1, 2, 4, 3, 2, 1, 1, 2, 3});
  out.push_back(bad_corpus("another format", "int64 read as u32", "a.u32", wide, kVocab));
  out.push_back(bad_corpus("another format", "int64 named u16", "a.bin", wide, as("u16")));
  out.push_back(bad_corpus("another format", "int64 named npy", "a.npy", wide, kVocab));
  out.push_back(bad_corpus("another format", "LitGPT's chunk named u16", "a.bin",
                           "LITPKDS" + le<std::int64_t>({1}) + '\x08' + le<std::int64_t>({12}) + kSoundIds16,
                           as("u16")));
  out.push_back(bad_corpus("another format", "LitGPT's chunk cut off", "b.bin",
                           "LITPKDS" + le<std::int64_t>({1}) + '\x08' + le<std::int64_t>({13}) + kSoundIds16,
                           kVocab));
  out.push_back(bad_corpus("another format", "llm.c named u16", "a.bin", kSoundLlmc, as("u16")));
  out.push_back(bad_corpus("another format", "llm.c named u32", "a.bin", kSoundLlmc, as("u32")));
  out.push_back(bad_corpus("another format", ".npy named u16", "a.npy", npy_ids(), as("u16")));
  out.push_back(bad_corpus("another format", ".npy named u32", "a.npy", npy_ids(), as("u32")));
  out.push_back(bad_corpus("another format", "text named npy", "a.txt", kSoundText, as("npy")));
  out.push_back(bad_corpus("another format", "text named llmc", "a.txt", kSoundText, as("llmc")));
  out.push_back(bad_corpus("another format", "text named u16", "a.txt", kSoundText, as("u16")));
  out.push_back(bad_corpus("another format", "ids named text", "a.u16",
                           le<std::uint16_t>({0xFFFD, 0xD9D8, 3}), as("text")));
  Malformed mixed = bad_corpus("another format", "text beside ids", "b.u16", kSoundIds16, kVocab);
  mixed.files.emplace_back("a.txt", kSoundText);
  for (Words& command : mixed.commands)
    command.insert(std::find(command.begin(), command.end(), "--corpus") + 1, "@a.txt");
  out.push_back(mixed);
}

void add_llmc(Cases& out) {
  const std::string &ids = kSoundIds16, &wide = kSoundIds32;
  const std::pair<const char*, std::string> headers[] = {
      {"magic number 0", llmc(0, 1, 12, ids)},
      {"magic number + 1", llmc(kMagic16 + 1, 1, 12, ids)},
      {"big-endian magic", llmc(0x08D83401, 1, 12, ids)},
      {"evaluation file", llmc(kMagicEvaluation, 1, 12, ids)},
      {"version 0", llmc(kMagic16, 0, 12, ids)},
      {"version 2", llmc(kMagic16, 2, 12, ids)},
      {"version -1", llmc(kMagic16, -1, 12, ids)},
      {"version 7 of u16", llmc(kMagic16, 7, 12, ids)},
      {"version 1 of u32", llmc(kMagic32, 1, 12, wide)},
      {"no token", llmc(kMagic16, 1, 0, ids)},
      {"-1 tokens", llmc(kMagic16, 1, -1, ids)},
      {"-2^31 tokens", llmc(kMagic16, 1, INT32_MIN, ids)}};
  for (const auto& [name, file] : headers)
    out.push_back(bad_corpus("llm.c header", name, "a.bin", file, as("llmc")));
  const std::pair<const char*, std::string> lengths[] = {
      {"header only", kSoundLlmc.substr(0, 1024)},
      {"header cut to 1023", kSoundLlmc.substr(0, 1023)},
      {"header cut to 12", kSoundLlmc.substr(0, 12)},
      {"header cut to 4", kSoundLlmc.substr(0, 4)},
      {"last token missing", kSoundLlmc.substr(0, kSoundLlmc.size() - 2)},
      {"last byte missing", kSoundLlmc.substr(0, kSoundLlmc.size() - 1)},
      {"one token more", kSoundLlmc + std::string(2, '\1')},
      {"one byte more", kSoundLlmc + '\1'},
      {"count too large", llmc(kMagic16, 1, 13, ids)},
      {"count too small", llmc(kMagic16, 1, 11, ids)},
      {"count 2^31 - 1", llmc(kMagic16, 1, INT32_MAX, ids)},
      {"u16 ids under u32", llmc(kMagic32, 7, 12, ids)},
      {"u32 ids under u16", llmc(kMagic16, 1, 12, wide)}};
  for (const auto& [name, file] : lengths)
    out.push_back(bad_corpus("llm.c length", name, "a.bin", file, as("llmc")));
}

void add_npy(Cases& out) {
  const std::string sound = npy_ids();
  const auto header = [](const std::string& text) { return npy_ids("{" + text + "}"); };
  std::string long_header = sound;
  long_header[9] = '\x7f';
  const std::string d = "'descr': '<u2'", f = "'fortran_order': False", s = "'shape': (12,)";
  const std::pair<const char*, std::string> headers[] = {
      {"wrong magic number", replaced(sound, "NUMPY", "NUMPI")},
      {"version 0", npy("{" + d + "," + f + "," + s + "}", kSoundIds16, 0)},
      {"version 4", npy("{" + d + "," + f + "," + s + "}", kSoundIds16, 4)},
      {"header longer than the file", long_header},
      {"garbage", npy_ids("garbage")},
      {"JSON", npy_ids(R"({"descr": "<u2", "fortran_order": false, "shape": [12]})")},
      {"empty dictionary", header("")},
      {"no descr", header(f + "," + s)},
      {"no order", header(d + "," + s)},
      {"no shape", header(d + "," + f)},
      {"descr twice", header(d + "," + d + "," + f + "," + s)},
      {"unknown key", header(d + "," + f + "," + s + ",'x': 1")},
      {"quotation mark missing", header("'descr: '<u2'," + f + "," + s)},
      {"brace missing", npy_ids("{" + d + "," + f + "," + s)},
      {"text behind", npy_ids("{" + d + "," + f + "," + s + "} x")},
      {"order 1", header(d + ",'fortran_order': 1," + s)},
      {"NUL bytes", npy_ids(std::string("{\0\0}", 4))}};
  for (const auto& [name, file] : headers)
    out.push_back(bad_corpus(".npy header", name, "a.npy", file, kVocab));
  for (const char* type : {"<f4", "<f8", ">u2", ">i4", "|b1", "<c8", "|S2", "<U1", "<M8", "|O", "u2", "",
                           "<u3", "<u16", "<u99999999999"})
    out.push_back(bad_corpus(".npy dtype", type[0] == '\0' ? "none" : type, "a.npy",
                             header("'descr': '" + std::string(type) + "'," + f + "," + s), kVocab));
  out.push_back(bad_corpus(".npy dtype", "structured", "a.npy",
                           header("'descr': [('x', '<u2')]," + f + "," + s), kVocab));
  for (const char* shape :
       {"()", "(0,)", "(3, 4)", "(12, 1)", "(11,)", "(13,)", "(-12,)", "(12.0,)", "12", "(1, 2, 6)",
        "(4611686018427387904,)", "(9223372036854775807,)", "(99999999999999999999,)", "(12,", "('a',)"})
    out.push_back(
        bad_corpus(".npy shape", shape, "a.npy", header(d + "," + f + ",'shape': " + shape), kVocab));
  for (const std::size_t n : {6u, 7u, 9u, 10u, 11u, 64u, 127u, 128u, 129u, 151u})
    out.push_back(bad_corpus(".npy cut off", "after " + std::to_string(n) + " bytes", "a.npy",
                             sound.substr(0, n), kVocab));
}

void add_no_file(Cases& out) {
  const std::pair<const char*, Words> corpora[] = {
      {"text", {"--corpus", "@gone.txt", "--vocab-size", "9"}},
      {"ids", {"--corpus", "@gone.u16", "--vocab-size", "9"}},
      {"in a missing folder", {"--corpus", "@no/gone.txt", "--vocab-size", "9"}}};
  for (const auto& [name, flags] : corpora)
    out.push_back({"missing file", name, {}, {count_with(flags), init_with(flags)}, "gone.txt"});
  out[out.size() - 2].culprit = "gone.u16";
  out.back().culprit = "no/gone.txt";
  const Words vocabulary{"--corpus", "@t.txt", "--vocabulary", "@gone.json"},
      model{"--corpus", "@t.txt", "--tokenizer", "@gone.model"}, config{"--config", "@gone.yaml"};
  out.push_back({"missing file",
                 "vocabulary",
                 {{"t.txt", kSoundText}},
                 {count_with(vocabulary), init_with(vocabulary)},
                 "gone.json"});
  out.push_back({"missing file",
                 "model",
                 {{"t.txt", kSoundText}},
                 {count_with(model), init_with(model)},
                 "gone.model"});
  out.push_back({"missing file", "config", {}, {count_with(config), init_with(config)}, "gone.yaml"});
  out.push_back(
      {"missing file", "counts", {}, {init_with({"--counts", "@gone.safetensors"})}, "gone.safetensors"});
  out.push_back(
      {"missing file", "model config", {}, {init_with({"--model-config", "@gone.json"})}, "gone.json"});
  out.push_back({"missing file", "to inspect", {}, {{"inspect", "@gone.json"}}, "gone.json"});

  const Words corpus{"--corpus", "@d", "--vocab-size", "9"},
      vocabulary_d{"--corpus", "@t.txt", "--vocabulary", "@d"},
      model_d{"--corpus", "@t.txt", "--tokenizer", "@d.model"}, config_d{"--config", "@d"};
  const std::pair<std::string, std::string> text{"t.txt", kSoundText};
  out.push_back(
      {"folder instead of file", "corpus", {{"d/", ""}}, {count_with(corpus), init_with(corpus)}, "d"});
  out.push_back(
      {"folder instead of file", "vocabulary", {{"d/", ""}, text}, {count_with(vocabulary_d)}, "d"});
  out.push_back(
      {"folder instead of file", "model", {{"d.model/", ""}, text}, {count_with(model_d)}, "d.model"});
  out.push_back(
      {"folder instead of file", "config", {{"d/", ""}}, {count_with(config_d), init_with(config_d)}, "d"});
  out.push_back({"folder instead of file", "counts", {{"d/", ""}}, {init_with({"--counts", "@d"})}, "d"});
  out.push_back(
      {"folder instead of file", "model config", {{"d/", ""}}, {init_with({"--model-config", "@d"})}, "d"});
  out.push_back({"folder instead of file", "architecture", {{"d/", ""}}, {init_with({"--arch", "@d"})}, "d"});
  out.push_back({"folder instead of file",
                 "embedding",
                 {{"d.npy/", ""}, text},
                 {init_with({"--corpus", "@t.txt", "--vocab-size", "9", "--embedding", "@d.npy"})},
                 "d.npy"});
  for (const char* name : {"d.safetensors", "d.json", "d.npy", "d"})
    out.push_back({"folder instead of file",
                   std::string("to inspect: ") + name,
                   {{std::string(name) + "/", ""}},
                   {{"inspect", std::string("@") + name}},
                   name});
}

}  // namespace

Cases malformed_token_files() {
  Cases out;
  add_raw(out);
  add_sizes(out);
  add_llmc(out);
  add_npy(out);
  add_no_file(out);
  return out;
}

}  // namespace aloft::cli_tests
