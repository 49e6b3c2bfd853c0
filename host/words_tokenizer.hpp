#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "host/corpus.hpp"
#include "host/input_file.hpp"
#include "host/progress.hpp"
#include "host/text_reader.hpp"
#include "host/utf8.hpp"

namespace aloft {

/// Cuts UTF-8 text into the tokens of the `words` tokenizer. The text is lower-cased (Unicode simple
/// mapping); then, in order: longest runs of letters (Unicode category L), any other single character that is
/// not white space (so every digit alone), and the newline. Other white space separates and is dropped.
/// Blocks may end anywhere between two characters. A run of more than kMaxTokenBytes bytes (lower-cased) has
/// no token of its own: it counts as unknown.
class WordsScanner {
 public:
  static constexpr std::size_t kMaxTokenBytes = 256;

  /// Calls sink(std::string_view token) for each token of a valid UTF-8 block; token "" stands for an
  /// over-long run.
  template <class Sink>
  void scan(std::string_view text, Sink&& sink);
  /// The document ends here: a pending run of letters is a token.
  template <class Sink>
  void finish(Sink&& sink) {
    if (length_ == 0) return;
    sink(length_ <= kMaxTokenBytes ? std::string_view(run_, length_) : std::string_view());
    length_ = 0;
  }

  enum Class : unsigned char {
    letter,
    single,
    space
  };  ///< of a lower-cased character; newline is a `single`
  struct Character {
    char bytes[4] = {};  ///< UTF-8, lower-cased
    unsigned char length = 0;
    Class kind = single;
  };
  [[nodiscard]] static Character classify(char32_t c);

 private:
  void append(const char* bytes, std::size_t n) {
    if (length_ + n <= kMaxTokenBytes) {
      for (std::size_t k = 0; k < n; ++k) run_[length_ + k] = bytes[k];
      length_ += n;
    } else {
      length_ = kMaxTokenBytes + 1;  // stays over-long to the run's end
    }
  }
  struct AsciiTable {
    char letter_of[256];  // lower-cased ASCII letters, 0 for every other byte
    Class kind[128];
    AsciiTable();
  };
  static const AsciiTable kAscii;

  char run_[kMaxTokenBytes];  // letters of a token not yet finished, lower-cased
  std::size_t length_ = 0;
};

template <class Sink>
void WordsScanner::scan(std::string_view text, Sink&& sink) {
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    const auto byte = static_cast<unsigned char>(*p);
    if (kAscii.letter_of[byte] != 0) {  // most bytes are in such runs: a tight loop of their own
      std::size_t n = length_;
      char c = 0;
      for (; p < end && (c = kAscii.letter_of[static_cast<unsigned char>(*p)]) != 0; ++p) {
        if (n < kMaxTokenBytes) run_[n] = c;
        n += n <= kMaxTokenBytes ? 1 : 0;  // stays over-long
      }
      length_ = n;
    } else if (byte < 0x80) {
      finish(sink);
      if (kAscii.kind[byte] == single) sink(std::string_view(p, 1));
      ++p;
    } else {
      const Character c = classify(decode_valid_utf8(p));
      if (c.kind == letter) {
        append(c.bytes, c.length);
      } else {
        finish(sink);
        if (c.kind == single) sink(std::string_view(c.bytes, c.length));
      }
    }
  }
}

/// Text files (one document each) through the `words` tokenizer. Without spec.vocabulary it builds one in a
/// first pass; pipes among `files` are spooled for that. Throws InputError for defects in the text or the
/// vocabulary file, UsageError for sizes that contradict each other.
[[nodiscard]] std::unique_ptr<Corpus> open_words(InputFiles files, const CorpusSpec& spec,
                                                 ProgressSink& progress,
                                                 std::size_t block_bytes = kTextBlockBytes);

}  // namespace aloft
