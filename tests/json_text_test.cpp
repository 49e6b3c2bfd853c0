#include "host/json_text.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "host/error.hpp"
#include "host/printable.hpp"
#include "tests/paths.hpp"

// JSON from outside: bounds, and that nothing reads it past them. Messages and results that do nothing to a
// terminal.

namespace aloft {
namespace {

namespace fs = std::filesystem;

std::string json_refusal(const std::string& text) {
  try {
    (void)parse_json<nlohmann::ordered_json>(text, "file.json");
    return "";
  } catch (const InputError& e) {
    return e.what();
  }
}

std::string nested(int levels, char open, const std::string& middle, char close) {
  const auto n = static_cast<std::size_t>(levels);
  return std::string(n, open) + middle + std::string(n, close);
}

TEST(JsonText, IsReadToADepthThatNoRecursionOverflows) {
  EXPECT_EQ(json_refusal(nested(kDeepestJson, '[', "", ']')), "");
  EXPECT_NE(json_refusal(nested(kDeepestJson + 1, '[', "", ']')).find("nested deeper"), std::string::npos);
  EXPECT_NE(json_refusal(std::string(150'000, '[')).find("file.json: its JSON is nested deeper"),
            std::string::npos);
  std::string objects;
  for (int k = 0; k < 30'000; ++k) objects += "{\"a\":";
  EXPECT_NE(json_refusal(objects).find("nested deeper"), std::string::npos);
  // brackets within strings are none
  EXPECT_EQ(json_refusal("[\"" + std::string(1000, '[') + "\\\"" + std::string(1000, '{') + "\"]"), "");
}

TEST(JsonText, RefusesWhatIsAmbiguousOrTooLong) {
  EXPECT_NE(json_refusal(R"({"a":1,"b":{"a":2},"a":3})").find("the key 'a' appears twice"),
            std::string::npos);
  EXPECT_NE(json_refusal("{\"a\":1}}").find("byte 8"), std::string::npos);
  EXPECT_NE(json_refusal("[1e999]").find("out of range"), std::string::npos);
  EXPECT_NE(json_refusal("[\"\xff\"]").find("not valid JSON"), std::string::npos);
  EXPECT_NE(json_refusal("[" + std::string(kLongestJson, ' ') + "]").find("bytes of JSON"),
            std::string::npos);
  std::string many = "[0";
  for (std::size_t k = 0; k < kMostJsonValues; ++k) many += ",0";
  EXPECT_NE(json_refusal(many + "]").find("values expected at most"), std::string::npos);
  std::string keys = "{";
  for (std::size_t k = 0; k <= kMostOrderedKeys; ++k) keys += fmt::format("{}\"{}\":0", k > 0 ? "," : "", k);
  EXPECT_NE(json_refusal(keys + "}").find("more than 4096 keys"), std::string::npos);
  EXPECT_EQ(parse_json(keys + "}", "").size(), kMostOrderedKeys + 1);  // sorted keys are found quickly
  EXPECT_FALSE(try_parse_json("{").has_value());
  EXPECT_EQ(*try_parse_json("[1]"), nlohmann::json::parse("[1]"));
}

TEST(JsonText, NothingElseReadsJson) {
  int seen = 0;
  for (const char* room : {"host", "kernels", "pipeline", "tools"})
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(source_folder()) / room)) {
      const auto extension = entry.path().extension();
      if ((extension != ".cpp" && extension != ".hpp") || entry.path().filename() == "json_text.cpp")
        continue;
      std::ostringstream text;
      text << std::ifstream(entry.path()).rdbuf();
      for (const char* way : {"json::parse", "Json::parse", "sax_parse", "json::accept", "from_cbor"})
        EXPECT_EQ(text.str().find(way), std::string::npos) << entry.path() << ": parse_json reads JSON";
      ++seen;
    }
  EXPECT_GT(seen, 100);
}

TEST(Printable, ShowsWhatATerminalWouldObey) {
  EXPECT_EQ(printable("a\nb\tc\r"), "a\\nb\\tc\\r");
  EXPECT_EQ(printable("\x1b[2J\x07\x7f"), "\\u001b[2J\\u0007\\u007f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\u009b31m");  // CSI as one character
  EXPECT_EQ(printable("a\xe2\x80\xae"
                      "b"),
            "a\\u202eb");  // right to left from here
  EXPECT_EQ(printable("\xe2\x81\xa6\xe2\x80\xa8\xf3\xa0\x80\x81"), "\\u2066\\u2028\\ue0001");
  EXPECT_EQ(printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(printable("na\xc3\xafve \xe4\xb8\xad\xe6\x96\x87 \\n"),
            "na\xc3\xafve \xe4\xb8\xad\xe6\x96\x87 \\n");
  EXPECT_EQ(printable("\xe4\xb8\xad\xe6\x96\x87", 4), "\xe4\xb8\xad...");
}

TEST(Printable, MessagesKeepTheirEnd) {
  const std::string message = printable_message("file: " + std::string(100'000, '\n') + ": give --format");
  EXPECT_TRUE(message.starts_with("file: \\n"));
  EXPECT_TRUE(message.ends_with(": give --format"));
  EXPECT_LT(message.size(), 10'000u);
}

TEST(Printable, JsonStaysTheSameJson) {
  const nlohmann::json value{{"a\x1b", "\xc2\x9b\xe2\x80\xae\xf3\xa0\x80\x81\n"}, {"b", "\xe4\xb8\xad"}};
  const std::string text = printable_json(value.dump(1));
  EXPECT_EQ(nlohmann::json::parse(text), value);
  EXPECT_NE(text.find("\\u009b\\u202e\\udb40\\udc01\\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\xe4\xb8\xad"), std::string::npos);
}

}  // namespace
}  // namespace aloft
