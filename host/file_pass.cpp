#include "host/file_pass.hpp"

#include <algorithm>
#include <utility>

namespace aloft {

std::uint64_t total_bytes(const InputFiles& files) {
  std::uint64_t total = 0;
  for (const auto& file : files) {
    if (file->size() == 0) return 0;
    total += file->size();
  }
  return total;
}

bool rewindable(const InputFiles& files) {
  return std::all_of(files.begin(), files.end(), [](const auto& file) { return file->rewindable(); });
}

FilePass::FilePass(InputFiles files) : files_(std::move(files)), total_(total_bytes(files_)) {
  for (const auto& file : files_) pipes_.push_back(file->rewindable() ? nullptr : file->open());
}

std::size_t FilePass::read(std::span<TokenId> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    if (given_ == ids_.size() && !refill()) break;
    const std::size_t n = std::min(out.size() - done, ids_.size() - given_);
    std::copy_n(ids_.begin() + static_cast<std::ptrdiff_t>(given_), n,
                out.begin() + static_cast<std::ptrdiff_t>(done));
    given_ += n;
    done += n;
  }
  return done;
}

bool FilePass::refill() {
  ids_.clear();
  given_ = 0;
  while (ids_.empty()) {
    if (stream_ == nullptr) {
      if (next_file_ == files_.size()) return false;
      if (next_file_ > 0) ids_.push_back(kDocumentBreak);
      stream_ = pipes_[next_file_] != nullptr ? std::move(pipes_[next_file_]) : files_[next_file_]->open();
      stream_->watch(&cancelled_);
      begin(*stream_, next_file_++);
    }
    const bool more = next_block(ids_);
    done_ = before_ + stream_->offset();
    if (!more && next_document()) {
      ids_.push_back(kDocumentBreak);
    } else if (!more) {
      before_ += stream_->offset();
      stream_.reset();
    }
  }
  return true;
}

TokenSource::Position FilePass::position() const { return {done_, total_}; }

}  // namespace aloft
