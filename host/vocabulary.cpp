#include "host/vocabulary.hpp"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "host/error.hpp"
#include "host/json_events.hpp"
#include "host/json_text.hpp"
#include "host/printable.hpp"

namespace aloft {
namespace {

constexpr std::size_t kFirstSlots = std::size_t{1} << 12;

std::uint32_t hash_of_token(std::string_view token) {
  return static_cast<std::uint32_t>(XXH3_64bits(token.data(), token.size()));
}

constexpr std::uint64_t kLongestVocabulary = std::uint64_t{1} << 30;  // bytes of JSON

/// vocab.json as it is read, each token straight into the table: a tree of a million strings would take ten
/// times the file. The keys "tokenizer", "version", "lowercase" and "size" are kept, others passed over.
class VocabularyParser final : public JsonEvents {
 public:
  VocabularyParser(TokenTable& table, const std::string& name) : table_(table), name_(name) {}

  [[noreturn]] void refuse(const std::string& why) const {
    throw InputError(fmt::format("{}: is no vocabulary of the words tokenizer: {}", name_, why));
  }
  void expect(const char* key, const nlohmann::json& wanted) const {
    const auto found = values_.find(key);
    if (found == values_.end()) refuse(fmt::format("\"{}\" is missing", key));
    if (found->second != wanted)
      refuse(fmt::format("\"{}\" is {}, {} is needed", key, printable(found->second.dump()), wanted.dump()));
  }
  /// The value of a key at the top; null where it is not there.
  [[nodiscard]] nlohmann::json value(const std::string& key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? nlohmann::json() : found->second;
  }

 private:
  void scalar(const nlohmann::json& value) override {
    if (depth() == 0) refuse("not a JSON object");
    if (in_tokens()) refuse(fmt::format("tokens[{}] is no string", table_.size()));
    if (depth() == 1 && key_ == "tokens") refuse("\"tokens\" is no list or empty");
    if (depth() == 1 && kept()) values_[key_] = value;
  }
  void text(const std::string& text) override {
    if (!in_tokens()) return scalar(text);
    const std::uint32_t number = table_.size();
    if (number == 0 && text != Vocabulary::kUnknown) refuse("tokens[0] is not \"<unk>\"");
    if (text.empty()) refuse(fmt::format("tokens[{}] is empty", number));
    const std::uint32_t got = table_.insert(text);
    if (got != number)
      refuse(fmt::format("tokens[{}] repeats tokens[{}], \"{}\"", number, got, printable(text)));
  }
  void opened(bool is_object) override {
    if (depth() == 0 && !is_object) refuse("not a JSON object");
    if (in_tokens()) refuse(fmt::format("tokens[{}] is no string", table_.size()));
    if (depth() != 1) return;
    if (key_ == "tokens" && is_object) refuse("\"tokens\" is no list or empty");
    if (kept()) refuse(fmt::format("\"{}\" is {}", key_, is_object ? "an object" : "a list"));
  }
  void named(const std::string& key) override {
    if (depth() != 1) return;
    if (!keys_.insert(key).second) refuse(fmt::format("the key \"{}\" appears twice", printable(key)));
    key_ = key;
  }
  void failed(std::size_t position, const std::string&) override {
    refuse(fmt::format("not valid JSON at byte {}", position));
  }
  [[nodiscard]] bool in_tokens() const { return depth() == 2 && key_ == "tokens"; }
  [[nodiscard]] bool kept() const {
    return key_ == "tokenizer" || key_ == "version" || key_ == "lowercase" || key_ == "size";
  }

  TokenTable& table_;
  const std::string& name_;
  std::map<std::string, nlohmann::json> values_;
  std::set<std::string> keys_;  // at the top
  std::string key_;             // the last of them
};

}  // namespace

TokenTable::TokenTable() : slots_(kFirstSlots) { single_.fill(kNone); }

std::string_view TokenTable::operator[](std::uint32_t number) const {
  const Entry& entry = entries_[number];
  return {bytes_.data() + entry.begin, entry.length};
}

std::size_t TokenTable::slot_of(std::string_view token, std::uint32_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = hash & mask;
  while (slots_[at].number != kNone && (slots_[at].hash != hash || (*this)[slots_[at].number] != token))
    at = (at + 1) & mask;
  return at;
}

std::uint32_t TokenTable::find(std::string_view token) const {
  if (token.size() == 1) return single_[static_cast<unsigned char>(token[0])];
  return slots_[slot_of(token, hash_of_token(token))].number;
}

std::uint32_t TokenTable::insert(std::string_view token) {
  if (token.size() == 1) {
    std::uint32_t& number = single_[static_cast<unsigned char>(token[0])];
    if (number == kNone) number = append(token, 0);
    return number;
  }
  const std::uint32_t hash = hash_of_token(token);
  std::size_t at = slot_of(token, hash);
  if (slots_[at].number != kNone) return slots_[at].number;
  if (2 * (entries_.size() + 1) > slots_.size()) {
    grow();
    at = slot_of(token, hash);
  }
  const std::uint32_t number = append(token, hash);
  slots_[at] = {hash, number};
  return number;
}

std::uint32_t TokenTable::append(std::string_view token, std::uint32_t hash) {
  const std::uint32_t number = size();
  if (number == kNone)
    throw ResourceError("more than four billion different tokens: the vocabulary cannot be built");
  entries_.push_back({bytes_.size(), static_cast<std::uint32_t>(token.size()), hash});
  bytes_ += token;
  return number;
}

void TokenTable::grow() {
  std::vector<Slot> larger(slots_.size() * 2);
  const std::size_t mask = larger.size() - 1;
  for (std::uint32_t number = 0; number < size(); ++number) {
    if (entries_[number].length == 1) continue;
    std::size_t at = entries_[number].hash & mask;
    while (larger[at].number != kNone) at = (at + 1) & mask;
    larger[at] = {entries_[number].hash, number};
  }
  slots_ = std::move(larger);
}

Vocabulary::Vocabulary(const TokenTable& types, const std::vector<std::uint64_t>& counts, std::int64_t size)
    : size_(size) {
  expects(counts.size() == types.size() && size >= 1, "one count per type");
  std::vector<std::uint32_t> order(types.size());
  std::iota(order.begin(), order.end(), 0u);
  const auto kept = std::min<std::size_t>(order.size(), static_cast<std::size_t>(size - 1));
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
                    [&](std::uint32_t a, std::uint32_t b) {
                      return counts[a] != counts[b] ? counts[a] > counts[b] : a < b;
                    });
  table_.insert(kUnknown);
  for (std::size_t k = 0; k < kept; ++k) table_.insert(types[order[k]]);
}

Vocabulary::Vocabulary(const std::string& json, const std::string& name) {
  VocabularyParser read(table_, name);
  read_json_events(json, name, read, kLongestVocabulary);
  read.expect("tokenizer", "words");
  read.expect("version", 1);
  read.expect("lowercase", true);
  if (table_.size() == 0) read.refuse("\"tokens\" is no list or empty");
  size_ = tokens();
  if (const nlohmann::json size = read.value("size"); !size.is_null()) {
    if (!size.is_number_integer() || size < size_ || size > kMaxVocab)
      read.refuse("\"size\" is out of range");
    size_ = size.get<std::int64_t>();
  }
}

std::string Vocabulary::json() const {
  auto out = nlohmann::ordered_json::object();
  out["tokenizer"] = "words";
  out["version"] = 1;
  out["lowercase"] = true;
  auto& list = out["tokens"] = nlohmann::ordered_json::array();
  for (std::uint32_t number = 0; number < table_.size(); ++number)
    list.push_back(std::string(table_[number]));
  if (tokens() < size_) out["size"] = size_;
  return out.dump() + "\n";
}

}  // namespace aloft
