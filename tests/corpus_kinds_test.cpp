#include <gtest/gtest.h>

#include <tuple>

#include "host/corpus.hpp"
#include "host/structured_text.hpp"
#include "host/text_encoding.hpp"
#include "tests/corpus_helpers.hpp"

// What a file is taken for: JSON and tables, foreign files, wide encodings, ids without a header.

namespace aloft::corpus_tests::kinds {
namespace {

using namespace std::string_literals;

CorpusSpec spec_of(const std::string& path, const std::string& format = "auto",
                   const std::string& tokenizer = "words") {
  CorpusSpec spec;
  spec.paths = {path};
  spec.vocab_size = tokenizer == "bytes" ? 256 : 60000;
  spec.format = format;
  spec.tokenizer = tokenizer;
  return spec;
}

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int k = 0; k < times; ++k) out += text;
  return out;
}

struct Kind {
  std::string name, content, what;
};

const std::string kLine =
    R"({"text": "The cat sat.\nThen it \"left\".", "id": 7, "meta": {"url": "http://x"}})";
const std::string kRow = "17,\"The cat sat, then left.\",\"a \"\"b\"\"\"\n";

const std::vector<Kind> kStructured{
    {"a.jsonl", repeated(kLine + "\n", 30), "is JSON Lines; "},
    {"a.txt", repeated(kLine + "\n", 30), "is JSON Lines; "},
    {"nameless", repeated(kLine + "\r\n", 30), "is JSON Lines; "},
    {"bom.txt", "\xEF\xBB\xBF" + repeated(kLine + "\n", 3), "is JSON Lines; "},
    {"blank.txt", "\n\n" + repeated(kLine + "\n\n", 3), "is JSON Lines; "},
    {"comment.txt", "# from the crawl\n" + repeated(kLine + "\n", 30), "is JSON Lines; "},
    {"keys.jsonl", R"({"id": 1, "text": "a b"}
{"text": "c", "source": "x"}
{"text": "d"})",
     "is JSON Lines; "},
    {"latin.jsonl", "{\"text\": \"caf\xE9\"}\n{\"text\": \"caf\xE9\"}\n", "is JSON Lines; "},
    {"rows.jsonl", "[\"a b c\", 1]\n[\"d e f\", 2]\n", "is JSON Lines; "},
    {"one.txt", kLine, "is JSON; "},
    {"long.txt", "{\"text\": \"" + repeated("the cat sat on ", 20000) + "\"}\n{\"text\": \"b\"}\n",
     "is JSON; "},
    {"pretty.json", "{\n  \"text\": \"a b\",\n  \"n\": [1, 2]\n}\n", "is JSON; "},
    {"values.txt", repeated("{\n  \"text\": \"a b\"\n}\n", 5), "is JSON; "},
    {"list.json", "[\n " + kLine + ",\n " + kLine + "\n]\n", "is JSON; "},
    {"cut.json", "[" + repeated(kLine + ",\n", 4000) + kLine + "]", "is JSON; "},
    {"strings.json", R"(["The cat sat.", "It left."])", "is JSON; "},
    {"a.csv", "id,text,title\n" + repeated(kRow, 3), "is CSV; "},
    {"nameless-csv", "id,text,title\n" + repeated(kRow, 20), "is CSV; "},
    {"breaks.csv", "id,text\n" + repeated("1,\"two\nlines, or\n\nthree\"\n", 4), "is CSV; "},
    {"semicolon.csv", "id;text\n" + repeated("1;the cat, the dog\n", 4), "is CSV; "},
    {"column.csv", "text\n" + repeated("\"The cat sat, then left.\"\n", 4), "is CSV; "},
    {"pipes.csv", "id|text\n" + repeated("1|the cat, the dog\n", 4), "is CSV; "},
    {"no-header-pipes.csv", repeated("1|the cat, the dog|x\n", 4), "is CSV; "},
    {"nameless-pipes", "id|text\n" + repeated("1|the cat, the dog\n", 9), "is CSV; "},
    {"nameless-semicolons", "id;text\n" + repeated("1;the cat, the dog\n", 9), "is CSV; "},
    {"escapes.txt", repeated("\"The cat \\\"sat\\\".\\nIt left.\"\n", 5), "is JSON Lines; "},
    {"strings.jsonl", repeated("\"The cat sat.\"\n", 3), "is JSON Lines; "},
    {"quoted-lines", repeated("\"The cat sat.\"\n", 30), "is JSON Lines; "},
    {"a.tsv", repeated("1\tThe cat sat.\n", 3), "is tab-separated values; "},
    {"nameless-tsv", repeated("en\tThe cat sat, and left.\tDie Katze\n", 30), "is tab-separated values; "},
};

TEST(CorpusKinds, RecordsAreRefusedWithTheWayOutAndCountedWhereSaidToBeText) {
  const Folder folder;
  for (const Kind& kind : kStructured) {
    const std::string path = folder.file(kind.name, kind.content);
    for (const std::string tokenizer : {"words", "bytes"}) {
      const std::string what = message_of<InputError>(spec_of(path, "auto", tokenizer));
      EXPECT_EQ(what.find(path + ": " + kind.what), 0u) << kind.name << ": " << what;
      EXPECT_NE(what.find("--doc-sep '<|endoftext|>'"), std::string::npos) << what;
      EXPECT_NE(what.find("--format text"), std::string::npos) << what;
    }
    auto as_text = spec_of(path, "text");
    as_text.invalid_utf8 = InvalidUtf8::replace;
    EXPECT_GT(ids_of(*open(as_text)).size(), 5u) << kind.name;
    // What a pipe does not hold waits for a reader; a pipe has no extension.
    if (kind.content.size() > 60'000 || kind.name.ends_with(".csv") || kind.name.ends_with(".tsv") ||
        kind.name == "strings.jsonl")
      continue;
    const Stdin in(kind.content);
    EXPECT_NE(message_of<InputError>(spec_of("-")).find(" is "), std::string::npos);
  }
}

TEST(CorpusKinds, TheCommandNamesTheFieldOfText) {
  const auto command = [](const std::string& text) {
    return structured_text(text, true, "").value().command;
  };
  EXPECT_EQ(command("{\"id\": \"1\", \"body\": \"The cat sat.\"}\n{\"id\": \"2\", \"body\": \"It left.\"}\n"),
            "jq -j '.body // empty, \"<|endoftext|>\"'");
  // A key that a shell or a terminal would take for something else is not repeated.
  EXPECT_EQ(command("{\"a'; rm x; '\\u001b\": \"The cat sat.\"}\n{\"a'; rm x; '\\u001b\": \"It\"}\n"),
            "jq -j '.. | strings | ., \"<|endoftext|>\"'");
  EXPECT_EQ(command("[{\"body\": \"The cat\"}, {\"body\": \"sat\"}]"),
            "jq -j '.[] | .body // empty, \"<|endoftext|>\"'");
  EXPECT_NE(command("id,body\n" + repeated("1,The cat sat\n", 9)).find("r['body']"), std::string::npos);
  EXPECT_NE(command(repeated("1\tThe cat sat\n", 9)).find("r[1]"), std::string::npos);
  EXPECT_NE(command("id|text\n" + repeated("1|The cat sat\n", 9)).find("r['text']"), std::string::npos);
  EXPECT_NE(command("id|text\n" + repeated("1|The cat sat\n", 9)).find("delimiter='|'"), std::string::npos);
  // A sentence is no name of a column, and a comma of sentences no separator where another is.
  EXPECT_NE(command(repeated("The cat sat.\tLe chat dort.\n", 9)).find("r[1]"), std::string::npos);
  const std::string bars =
      structured_text(repeated("1|the cat, the dog|x\n", 9), true, ".csv").value().command;
  EXPECT_NE(bars.find("delimiter='|'"), std::string::npos) << bars;
}

TEST(CorpusKinds, ProseAndSourceCodeAreText) {
  const Folder folder;
  const std::vector<std::pair<std::string, std::string>> texts{
      {"brace.txt", "{Note: this begins with a brace}\n" + repeated("The cat sat, then it left.\n", 20)},
      {"quoted.txt", "{\"Hello\" is what she said}\nand left, and left.\n"},
      {"json-first.txt", kLine + "\n" + repeated("The log above has one line of JSON.\n", 20)},
      {"some-json.md", repeated("Call it with\n\n" + kLine + "\n\nand wait, then read.\n", 20)},
      {"bracket.txt", "[1] A footnote, first\n[2] A footnote, second\n"},
      {"empty-object.txt", "{}\n"},
      {"number.txt", "[1, 2, 3]\n"},
      {"code.c", "int f(int a, int b) {\n  return a, b;\n}\n" + repeated("call(a, b, c);\n", 20)},
      {"code.js", "{\n  let x = {a: 1};\n}\n"},
      {"code.py", repeated("x = {'text': 'a', 'b': 2}\n", 20)},
      {"verse.txt", repeated("Roses are red, violets are blue\n", 20)},
      {"list.md", "| a | b |\n|---|---|\n" + repeated("| 1 | 2 |\n", 20)},
      {"indented.txt", repeated("\tint x;\n", 20) + repeated("\t\treturn;\n", 10)},
      {"indented-once.txt", repeated("\tone tab in front of every line\n", 40)},
      {"asm.s", repeated("main:\n\tpushq\t%rbp\n\tret\n.L3:\n", 10)},
      {"few-tabs.txt", repeated("a line\n", 20) + "one\ttab\n"},
      {"prose.csv", "The cat sat on the mat\nThen, and only then, it left, of course.\nYes.\n"},
      {"numbers.txt", repeated("1,2,3\n4,5,6\n", 20)},
      {"letters.txt", "Dear Sir,\n" + repeated("I write, as promised.\n", 20)},
      {"speech.txt", "\"Who is there?\"\n\"A cat.\"\n\"Come in, then.\"\n"},
      {"novel.txt", repeated("\"The cat sat,\" she said. \"It left.\"\n", 30)},
      {"pipes.sh", repeated("cat a | sort | uniq -c\n", 20)},
      {"bars.txt", "Name | Age | Town\n" + repeated("Ann | 7 | Ulm\n", 20)},
      {"tex.tex", "{\\bf a}\n" + repeated("one, two, three\n", 20)},
  };
  for (const auto& [name, content] : texts) {
    std::unique_ptr<Corpus> corpus;
    EXPECT_NO_THROW(corpus = open(spec_of(folder.file(name, content)))) << name;
    if (corpus) {
      EXPECT_EQ(corpus->format_name(), "text (words)") << name;
    }
  }
}

std::string tar_of(const std::string& content) {
  std::string header(512, '\0');
  header.replace(0, 5, "a.txt");
  header.replace(257, 6, "ustar\0"s);
  return header + content + std::string(512 - content.size() % 512, '\0');
}

std::string zip_of(const std::string& entry) {
  std::string out = "PK\3\4\x14\0\0\0\0\0"s + std::string(16, '\0');
  out += static_cast<char>(entry.size());
  return out + std::string(3, '\0') + entry + "stored";
}

const std::vector<Kind> kForeign{
    {"gzip", "\x1f\x8b\x08\0\0\0\0\0\0\3x"s, "gzip -dc FILE | aloft ... --corpus -"},
    {"zstd", "\x28\xb5\x2f\xfd\x24\0\1\0\0"s, "zstd -dc FILE | aloft ... --corpus -"},
    {"xz", "\xfd\x37zXZ\0\0\4"s, "xz -dc FILE | aloft ... --corpus -"},
    {"bzip2", "BZh91AY&SY\x17\x72\x45\x38", "bzip2 -dc FILE | aloft ... --corpus -"},
    {"lz4", "\x04\x22\x4d\x18\x64\x40\xa7"s, "lz4 -dc FILE | aloft ... --corpus -"},
    {"lzip", "LZIP\x01\x0c", "lzip -dc"},
    {"7z", "7z\xbc\xaf\x27\x1c\0\4"s, "a 7z archive"},
    {"rar", "Rar!\x1a\x07\1\0"s, "a rar archive"},
    {"tar", tar_of("hello"), "tar -xf FILE"},
    {"zip", zip_of("a.txt"), "a zip archive"},
    {"npz", zip_of("arr_0.npy"), ".npy inside"},
    {"torch", zip_of("ids/data.pkl"), "PyTorch"},
    {"torch-old", "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", "PyTorch"},
    {"pickle", "\x80\x04\x95\x0b\0\0\0\0\0\0\0]\x94(K\1"s, "pickle"},
    {"docx", zip_of("[Content_Types].xml"), "Office"},
    {"epub", zip_of("mimetype"), ".epub"},
    {"doc", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0"s, "Office"},
    {"pdf", "%PDF-1.7\n%\xe2\xe3\n", "pdftotext"},
    {"rtf", "{\\rtf1\\ansi hello}", "RTF"},
    {"parquet", "PAR1\x15\x04\x15\x10", "a Parquet file"},
    {"arrow", "ARROW1\0\0\xff\xff\xff\xff"s, "an Arrow file"},
    {"arrow-stream", "\xff\xff\xff\xff\xf8\3\0\0\x10\0\0\0\0\0\x0a\0"s, "an Arrow stream"},
    {"hdf5", "\x89HDF\r\n\x1a\n\0"s, "an HDF5 file"},
    {"sqlite", "SQLite format 3\0\x10\0"s, "SQLite"},
    {"avro", "Obj\x01\4\x14"s, "Avro"},
    {"warc", "WARC/1.0\r\nWARC-Type: conversion\r\n", "WARC"},
    {"safetensors", "\x10\0\0\0\0\0\0\0{\"a\":{}}        "s, "--counts"},
    {"gguf", "GGUF\3\0\0\0"s, "GGUF"},
    {"png", "\x89PNG\r\n\x1a\n\0\0"s, "PNG"},
    {"gif", "GIF89a\x01\0\1\0"s, "GIF"},
    {"webp", "RIFF\x10\0\0\0WEBPVP8 "s, "WebP"},
    {"font", "wOF2\0\1\0\0"s, "a font"},
    {"class", "\xca\xfe\xba\xbe\0\0\0\x34"s, "a compiled program"},
    {"own-vocabulary", "{\"tokenizer\":\"words\",\"version\":1,\"lowercase\":true}", "--vocabulary"},
    {"elf",
     "\x7f"
     "ELF\2\1\1\0"s,
     "ELF"},
    {"megatron-index", "MMIDIDX\0\0\1\0\0\0\0\0\0\0\4"s, "give the .bin"},
    {"litdata", bytes_of(std::vector<std::uint32_t>{2, 16, 20, 24, 7, 9}), "litdata"},
};

TEST(CorpusKinds, ForeignFilesAreNamedWhateverTheyAreCalled) {
  const Folder folder;
  for (const Kind& kind : kForeign) {
    for (const char* ending : {"", ".txt", ".bin", ".u16", ".jsonl", ".npy"}) {
      const std::string path = folder.file(kind.name + ending, kind.content);
      const std::string what = message_of<InputError>(spec_of(path));
      EXPECT_EQ(what.find(path + ": is "), 0u) << what;
      EXPECT_NE(what.find(kind.what), std::string::npos) << what;
      EXPECT_NE(what.find("; "), std::string::npos) << what;
    }
    const std::string raw = message_of<InputError>(spec_of(folder.file("x.bin", kind.content), "u16"));
    EXPECT_NE(raw.find(kind.what), std::string::npos) << raw;  // no one means the ids of a zip
    if (kind.name == "litdata") continue;  // known by its size, which a pipe does not tell
    const Stdin in(kind.content);
    EXPECT_NE(message_of<InputError>(spec_of("-")).find(kind.what), std::string::npos) << kind.name;
  }
  EXPECT_NE(message_of<InputError>(spec_of(folder.file("a.tar.gz", kForeign[0].content))).find("tar -xzf"),
            std::string::npos);
}

TEST(CorpusKinds, LettersThatBeginAFormatBeginTextsToo) {
  const Folder folder;
  for (const char* text :
       {"PAR1 is a magic number", "GGUF is a format", "BZh is a name, 7z another", "PK was here",
        "FEA1 and so on", "LZIP packs", "Rar! it said", "MMIDIDX", "WARC is a format"})
    EXPECT_NO_THROW((void)open(spec_of(folder.file("a.txt", text)))) << text;
  std::string about(300, 'x');
  EXPECT_NO_THROW((void)open(spec_of(folder.file("a.txt", about.replace(257, 5, "ustar")))));
}

std::string wide(const std::u32string& text, std::size_t bytes, bool big_endian) {
  std::string out;
  for (const char32_t c : text)
    for (std::size_t k = 0; k < bytes; ++k)
      out += static_cast<char>(c >> 8 * (big_endian ? bytes - 1 - k : k) & 0xFF);
  return out;
}

TEST(CorpusKinds, WideEncodingsAreNamedWithOrWithoutAByteOrderMark) {
  const Folder folder;
  const std::vector<std::tuple<std::string, std::size_t, bool>> encodings{
      {"UTF-16LE", 2, false}, {"UTF-16BE", 2, true}, {"UTF-32LE", 4, false}, {"UTF-32BE", 4, true}};
  for (const std::u32string text :
       {U"The cat sat on the mat.\n", U"Привет, мир! 2026\n", U"猫は、座った。\r\n猫 2\n"})
    for (const auto& [encoding, bytes, big_endian] : encodings)
      for (const bool mark : {false, true}) {
        if (bytes == 4 && text[0] > 0x2000 && !mark) continue;  // below as well
        const std::string path =
            folder.file("wide.txt", wide((mark ? U"\uFEFF" : U"") + text, bytes, big_endian));
        for (const std::string tokenizer : {"words", "bytes"}) {
          const std::string what = message_of<InputError>(spec_of(path, "auto", tokenizer));
          EXPECT_EQ(what.find(path + ": is " + (mark ? encoding.substr(0, 6) : encoding) + " text"), 0u)
              << what;
          EXPECT_NE(what.find("iconv -f UTF-"), std::string::npos) << what;
        }
        EXPECT_NE(message_of<InputError>(spec_of(path, "text")).find("iconv"), std::string::npos);
      }
  EXPECT_EQ(wide_encoding(bytes_of(std::vector<std::uint16_t>{5, 1, 9, 2, 2, 7, 300, 11})), "");
  EXPECT_EQ(wide_encoding(bytes_of(std::vector<std::uint32_t>{5, 1, 9, 2, 2, 7, 300, 11})), "");
  EXPECT_EQ(wide_encoding("plain text"), "");
}

TEST(CorpusKinds, ANulInTextIsRefusedWithItsByteOrReplaced) {
  const Folder folder;
  for (const std::size_t before : {3u, 70'001u, 1'200'000u}) {
    const std::string path = folder.file("nul.txt", std::string(before, 'a') + "\0 b"s);
    auto spec = spec_of(path);
    const std::string what = message_of<InputError>(spec);
    EXPECT_NE(what.find(path + ": byte " + std::to_string(before) + " is NUL"), std::string::npos) << what;
    spec.invalid_utf8 = InvalidUtf8::replace;
    EXPECT_EQ(ids_of(*open(spec)).size(), 3u);
  }
}

TEST(CorpusKinds, InvalidUtf8NamesBothWaysOut) {
  const Folder folder;
  const std::string what = message_of<InputError>(spec_of(folder.file("a.txt", "caf\xE9 au lait")));
  EXPECT_NE(what.find("iconv -f"), std::string::npos) << what;
  EXPECT_NE(what.find("--utf8 replace"), std::string::npos) << what;
}

TEST(CorpusKinds, TextThatIsCalledIdsIsNotReadAsIds) {
  const Folder folder;
  for (const char* name : {"a.bin", "a.u16", "a.u32", "a.ds"}) {
    const std::string path = folder.file(name, repeated("The cat sat, naïvely.\n", 20));
    const std::string what = message_of<InputError>(spec_of(path));
    EXPECT_NE(what.find("reads like text"), std::string::npos) << what;
    EXPECT_NE(what.find("--format text"), std::string::npos) << what;
    EXPECT_EQ(open(spec_of(path, "text"))->format_name(), "text (words)");
    EXPECT_NO_THROW((void)open(spec_of(path, "u16")));  // said explicitly
  }
}

}  // namespace
}  // namespace aloft::corpus_tests::kinds
