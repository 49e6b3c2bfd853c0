#include "host/corpus_selection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "host/corpus_files.hpp"
#include "host/corpus_format.hpp"
#include "host/error.hpp"

namespace aloft {
namespace {

struct Opened {
  std::shared_ptr<InputFile> file;
  bool of_folder = false;
  FileKind kind;
};

/// How the files of its sort are left out of a folder; "" for a file that the user named.
std::string way_out(const Opened& o) {
  if (!o.of_folder) return "";
  const std::filesystem::path path(o.file->name());
  const std::string extension = path.extension().string();
  return fmt::format("; --exclude '{}' leaves it out of the folder",
                     extension.size() > 1 ? "*" + extension : path.filename().string());
}

/// Those that have a byte.
std::vector<Opened> open_all(const CorpusSpec& spec, ProgressSink& progress) {
  const CorpusFiles found = corpus_files(spec);
  for (const std::string& note : found.notes) progress.note("note: " + note);
  std::vector<Opened> opened;
  std::string empty;
  std::size_t empties = 0;
  for (const auto& [path, of_folder] : found.files) {
    auto file = std::make_shared<InputFile>(path);
    if (!file->empty()) {
      opened.push_back({std::move(file), of_folder, {}});
    } else if (empties++ == 0) {
      empty = file->name();
    }
  }
  if (opened.empty())
    throw InputError(empty + ": is empty" +
                     (empties > 2    ? fmt::format(", and so are the other {} files", empties - 1)
                      : empties == 2 ? ", and so is the other file"
                                     : ""));
  if (empties == 1) progress.note("note: " + empty + ": is empty and left out");
  if (empties > 1)
    progress.note(fmt::format("note: {} of {} files are empty and left out ({} is the first)", empties,
                              found.files.size(), empty));
  return opened;
}

bool is(const Opened& o, FileKind::Verdict verdict) { return o.kind.verdict == verdict; }

bool is_text(const Opened& o) { return is(o, FileKind::Verdict::read) && o.kind.format == kTextFormat; }

/// What in a folder of texts could never be one is taken out.
void leave_out_what_is_no_corpus(std::vector<Opened>& files, ProgressSink& progress) {
  const auto no_corpus = [](const Opened& o) { return o.of_folder && is(o, FileKind::Verdict::never); };
  const auto first = std::find_if(files.begin(), files.end(), no_corpus);
  if (first == files.end()) return;
  const auto all = std::count_if(files.begin(), files.end(), no_corpus);
  progress.note(fmt::format("note: {} of {} files {} neither text nor ids and left out ({} is {})", all,
                            files.size(), all == 1 ? "is" : "are", first->file->name(), first->kind.what));
  files.erase(std::remove_if(files.begin(), files.end(), no_corpus), files.end());
}

/// JSON and tables in a folder of texts are taken for text, unless they are the greater part of it.
void take_records_of_texts(std::vector<Opened>& files, ProgressSink& progress) {
  std::uint64_t bytes = 0, record_bytes = 0;
  std::size_t records = 0;
  const Opened* first = nullptr;
  for (const Opened& o : files) {
    bytes += o.file->size();
    if (!o.of_folder || !is(o, FileKind::Verdict::records)) continue;
    record_bytes += o.file->size();
    if (records++ == 0) first = &o;
  }
  if (first == nullptr || 2 * records >= files.size() || 2 * record_bytes >= bytes) return;
  progress.note(fmt::format(
      "note: {} of {} files {} JSON or {}, {:.0f}% of the bytes, and read as text like the rest ({} is {}){}",
      records, files.size(), records == 1 ? "is" : "are", records == 1 ? "a table" : "tables",
      100 * static_cast<double>(record_bytes) / static_cast<double>(bytes), first->file->name(),
      first->kind.what, way_out(*first)));
  for (Opened& o : files)
    if (o.of_folder && is(o, FileKind::Verdict::records)) o.kind.verdict = FileKind::Verdict::read;
}

std::string common_format(std::vector<Opened>& files, const CorpusSpec& spec, ProgressSink& progress) {
  const std::int64_t vocab_size = spec.vocab_size != 0 ? spec.vocab_size : spec.model_vocab;
  for (Opened& o : files) o.kind = kind_of_file(*o.file, vocab_size, spec.invalid_utf8);
  if (std::any_of(files.begin(), files.end(), is_text)) {
    leave_out_what_is_no_corpus(files, progress);
    take_records_of_texts(files, progress);
  }
  const Opened& first = files.front();
  for (const Opened& o : files) {
    if (!is(o, FileKind::Verdict::read)) throw InputError(o.kind.why + way_out(o));
    if (o.kind.format != first.kind.format)
      throw InputError(fmt::format(
          "{}: looks like {}, but {} like {}: the files of a corpus need one format (--format sets it{})",
          o.file->name(), o.kind.format, first.file->name(), first.kind.format, way_out(o)));
  }
  return first.kind.format;
}

}  // namespace

OpenedFiles open_files(const CorpusSpec& spec, ProgressSink& progress) {
  std::vector<Opened> opened = open_all(spec, progress);
  if (spec.several_passes)
    for (const Opened& o : opened) o.file->spool(spec.spool_folder);
  OpenedFiles out;
  out.format = spec.format == kDetectFormat ? common_format(opened, spec, progress) : spec.format;
  for (Opened& o : opened) out.files.push_back(std::move(o.file));
  return out;
}

}  // namespace aloft
