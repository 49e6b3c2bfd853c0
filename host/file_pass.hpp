#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "host/input_file.hpp"
#include "host/token_source.hpp"

namespace aloft {

/// A pass over files, each a document (or several): what every reader of a corpus has in common. A
/// kDocumentBreak is between two documents. position() and cancel() may be called from other threads.
class FilePass : public TokenSource {
 public:
  /// Throws UsageError if one of the files is a pipe that another pass has taken.
  explicit FilePass(InputFiles files);

  [[nodiscard]] std::size_t read(std::span<TokenId> out) final;
  [[nodiscard]] Position position() const final;
  void cancel() noexcept final { cancelled_ = true; }

 protected:
  /// A new file begins; `stream` lives until the next call.
  virtual void begin(InputStream& stream, std::size_t file) = 0;
  /// Appends the ids of the document's next block to `ids` (none is fine); false at the document's end.
  [[nodiscard]] virtual bool next_block(std::vector<TokenId>& ids) = 0;
  /// Goes on to the file's next document, of which next_block() then gives the blocks; false at the file's
  /// end.
  [[nodiscard]] virtual bool next_document() { return false; }

 private:
  [[nodiscard]] bool refill();

  InputFiles files_;
  std::vector<std::unique_ptr<InputStream>> pipes_;  // [files], those that can be read once only
  std::size_t next_file_ = 0;
  std::unique_ptr<InputStream> stream_;
  std::vector<TokenId> ids_;  // of the current block
  std::size_t given_ = 0;     // how many of them went out
  std::uint64_t before_ = 0;  // bytes of the files read to their end
  std::atomic<std::uint64_t> done_{0};
  std::uint64_t total_ = 0;
  std::atomic<bool> cancelled_{false};
};

/// Bytes of all files; 0 if one of them is a pipe.
[[nodiscard]] std::uint64_t total_bytes(const InputFiles& files);
/// None of them is a pipe.
[[nodiscard]] bool rewindable(const InputFiles& files);

}  // namespace aloft
