#include "host/vocabulary.hpp"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "host/error.hpp"

namespace aloft {
namespace {

constexpr std::size_t kFirstSlots = std::size_t{1} << 12;

std::uint32_t hash_of_token(std::string_view token) {
  return static_cast<std::uint32_t>(XXH3_64bits(token.data(), token.size()));
}

[[noreturn]] void refuse(const std::string& name, const std::string& why) {
  throw InputError(fmt::format("{}: is no vocabulary of the words tokenizer: {}", name, why));
}

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
  const auto value = nlohmann::json::parse(json, nullptr, false);
  if (value.is_discarded()) refuse(name, "not valid JSON");
  if (!value.is_object()) refuse(name, "not a JSON object");
  const auto is = [&](const char* key, const nlohmann::json& wanted) {
    const auto found = value.find(key);
    if (found == value.end()) refuse(name, fmt::format("\"{}\" is missing", key));
    if (*found != wanted)
      refuse(name, fmt::format("\"{}\" is {}, {} is needed", key, found->dump(), wanted.dump()));
  };
  is("tokenizer", "words");
  is("version", 1);
  is("lowercase", true);
  const auto tokens = value.find("tokens");
  if (tokens == value.end() || !tokens->is_array() || tokens->empty())
    refuse(name, "\"tokens\" is no list or empty");
  for (const auto& token : *tokens) {
    const std::uint32_t number = table_.size();
    if (!token.is_string()) refuse(name, fmt::format("tokens[{}] is no string", number));
    const auto& text = token.get_ref<const std::string&>();
    if (number == 0 && text != kUnknown) refuse(name, "tokens[0] is not \"<unk>\"");
    if (text.empty()) refuse(name, fmt::format("tokens[{}] is empty", number));
    const std::uint32_t got = table_.insert(text);
    if (got != number)
      refuse(name, fmt::format("tokens[{}] repeats tokens[{}], {}", number, got, token.dump()));
  }
  size_ = this->tokens();
  if (const auto size = value.find("size"); size != value.end()) {
    if (!size->is_number_integer() || *size < size_ || *size > kMaxVocab)
      refuse(name, "\"size\" is out of range");
    size_ = size->get<std::int64_t>();
  }
}

std::string Vocabulary::json() const {
  nlohmann::ordered_json out;
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
