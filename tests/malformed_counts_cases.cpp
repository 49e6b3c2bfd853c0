#include <functional>

#include "tests/malformed_cases.hpp"

// Defects of counts.safetensors: its container, its tensors, its metadata.

namespace aloft::cli_tests {
namespace {

void add(Cases& out, const char* defect, const std::string& name, const std::string& file) {
  out.push_back({defect,
                 name,
                 {{"c.safetensors", file}},
                 {init_with({"--counts", "@c.safetensors"}), {"inspect", "@c.safetensors"}},
                 "c.safetensors"});
}

void add_containers(Cases& out) {
  const Tensors sound = sound_counts();
  const std::string json = sound.json(), data = sound.data(), file = sound.file();
  const char* length = "counts: header length";
  add(out, length, "empty", "");
  add(out, length, "7 bytes", file.substr(0, 7));
  add(out, length, "8 bytes", file.substr(0, 8));
  add(out, length, "0", bytes_of<std::uint64_t>({0}) + json + data);
  add(out, length, "1 too short", bytes_of<std::uint64_t>({json.size() - 1}) + json + data);
  add(out, length, "1 too long", bytes_of<std::uint64_t>({json.size() + 1}) + json + data);
  add(out, length, "beyond the file", bytes_of<std::uint64_t>({file.size()}) + json + data);
  add(out, length, "200 million", bytes_of<std::uint64_t>({200'000'000}) + json + data);
  add(out, length, "2^63", bytes_of<std::uint64_t>({1ull << 63}) + json + data);
  add(out, length, "2^64 - 1", bytes_of<std::uint64_t>({~0ull}) + json + data);
  add(out, length, "big-endian", bytes_of<std::uint64_t>({__builtin_bswap64(json.size())}) + json + data);
  add(out, length, "text file", "this is a text, not a file of tensors at all");

  const char* header = "counts: header JSON";
  const auto with = [&](const char* name, const std::string& from, const std::string& to) {
    add(out, header, name, safetensors(replaced(json, from, to), data));
  };
  add(out, header, "garbage", safetensors("{garbage}", data));
  add(out, header, "list", safetensors("[" + json + "]", data));
  add(out, header, "blank first", safetensors(" " + json, data));
  add(out, header, "tab last", safetensors(json + "\t", data));
  add(out, header, "empty object", safetensors("{}", data));
  add(out, header, "cut off", safetensors(json.substr(0, json.size() - 20), data));
  add(out, header, "two objects", safetensors(json + json, data));
  with("invalid UTF-8", "unigram", "uni\xffram");
  with("dtype unknown", "\"U64\"", "\"U65\"");
  with("dtype a number", "\"U64\"", "64");
  with("dtype missing", "\"dtype\":\"U64\",", "");
  with("field unknown", "\"dtype\"", "\"color\":\"red\",\"dtype\"");
  with("field twice", "\"dtype\"", "\"dtype\":\"U64\",\"dtype\"");
  with("tensor twice", "lag2.counts", "lag1.counts");
  with("tensor a number", "\"unigram\":{", "\"x\":3,\"unigram\":{");
  with("metadata a number", "\"max_lag\":\"2\"", "\"max_lag\":2");
  with("metadata twice", "\"max_lag\":\"2\"", "\"max_lag\":\"2\",\"max_lag\":\"2\"");
  with("metadata a list", "{\"__metadata__\":{", "{\"x\":[],\"__metadata__\":{");
  with("extent negative", "[3]", "[-3]");
  with("extent a fraction", "[3]", "[3.0]");
  with("extent 2^64", "[3]", "[18446744073709551616]");
  with("extents overflow", "[3]", "[4294967296,4294967296,3]");
  with("shape a number", "[3]", "3");
  with("shape too large", "[3]", "[4]");
  with("shape too small", "[3]", "[2]");

  const char* offsets = "counts: data offsets";
  const auto moved = [&](const char* name, const std::string& to) {
    add(out, offsets, name, safetensors(replaced(json, "[24,56]", to), data));
  };
  moved("overlap", "[16,48]");
  moved("hole", "[32,64]");
  moved("backwards", "[56,24]");
  moved("negative", "[-24,56]");
  moved("beyond the file", "[24,5600]");
  moved("three numbers", "[24,56,56]");
  moved("one number", "[24]");
  moved("none", "[]");
  moved("text", "[\"24\",\"56\"]");
  moved("2^64", "[24,18446744073709551616]");
  add(out, offsets, "one byte behind", file + "x");
  add(out, offsets, "a tensor's worth behind", file + std::string(32, '\0'));
  for (const std::size_t cut : {1u, 8u, 33u, 100u})
    add(out, offsets, std::to_string(cut) + " bytes cut off", file.substr(0, file.size() - cut));
  add(out, offsets, "no data", safetensors(json, ""));
}

// Long: one case after the other.
void add_tensors(Cases& out) {
  const auto changed = [&](const char* defect, const char* name,
                           const std::function<void(Tensors&)>& change) {
    Tensors t = sound_counts();
    change(t);
    add(out, defect, name, t.file());
  };
  const char* tensors = "counts: tensors";
  for (const char* name : {"unigram", "lag1.row_offsets", "lag1.columns", "lag2.counts"})
    changed(tensors, (std::string(name) + " missing").c_str(), [&](Tensors& t) { t.drop(name); });
  changed(tensors, "unigram i64", [](Tensors& t) { t["unigram"].dtype = "I64"; });
  changed(tensors, "unigram f64", [](Tensors& t) { t["unigram"].dtype = "F64"; });
  changed(tensors, "columns i32", [](Tensors& t) { t["lag1.columns"].dtype = "I32"; });
  changed(tensors, "unigram a matrix", [](Tensors& t) { t["unigram"].shape = "[3,1]"; });
  changed(tensors, "counts of another length", [](Tensors& t) {
    t["lag1.counts"].shape = "[3]";
    t["lag1.counts"].data.resize(24);
  });
  changed(tensors, "offsets of another length", [](Tensors& t) {
    t["lag1.row_offsets"].shape = "[3]";
    t["lag1.row_offsets"].data.resize(24);
  });
  changed(tensors, "no tensor", [](Tensors& t) { t.all.clear(); });

  const char* rows = "counts: rows";
  const auto offsets = [&](const char* name, std::initializer_list<std::int64_t> values) {
    changed(rows, name, [&](Tensors& t) { t["lag1.row_offsets"].data = le<std::uint64_t>(values); });
  };
  offsets("first offset 1", {1, 1, 2, 4});
  offsets("last offset too small", {0, 1, 2, 3});
  offsets("last offset too large", {0, 1, 2, 5});
  offsets("last offset 2^64 - 1", {0, 1, 2, -1});
  offsets("not ascending", {0, 2, 1, 4});
  offsets("middle offset huge", {0, 1L << 62, 2, 4});
  const auto columns = [&](const char* name, std::initializer_list<std::int64_t> values) {
    changed(rows, name, [&](Tensors& t) { t["lag1.columns"].data = le<std::uint32_t>(values); });
  };
  columns("columns descending", {1, 2, 1, 0});
  columns("column twice", {1, 2, 1, 1});
  columns("column is the vocabulary", {3, 2, 0, 1});
  columns("column 2^32 - 1", {1, 2, 0, 4294967295});
  changed(rows, "count 0", [](Tensors& t) { t["lag1.counts"].data = le<std::uint64_t>({3, 2, 1, 0}); });
  changed(rows, "lag 2: column outside", [](Tensors& t) {
    t["lag2.columns"].data = le<std::uint32_t>({9, 0, 1, 1});
  });

  const char* sums = "counts: sums";
  changed(sums, "unigram above the tokens", [](Tensors& t) {
    t["unigram"].data = le<std::uint64_t>({2, 3, 3});
  });
  changed(sums, "unigram below the tokens", [](Tensors& t) {
    t["unigram"].data = le<std::uint64_t>({2, 3, 1});
  });
  changed(sums, "tokens of the metadata", [](Tensors& t) { t.metadata["tokens"] = "8"; });
  changed(sums, "pairs of lag 1", [](Tensors& t) { t.metadata["pairs_lag1"] = "7"; });
  changed(sums, "pairs of lag 2", [](Tensors& t) { t.metadata["pairs_lag2"] = "4"; });
  changed(sums, "counts of lag 2", [](Tensors& t) {
    t["lag2.counts"].data = le<std::uint64_t>({2, 1, 1, 2});
  });
  changed(sums, "count 2^63", [](Tensors& t) {
    t["lag1.counts"].data = le<std::uint64_t>({INT64_MIN, 2, 1, 1});
  });

  const char* metadata = "counts: metadata";
  for (const char* name : {"vocab_size", "max_lag", "tokens", "pairs_lag2"}) {
    changed(metadata, (std::string(name) + " missing").c_str(), [&](Tensors& t) { t.metadata.erase(name); });
    for (const char* text : {"", "two", "-1", "2.0", " 2", "99999999999999999999"})
      changed(metadata, (std::string(name) + " is '" + text + "'").c_str(),
              [&](Tensors& t) { t.metadata[name] = text; });
  }
  changed(metadata, "vocab_size 0", [](Tensors& t) { t.metadata["vocab_size"] = "0"; });
  changed(metadata, "vocab_size 4", [](Tensors& t) { t.metadata["vocab_size"] = "4"; });
  changed(metadata, "vocab_size 2^63 - 1",
          [](Tensors& t) { t.metadata["vocab_size"] = "9223372036854775807"; });
  changed(metadata, "max_lag 0", [](Tensors& t) { t.metadata["max_lag"] = "0"; });
  changed(metadata, "max_lag 3", [](Tensors& t) { t.metadata["max_lag"] = "3"; });
  changed(metadata, "max_lag 65", [](Tensors& t) { t.metadata["max_lag"] = "65"; });

  changed(metadata, "digest of other content",
          [](Tensors& t) { t.metadata["digest"] = std::string(32, '0'); });

  // Sound files, but no counts: inspect takes these.
  const auto other = [&](const char* name, const std::function<void(Tensors&)>& change) {
    changed("another artifact", name, change);
    out.back().commands.pop_back();
  };
  other("embedding", [](Tensors& t) { t.metadata["artifact"] = "embedding"; });
  other("spectra", [](Tensors& t) { t.metadata["artifact"] = "spectra"; });
  other("capitals", [](Tensors& t) { t.metadata["artifact"] = "Counts"; });
  other("none", [](Tensors& t) { t.metadata.erase("artifact"); });
}

}  // namespace

Cases malformed_counts() {
  Cases out;
  add_containers(out);
  add_tensors(out);
  return out;
}

}  // namespace aloft::cli_tests
