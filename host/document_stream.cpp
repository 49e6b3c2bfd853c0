#include "host/document_stream.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

namespace aloft {
namespace {

constexpr std::size_t kSeparatedBytes = std::size_t{1} << 18;

}  // namespace

DocumentStream::DocumentStream(InputStream& stream, std::string separator)
    : stream_(stream), separator_(std::move(separator)) {
  if (!separator_.empty()) buffer_.resize(kSeparatedBytes + separator_.size());
}

std::size_t DocumentStream::read(std::span<char> out) {
  if (separator_.empty()) return stream_.read(out);
  std::size_t done = 0;
  while (done < out.size()) {
    if (begin_ == limit_) {
      if (at_separator_ || !refill()) break;
      continue;
    }
    const std::size_t n = std::min(out.size() - done, limit_ - begin_);
    std::memcpy(out.data() + done, buffer_.data() + begin_, n);
    begin_ += n;
    done += n;
  }
  return done;
}

bool DocumentStream::next_document() {
  if (!at_separator_) return false;
  begin_ = limit_ + separator_.size();
  find_limit();
  return true;
}

/// false: the file has no more.
bool DocumentStream::refill() {
  if (ended_) return false;
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  base_ += begin_;
  end_ -= begin_;
  begin_ = 0;
  const std::size_t n = stream_.read(std::span(buffer_).subspan(end_));
  end_ += n;
  ended_ = n == 0;
  find_limit();
  return !ended_ || begin_ < limit_ || at_separator_;
}

void DocumentStream::find_limit() {
  const std::string_view pending(buffer_.data() + begin_, end_ - begin_);
  const std::size_t at = pending.find(separator_);
  at_separator_ = at != std::string_view::npos;
  // The last bytes may be the beginning of a separator.
  const std::size_t sure =
      ended_ ? pending.size() : pending.size() - std::min(pending.size(), separator_.size() - 1);
  limit_ = begin_ + (at_separator_ ? at : sure);
}

}  // namespace aloft
