#include "host/input_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "host/error.hpp"
#include "host/hash.hpp"
#include "host/interrupt.hpp"
#include "host/spool.hpp"

namespace aloft {
namespace {

constexpr int kPollMilliseconds = 100;  // how soon a waiting read notices an interrupt or a cancellation

[[noreturn]] void cannot(const std::string& name, const char* doing) {
  throw InputError(fmt::format("{}: cannot {}: {}", name, doing, std::strerror(errno)));
}

std::shared_ptr<Descriptor> open_for_reading(const std::string& path) {
  for (;;) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd >= 0) return std::make_shared<Descriptor>(fd);
    if (errno != EINTR) cannot(path, "open");
    check_interrupt();  // a FIFO without a writer
  }
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

void ContentCheck::expect_same(const std::string& name, const std::string& hash) {
  const std::lock_guard lock(mutex_);
  if (hash_.empty()) hash_ = hash;
  if (hash_ != hash)
    throw InputError(name +
                     ": has changed since this run read it first; run again when nothing writes to it");
}

void ContentCheck::look(std::string_view bytes, std::string& tail) {
  if (watched_.empty() || seen_) return;
  const auto holds = [&](std::string_view text) {
    return ::memmem(text.data(), text.size(), watched_.data(), watched_.size()) != nullptr;
  };
  const std::size_t keep = watched_.size() - 1;
  tail.append(bytes.substr(0, keep));
  if (holds(tail) || holds(bytes)) seen_ = true;
  if (bytes.size() >= keep) tail = bytes.substr(bytes.size() - keep);
  if (tail.size() > keep) tail.erase(0, tail.size() - keep);
}

InputStream::InputStream() : hash_(std::make_unique<Hash>()) {}
InputStream::~InputStream() = default;

std::size_t InputStream::read_some(char* out, std::size_t bytes) {
  for (;;) {
    check_interrupt();
    if (cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed))
      throw Interrupted(name_ + ": reading was cancelled");
    ssize_t n = 0;
    if (seekable_) {
      n = ::pread(file_->get(), out, bytes, static_cast<off_t>(start_ + offset_));
    } else {
      pollfd ready{file_->get(), POLLIN, 0};
      const int events = ::poll(&ready, 1, kPollMilliseconds);
      if (events == 0 || (events < 0 && errno == EINTR)) continue;
      if (events < 0) cannot(name_, "wait for data");
      n = ::read(file_->get(), out, bytes);
    }
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno != EINTR && errno != EAGAIN) cannot(name_, "read");
  }
}

std::size_t InputStream::read(std::span<char> out) {
  std::size_t done = 0;
  if (offset_ < prefix_.size()) {
    done = std::min(out.size(), prefix_.size() - static_cast<std::size_t>(offset_));
    std::memcpy(out.data(), prefix_.data() + offset_, done);
    offset_ += done;
  }
  std::size_t want = out.size();
  if (seekable_) want = static_cast<std::size_t>(std::min<std::uint64_t>(want, size_ - offset_));
  while (done < want) {
    const std::size_t n = read_some(out.data() + done, want - done);
    if (n == 0) break;
    done += n;
    offset_ += n;
  }
  if (seekable_ && done < want)
    throw InputError(fmt::format(
        "{}: had {} bytes when the run began, but ends at byte {} now; it must not change meanwhile", name_,
        size_, offset_));
  check_->look({out.data(), done}, tail_);
  if (hash_ != nullptr) {
    hash_->update(out.data(), done);
    if (done < out.size() || (seekable_ && offset_ == size_)) {
      check_->expect_same(name_, hash_->hex());
      hash_.reset();
    }
  }
  return done;
}

InputFile::InputFile(const std::string& path) : path_(path), name_(path == "-" ? "stdin" : path) {
  struct stat info {};
  if (path == "-") {
    if (::isatty(STDIN_FILENO) == 1)
      throw UsageError(
          "stdin is a terminal: pipe the corpus in (zstd -dc corpus.zst | aloft ... --corpus -) or name a "
          "file");
    const int fd = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) cannot(name_, "read");
    file_ = std::make_shared<Descriptor>(fd);
    if (::fstat(fd, &info) != 0) cannot(name_, "read");
  } else if (::stat(path.c_str(), &info) != 0) {
    cannot(name_, "open");
  }
  if (S_ISDIR(info.st_mode)) throw InputError(name_ + ": is a folder; name the files in it");
  seekable_ = S_ISREG(info.st_mode);
  if (seekable_) {
    if (file_ != nullptr)
      start_ = static_cast<std::uint64_t>(std::max<off_t>(0, ::lseek(file_->get(), 0, SEEK_CUR)));
    const auto bytes = static_cast<std::uint64_t>(info.st_size);
    size_ = bytes > start_ ? bytes - start_ : 0;
    if (file_ == nullptr) open_for_reading(path_);  // unreadable: say so now
    return;
  }
  if (file_ == nullptr) file_ = open_for_reading(path_);
  const auto stream = open();
  taken_ = false;
  prefix_.resize(kHeadBytes);
  prefix_.resize(stream->read(prefix_));
}

std::string InputFile::head() {
  if (!seekable_) {
    std::string tail;
    check_->look(prefix_, tail);
    return prefix_;
  }
  std::string out(static_cast<std::size_t>(std::min<std::uint64_t>(kHeadBytes, size_)), '\0');
  out.resize(open()->read(out));
  return out;
}

void InputFile::spool(const std::string& folder) {
  if (seekable_) return;
  const auto stream = open();
  file_ = spool_to_temporary(*stream, folder);
  size_ = stream->offset();
  seekable_ = true;
  prefix_.clear();
}

std::unique_ptr<InputStream> InputFile::open(std::uint64_t from) {
  expects(from == 0 || (seekable_ && from <= size_), "a pass begins inside the file");
  if (!seekable_ && std::exchange(taken_, true))
    throw UsageError(name_ +
                     ": is a pipe and was read already; for several passes give the corpus as a file");
  auto stream = std::unique_ptr<InputStream>(new InputStream());
  stream->name_ = name_;
  stream->seekable_ = seekable_;
  stream->file_ = file_ != nullptr ? file_ : open_for_reading(path_);
  stream->start_ = start_;
  stream->size_ = size_;
  stream->offset_ = from;
  stream->check_ = check_;
  if (from > 0) stream->hash_.reset();
  if (!seekable_) stream->prefix_ = std::move(prefix_);
  prefix_.clear();
  return stream;
}

}  // namespace aloft
