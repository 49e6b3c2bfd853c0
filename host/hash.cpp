#include "host/hash.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <cstdio>
#include <memory>
#include <new>
#include <vector>

#include "host/error.hpp"

namespace aloft {

struct Hash::State {
  XXH3_state_t* xxh = XXH3_createState();
  State() {
    if (xxh == nullptr) throw std::bad_alloc();
    XXH3_128bits_reset(xxh);
  }
  ~State() { XXH3_freeState(xxh); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Hash::Hash() : state_(std::make_unique<State>()) {}
Hash::~Hash() = default;

void Hash::update(const void* data, std::size_t bytes) { XXH3_128bits_update(state_->xxh, data, bytes); }

std::string Hash::hex() const {
  const XXH128_hash_t h = XXH3_128bits_digest(state_->xxh);
  return fmt::format("{:016x}{:016x}", h.high64, h.low64);
}

std::string hash_of(std::string_view text) {
  Hash hash;
  hash.update(text.data(), text.size());
  return hash.hex();
}

std::string hash_of_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (file == nullptr) throw InputError(path + ": cannot be read");
  std::vector<char> block(std::size_t{1} << 20);
  Hash hash;
  while (const std::size_t n = std::fread(block.data(), 1, block.size(), file.get()))
    hash.update(block.data(), n);
  if (std::ferror(file.get()) != 0) throw InputError(path + ": cannot be read to its end");
  return hash.hex();
}

}  // namespace aloft
