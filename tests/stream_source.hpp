#pragma once
#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "host/token_source.hpp"

namespace aloft {

/// A stream of tokens in memory: at most `most` a read, since short reads are legal.
class StreamSource final : public TokenSource {
 public:
  explicit StreamSource(const std::vector<TokenId>& ids, std::size_t most = 97) : ids_(ids), most_(most) {}
  std::size_t read(std::span<TokenId> out) override {
    const std::size_t n = std::min({out.size(), ids_.size() - at_, most_});
    std::copy_n(ids_.begin() + static_cast<std::ptrdiff_t>(at_), n, out.begin());
    at_ += n;
    return n;
  }
  [[nodiscard]] Position position() const override { return {at_, ids_.size()}; }

 private:
  const std::vector<TokenId>& ids_;
  std::size_t most_, at_ = 0;
};

}  // namespace aloft
