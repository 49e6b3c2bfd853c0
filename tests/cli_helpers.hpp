#pragma once
#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tests/paths.hpp"

// What the tests of the compiled program share: running it, folders, a corpus, token files. They see the
// program as a user does, through its command line only.

namespace aloft::cli_tests {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;
using Clock = std::chrono::steady_clock;

/// Is the product, which the tests may not be compiled like, under AddressSanitizer? Such a program takes
/// memory of its own, and reserves terabytes of addresses.
inline bool under_sanitizers() { return ::dlsym(RTLD_DEFAULT, "__asan_init") != nullptr; }

/// A folder that goes away with everything in it.
struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "aloft-cli-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string operator/(const std::string& name) const { return (path / name).string(); }
  std::string file(const std::string& name, const std::string& content) const {
    std::ofstream(path / name, std::ios::binary) << content;
    return *this / name;
  }
  /// Everything below it, relative, sorted; folders too, hidden names too.
  [[nodiscard]] Words names() const {
    Words out;
    for (const auto& entry : fs::recursive_directory_iterator(path))
      out.push_back(fs::relative(entry.path(), path).string());
    std::sort(out.begin(), out.end());
    return out;
  }
};

inline std::string content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path << " cannot be read";
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

inline std::string program_path() {
  const char* other = std::getenv("ALOFT_PROGRAM");
  return other != nullptr ? other : built_program();
}

struct Outcome {
  int code = -1;      ///< exit code; -1: ended by a signal
  int signal = 0;     ///< that signal
  bool hung = false;  ///< did not end in time and was killed
  std::string out, err;
};
inline std::ostream& operator<<(std::ostream& s, const Outcome& o) {
  return s << "exit code " << o.code << ", signal " << o.signal << (o.hung ? ", hung" : "")
           << "\nstdout: " << o.out << "\nstderr: " << o.err;
}

/// The program at work. Its stdin is a pipe (feed, close_input), its stdout and stderr go to files without a
/// name.
class Process {
 public:
  /// `input`: the file that is its stdin when that is no pipe.
  explicit Process(Words arguments, bool open_stdin = false, const std::string& input = "/dev/null") {
    static const auto ignored =
        ::signal(SIGPIPE, SIG_IGN);  // a program may end without reading what it is fed
    (void)ignored;
    arguments.insert(arguments.begin(), program_path());
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    for (int& fd : capture_) fd = unnamed_file();
    int ends[2] = {-1, -1};
    if (open_stdin && ::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    input_ = ends[1];

    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (open_stdin) {
      posix_spawn_file_actions_adddup2(&actions, ends[0], 0);
    } else {
      posix_spawn_file_actions_addopen(&actions, 0, input.c_str(), O_RDONLY, 0);
    }
    posix_spawn_file_actions_adddup2(&actions, capture_[0], 1);
    posix_spawn_file_actions_adddup2(&actions, capture_[1], 2);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t defaults;
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    const int failed = ::posix_spawn(&id_, argv[0], &actions, &attributes, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (ends[0] >= 0) ::close(ends[0]);
    if (failed != 0) throw std::runtime_error("cannot run " + arguments[0] + ": " + std::strerror(failed));
  }
  ~Process() {
    close_input();
    if (id_ > 0) {
      ::kill(id_, SIGKILL);
      ::waitpid(id_, nullptr, 0);
    }
    for (const int fd : capture_) ::close(fd);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void feed(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t n = ::write(input_, text.data(), text.size());
      if (n <= 0) return;  // it reads no more
      text.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  void close_input() {
    if (input_ >= 0) ::close(input_);
    input_ = -1;
  }
  void send(int signal) const { ::kill(id_, signal); }
  [[nodiscard]] bool running() {
    reap(WNOHANG);
    return id_ > 0;
  }
  /// Waits until `condition` holds; false when the program ends or a minute goes by before.
  template <class Condition>
  [[nodiscard]] bool wait_until(const Condition& condition) {
    for (const auto end = Clock::now() + std::chrono::minutes(1); Clock::now() < end;) {
      if (condition()) return true;
      if (!running()) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return false;
  }
  [[nodiscard]] std::string err() const { return text_of(capture_[1]); }

  [[nodiscard]] Outcome wait(double seconds = 120) {
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    Outcome o;
    while (running()) {
      if (Clock::now() > end) {
        o.hung = true;
        send(SIGKILL);
        reap(0);
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (WIFEXITED(status_)) o.code = WEXITSTATUS(status_);
    if (WIFSIGNALED(status_)) o.signal = WTERMSIG(status_);
    o.out = text_of(capture_[0]);
    o.err = text_of(capture_[1]);
    return o;
  }

 private:
  static int unnamed_file() {
    std::string name = (fs::temp_directory_path() / "aloft-capture-XXXXXX").string();
    const int fd = ::mkostemp(name.data(), O_CLOEXEC | O_APPEND);
    if (fd < 0) throw std::runtime_error("mkostemp");
    ::unlink(name.c_str());
    return fd;
  }
  static std::string text_of(int fd) {
    std::string text;
    char block[1 << 14];
    for (ssize_t n = 0; (n = ::pread(fd, block, sizeof block, static_cast<off_t>(text.size()))) > 0;)
      text.append(block, static_cast<std::size_t>(n));
    return text;
  }
  void reap(int flags) {
    if (id_ > 0 && ::waitpid(id_, &status_, flags) == id_) id_ = -1;
  }

  pid_t id_ = -1;
  int input_ = -1, status_ = 0;
  int capture_[2] = {-1, -1};
};

inline Outcome run(Words arguments) { return Process(std::move(arguments)).wait(); }

inline Outcome run_with_stdin(Words arguments, const std::string& text) {
  Process process(std::move(arguments), /*open_stdin=*/true);
  process.feed(text);
  process.close_input();
  return process.wait();
}

inline Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline std::ptrdiff_t lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

/// An error as the program must show it: this exit code, one line on stderr that contains every one of
/// `mentions`, nothing on stdout.
inline testing::AssertionResult refused(const Outcome& o, int code, const Words& mentions = {}) {
  const auto no = [&](const std::string& why) { return testing::AssertionFailure() << why << "\n" << o; };
  if (o.hung) return no("it hung");
  if (o.code != code) return no("exit code " + std::to_string(code) + " was expected");
  if (!o.out.empty()) return no("stdout must be empty");
  if (!o.err.starts_with("aloft: ") || lines(o.err) != 1 || !o.err.ends_with('\n'))
    return no("stderr must be one line that begins with `aloft: `");
  for (const std::string& text : mentions)
    if (o.err.find(text) == std::string::npos) return no("stderr does not mention " + text);
  return testing::AssertionSuccess();
}

/// splitmix64: the same numbers on every machine.
class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t n) { return (*this)() % n; }

 private:
  std::uint64_t state_;
};

/// Words of letters, frequent ones far more so, each often followed by its successors: a corpus with a
/// direction.
inline std::string sample_text(int words, std::uint64_t seed = 1, std::uint64_t types = 300) {
  Numbers random(seed);
  std::string out;
  std::uint64_t word = 0;
  for (int k = 0; k < words; ++k) {
    const std::uint64_t step = 1 + random.below(1 + random.below(9));
    word = random.below(3) == 0 ? random.below(1 + random.below(types)) : (word + step) % types;
    for (std::uint64_t rest = word + 1; rest > 0; rest /= 20) out += static_cast<char>('a' + rest % 20);
    out += k % 13 == 12 ? ".\n" : " ";
  }
  return out;
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}
template <class T>
std::string le(std::initializer_list<std::int64_t> values) {
  std::vector<T> out;
  for (const std::int64_t v : values) out.push_back(static_cast<T>(v));
  return bytes_of(out);
}

/// A .npy file: `header` is the dictionary as Python writes it.
inline std::string npy(const std::string& header, const std::string& data, char version = 1) {
  std::string text = header;
  const std::size_t before = version == 1 ? 10 : 12;
  while ((before + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  std::string out = std::string("\x93NUMPY") + version + '\0';
  out += static_cast<char>(text.size() & 255);
  out += static_cast<char>(text.size() >> 8);
  if (version != 1) out += std::string(2, '\0');
  return out + text + data;
}

/// A safetensors file: `json` is the header as it is, `data` the bytes after it.
inline std::string safetensors(const std::string& json, const std::string& data) {
  return bytes_of<std::uint64_t>({json.size()}) + json + data;
}

}  // namespace aloft::cli_tests
