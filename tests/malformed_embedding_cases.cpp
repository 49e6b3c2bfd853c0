#include <cmath>
#include <limits>

#include "tests/malformed_cases.hpp"

// Defects of embeddings from files, for counts of 3 ids and a model of width 8.

namespace aloft::cli_tests {
namespace {

constexpr std::size_t kElements = 24;

template <class T>
std::string matrix(double value, std::size_t at, std::size_t elements = kElements) {
  std::vector<T> out(elements, T(0.5));
  if (at < elements) out[at] = static_cast<T>(value);
  return bytes_of(out);
}
const std::size_t kNowhere = kElements;

void add(Cases& out, const char* defect, const std::string& name, const std::string& file_name,
         const std::string& file, const Words& flags = {}) {
  out.push_back(
      {defect,
       name,
       {{file_name, file}, {"counts.safetensors", sound_counts().file()}},
       {init_with(Words{"--counts", "@counts.safetensors", "--embedding", "@" + file_name} + flags),
        init_with(Words{"--corpus", "@t.txt", "--vocab-size", "3", "--embedding", "@" + file_name} + flags)},
       file_name});
  out.back().files.emplace_back("t.txt", kSoundText);
}

void add_npy(Cases& out) {
  const auto header = [](const std::string& type, const std::string& shape,
                         const std::string& order = "False") {
    return "{'descr': '" + type + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }";
  };
  const std::string rows = matrix<float>(0, kNowhere);
  const char* shape = "embedding .npy: shape";
  add(out, shape, "a row too few", "e.npy", npy(header("<f4", "(2, 8)"), rows.substr(0, 64)));
  add(out, shape, "no row", "e.npy", npy(header("<f4", "(0, 8)"), ""));
  add(out, shape, "a column too few", "e.npy", npy(header("<f4", "(3, 7)"), rows.substr(0, 84)));
  add(out, shape, "a column too many", "e.npy", npy(header("<f4", "(3, 9)"), rows + rows.substr(0, 12)));
  add(out, shape, "turned over", "e.npy", npy(header("<f4", "(8, 3)"), rows));
  add(out, shape, "one dimension", "e.npy", npy(header("<f4", "(24,)"), rows));
  add(out, shape, "three dimensions", "e.npy", npy(header("<f4", "(1, 3, 8)"), rows));
  add(out, shape, "none", "e.npy", npy(header("<f4", "()"), rows.substr(0, 4)));
  add(out, shape, "larger than the file", "e.npy", npy(header("<f4", "(4, 8)"), rows));
  add(out, shape, "overflow", "e.npy", npy(header("<f4", "(4294967296, 4294967296)"), rows));
  const char* type = "embedding .npy: dtype";
  add(out, type, "half", "e.npy", npy(header("<f2", "(3, 8)"), rows.substr(0, 48)));
  add(out, type, "integers", "e.npy", npy(header("<i4", "(3, 8)"), rows));
  add(out, type, "big-endian", "e.npy", npy(header(">f4", "(3, 8)"), rows));
  add(out, type, "complex", "e.npy", npy(header("<c8", "(3, 8)"), rows + rows));
  add(out, type, "double announced, float there", "e.npy", npy(header("<f8", "(3, 8)"), rows));
  const char* file = "embedding .npy: file";
  const std::string sound = npy(header("<f4", "(3, 8)"), rows);
  add(out, file, "empty", "e.npy", "");
  add(out, file, "text", "e.npy", "0.5 0.5 0.5\n");
  add(out, file, "header cut off", "e.npy", sound.substr(0, 40));
  add(out, file, "data cut off", "e.npy", sound.substr(0, sound.size() - 4));
  add(out, file, "data behind", "e.npy", sound + "xxxx");
  add(out, file, "a safetensors file", "e.npy", sound_counts().file());

  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  const std::tuple<const char*, double, std::size_t> values[] = {
      {"NaN first", nan, 0}, {"NaN last", nan, 23}, {"infinity", inf, 9}, {"minus infinity", -inf, 16}};
  for (const auto& [name, value, at] : values) {
    add(out, "embedding: not finite", std::string(name) + " (.npy, f4)", "e.npy",
        npy(header("<f4", "(3, 8)"), matrix<float>(value, at)));
    add(out, "embedding: not finite", std::string(name) + " (.npy, f8)", "e.npy",
        npy(header("<f8", "(3, 8)"), matrix<double>(value, at)));
    Tensors t;
    t.all = {{"wte", "F32", "[3,8]", matrix<float>(value, at)}};
    add(out, "embedding: not finite", std::string(name) + " (safetensors)", "e.safetensors", t.file());
  }
  add(out, "embedding: not finite", "beyond float", "e.npy",
      npy(header("<f8", "(3, 8)"), matrix<double>(1e300, 3)));
  add(out, "embedding: not finite", "beyond float, Fortran order", "e.npy",
      npy(header("<f8", "(3, 8)", "True"), matrix<double>(-1e39, 7)));
  add(out, "embedding: zero", ".npy", "e.npy", npy(header("<f4", "(3, 8)"), std::string(96, '\0')));
  add(out, "embedding: zero", "below float", "e.npy",
      npy(header("<f8", "(3, 8)"), bytes_of(std::vector<double>(24, 1e-60))));
  add(out, "embedding: zero", "only in rows that the corpus has", "e.npy",
      npy(header("<f4", "(4, 8)"), std::string(96, '\0') + rows.substr(0, 32)));
}

void add_safetensors(Cases& out) {
  const auto one = [&](const char* name, const char* dtype, const char* shape, std::size_t bytes,
                       const Words& flags = {}) {
    Tensors t;
    t.all = {{"wte", dtype, shape, matrix<float>(0, kNowhere, 64).substr(0, bytes)}};
    add(out, "embedding safetensors", name, "e.safetensors", t.file(), flags);
  };
  one("a row too few", "F32", "[2,8]", 64);
  one("a column too few", "F32", "[3,7]", 84);
  one("one dimension", "F32", "[24]", 96);
  one("three dimensions", "F32", "[1,3,8]", 96);
  one("integers", "I32", "[3,8]", 96);
  one("8-bit floats", "F8_E4M3", "[3,8]", 24);
  const Words named{"--embedding-tensor", "wte"};
  one("named: a row too few", "F32", "[2,8]", 64, named);
  one("named: a column too many", "F32", "[3,9]", 108, named);
  one("named: one dimension", "F32", "[24]", 96, named);
  one("named: integers", "U32", "[3,8]", 96, named);
  one("named: another", "F32", "[3,8]", 96, {"--embedding-tensor", "lm_head"});
  Tensors two;
  two.all = {{"a", "F32", "[3,8]", matrix<float>(0, kNowhere)},
             {"b", "F32", "[4,8]", matrix<float>(0, 32, 32)}};
  add(out, "embedding safetensors", "two candidates", "e.safetensors", two.file());
  add(out, "embedding safetensors", "no tensor", "e.safetensors", Tensors{}.file());
  add(out, "embedding safetensors", "empty", "e.safetensors", "");
  add(out, "embedding safetensors", "cut off", "e.safetensors", two.file().substr(0, two.file().size() - 1));
  add(out, "embedding safetensors", "bytes behind", "e.safetensors", two.file() + "x");
  add(out, "embedding safetensors", "a .npy file", "e.safetensors", npy_ids());
}

}  // namespace

Cases malformed_embeddings() {
  Cases out;
  add_npy(out);
  add_safetensors(out);
  return out;
}

}  // namespace aloft::cli_tests
