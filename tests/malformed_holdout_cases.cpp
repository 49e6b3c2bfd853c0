#include <functional>

#include "tests/malformed_cases.hpp"

// Defects of the held-out slice in counts.safetensors: its blocks, its ids, and a slice of another text.

namespace aloft::cli_tests {

Tensors sound_counts_with_slice() {
  Tensors t = sound_counts();  // of 0 1 2 0 1 2 1
  t.all.push_back({"holdout.ids", "U32", "[6]", le<std::uint32_t>({0, 1, 2, 0, 1, 2})});
  t.all.push_back({"holdout.blocks", "I64", "[1,4]", le<std::int64_t>({0, 2, 2, 2})});
  return t;
}

Cases malformed_holdouts() {
  Cases out;
  const auto changed = [&](const char* defect, const char* name,
                           const std::function<void(Tensors&)>& change) {
    Tensors t = sound_counts_with_slice();
    change(t);
    out.push_back({defect,
                   name,
                   {{"c.safetensors", t.file()}},
                   {init_with({"--counts", "@c.safetensors"})},
                   "c.safetensors"});
  };
  const char* blocks = "slice: blocks";
  const auto block = [&](const char* name, std::initializer_list<std::int64_t> values) {
    changed(blocks, name, [&](Tensors& t) { t["holdout.blocks"].data = le<std::int64_t>(values); });
  };
  block("begins behind the first id", {1, 2, 2, 1});
  block("begins before the first id", {-1, 2, 2, 2});
  block("no token of its own", {0, 2, 0, 2});
  block("fewer than none before", {0, -2, 4, 2});
  block("fewer than none after", {0, 4, 2, -1});
  block("longer than the ids", {0, 2, 2, 3});
  block("lengths that overflow", {0, INT64_MAX, 2, 2});
  block("own length that overflows", {0, 2, INT64_MAX, 2});
  changed(blocks, "two that overlap", [](Tensors& t) {
    t["holdout.blocks"].shape = "[2,4]";
    t["holdout.blocks"].data = le<std::int64_t>({0, 1, 1, 1, 2, 1, 1, 1});
  });
  changed(blocks, "a hole between two", [](Tensors& t) {
    t["holdout.blocks"].shape = "[2,4]";
    t["holdout.blocks"].data = le<std::int64_t>({0, 0, 1, 1, 3, 1, 1, 1});
  });
  changed(blocks, "ids that no block has", [](Tensors& t) {
    t["holdout.ids"].shape = "[7]";
    t["holdout.ids"].data = le<std::uint32_t>({0, 1, 2, 0, 1, 2, 1});
  });
  changed(blocks, "three numbers", [](Tensors& t) {
    t["holdout.blocks"].shape = "[1,3]";
    t["holdout.blocks"].data.resize(24);
  });
  changed(blocks, "a list", [](Tensors& t) { t["holdout.blocks"].shape = "[4]"; });
  changed(blocks, "u64", [](Tensors& t) { t["holdout.blocks"].dtype = "U64"; });

  const char* ids = "slice: ids";
  changed(ids, "missing", [](Tensors& t) { t.drop("holdout.ids"); });
  changed(ids, "without blocks", [](Tensors& t) { t.drop("holdout.blocks"); });
  changed(ids, "the vocabulary", [](Tensors& t) {
    t["holdout.ids"].data = le<std::uint32_t>({0, 1, 2, 0, 1, 3});
  });
  changed(ids, "just below a document break", [](Tensors& t) {
    t["holdout.ids"].data = le<std::uint32_t>({0, 1, 0xFFFFFFFE, 0, 1, 2});
  });
  changed(ids, "i32", [](Tensors& t) { t["holdout.ids"].dtype = "I32"; });
  changed(ids, "a matrix", [](Tensors& t) { t["holdout.ids"].shape = "[2,3]"; });

  // Sound by itself, but no part of these counts.
  changed("slice: another text", "pairs that the counts lack", [](Tensors& t) {
    t["holdout.ids"].data = le<std::uint32_t>({0, 0, 0, 0, 0, 0});
  });
  out.back().commands = {{"init", "--quiet", "--recipe", "offset", "--arch", "llama", "--layers", "1",
                          "--d-model", "8", "--heads", "2", "--lags", "2", "--counts", "@c.safetensors",
                          "--output", "@run"}};
  return out;
}

}  // namespace aloft::cli_tests
