#pragma once
#include <string>
#include <vector>

namespace aloft {

/// Files of a corpus: `paths` with each folder replaced by the files in it and in its folders, sorted by
/// path. Left out are hidden ones (a name that begins with a dot), whatever is no regular file, and what
/// stands beside token files as their index (X.idx beside X.bin; X.ds.index, X.ds.metadata, X.ds.loss beside
/// X.ds).
struct CorpusFiles {
  std::vector<std::string> paths;
  std::vector<std::string> notes;  ///< one line for each folder: how many files, how many were left out
};
/// Throws InputError for a folder without a file, or one that cannot be read.
[[nodiscard]] CorpusFiles corpus_files(const std::vector<std::string>& paths);

}  // namespace aloft
