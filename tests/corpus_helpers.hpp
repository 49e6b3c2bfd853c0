#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "host/corpus.hpp"
#include "host/error.hpp"
#include "host/progress.hpp"

// What the tests of the corpus readers share: files, stdin, whole passes, messages of errors.

namespace aloft::corpus_tests {

/// A folder that goes away with everything in it.
struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "aloft-test-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string file(const std::string& name, const std::string& content) const {
    std::ofstream(path / name, std::ios::binary) << content;
    return (path / name).string();
  }
};

/// stdin is a pipe from which `content` comes (or, with `from_file`, that regular file) while this lives.
class Stdin {
 public:
  explicit Stdin(std::string content, bool close_at_end = true) : saved_(::dup(0)) {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("pipe");
    ::dup2(ends[0], 0);
    ::close(ends[0]);
    writer_ = std::thread([this, end = ends[1], close_at_end, content = std::move(content)] {
      for (std::size_t done = 0; done < content.size();) {
        const ssize_t n =
            ::write(end, content.data() + done, std::min<std::size_t>(content.size() - done, 5000));
        if (n <= 0) break;
        done += static_cast<std::size_t>(n);
      }
      if (close_at_end) {
        ::close(end);
      } else {
        open_end_ = end;
      }
    });
  }
  ~Stdin() {
    writer_.join();
    if (open_end_ >= 0) ::close(open_end_);
    ::dup2(saved_, 0);
    ::close(saved_);
  }
  Stdin(const Stdin&) = delete;
  Stdin& operator=(const Stdin&) = delete;

 private:
  int saved_, open_end_ = -1;
  std::thread writer_;
};

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

inline std::unique_ptr<Corpus> open(const CorpusSpec& spec) {
  NoProgress progress;
  return open_corpus(spec, progress);
}

/// One whole pass.
inline std::vector<TokenId> ids_of(Corpus& corpus, std::size_t at_a_time = 1000) {
  const auto source = corpus.open();
  std::vector<TokenId> out, buffer(at_a_time);
  while (const std::size_t n = source->read(buffer))
    out.insert(out.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(n));
  return out;
}

/// Opens and reads a corpus that must fail with E; returns the message, which must be one line.
template <class E>
std::string message_of(const CorpusSpec& spec) {
  try {
    const auto corpus = open(spec);
    const auto ids = ids_of(*corpus);
    ADD_FAILURE() << "no error, " << ids.size() << " tokens";
  } catch (const E& error) {
    const std::string what = error.what();
    EXPECT_EQ(what.find('\n'), std::string::npos) << what;
    return what;
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another type of error: " << error.what();
  }
  return {};
}

}  // namespace aloft::corpus_tests
