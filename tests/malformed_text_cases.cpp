#include "tests/malformed_cases.hpp"

// Defects of text, of its vocabulary and of its SentencePiece model.

namespace aloft::cli_tests {
namespace {

const Words kWords{"--vocab-size", "12"};

void add_texts(Cases& out) {
  for (const char* name : {"a.txt", "a.md", "a.json", "corpus", "a.csv"})
    out.push_back(bad_corpus("empty text", name, name, "", kWords));

  const std::pair<const char*, std::string> blank[] = {{"one blank", " "},
                                                       {"tab", "\t"},
                                                       {"blanks", "        "},
                                                       {"no-break spaces", "\xc2\xa0\xc2\xa0"},
                                                       {"ideographic space", "\xe3\x80\x80"},
                                                       {"carriage return", "\r"},
                                                       {"byte order mark and blank", "\xef\xbb\xbf "},
                                                       {"byte order mark alone", "\xef\xbb\xbf"}};
  for (const auto& [name, text] : blank)
    out.push_back(bad_corpus("only white space", name, "blank.txt", text, kWords));

  for (const std::string token : {"word", "x", " word ", "7", "."})
    out.push_back(bad_corpus("one token", "words: '" + token + "'", "one.txt", token, kWords));
  out.push_back(bad_corpus("one token", "one byte", "one.txt", "b", {"--tokenizer", "bytes"}));
  out.push_back(bad_corpus("one token", "u16", "one.u16", le<std::uint16_t>({3}), kWords));
  out.push_back(bad_corpus("one token", "u32", "one.u32", le<std::uint32_t>({3}), kWords));
  out.push_back(
      bad_corpus("one token", "llm.c", "one.bin", llmc(20240520, 1, 1, le<std::uint16_t>({3})), kWords));
  out.push_back(bad_corpus("one token", "one and separators", "one.u16", le<std::uint16_t>({0, 3, 0}),
                           kWords + Words{"--doc-sep-id", "0"}));
  out.push_back(bad_corpus("one token", "separators only", "one.u16", le<std::uint16_t>({0, 0, 0}),
                           kWords + Words{"--doc-sep-id", "0"}));

  // Several tokens, each a document of its own: no pair either.
  out.push_back(bad_corpus("no pair", "two documents of one token", "two.u16", le<std::uint16_t>({3, 0, 4}),
                           kWords + Words{"--doc-sep-id", "0"}));
  out.push_back(bad_corpus("no pair", "five documents of one token", "five.u32",
                           le<std::uint32_t>({3, 0, 4, 0, 3, 0, 0, 2, 0, 1}),
                           kWords + Words{"--doc-sep-id", "0"}));
  Malformed files = bad_corpus("no pair", "two files of one word", "one.txt", "word", kWords);
  files.files.emplace_back("two.txt", "other");
  for (Words& command : files.commands) command = command + Words{"--corpus", "@two.txt"};
  out.push_back(files);
}

void add_utf8(Cases& out) {
  const std::pair<const char*, std::string> bad[] = {
      {"lone continuation 80", "\x80"},
      {"lone continuation bf", "\xbf"},
      {"Latin-1 e acute", "\xe9"},
      {"overlong two bytes c0", "\xc0\x80"},
      {"overlong two bytes c1", "\xc1\xbf"},
      {"overlong three bytes", "\xe0\x80\x80"},
      {"overlong three bytes, last", "\xe0\x9f\xbf"},
      {"overlong four bytes", "\xf0\x80\x80\x80"},
      {"overlong four bytes, last", "\xf0\x8f\xbf\xbf"},
      {"first surrogate", "\xed\xa0\x80"},
      {"last surrogate", "\xed\xbf\xbf"},
      {"pair of surrogates (CESU-8)", "\xed\xa0\xbd\xed\xb8\x80"},
      {"above U+10FFFF", "\xf4\x90\x80\x80"},
      {"lead byte f5", "\xf5\x80\x80\x80"},
      {"five bytes", "\xf8\x88\x80\x80\x80"},
      {"six bytes", "\xfc\x84\x80\x80\x80\x80"},
      {"byte fe", "\xfe"},
      {"byte ff", "\xff"},
      {"two bytes cut to one", "\xc3"},
      {"three bytes cut to one", "\xe2"},
      {"three bytes cut to two", "\xe2\x82"},
      {"four bytes cut to one", "\xf0"},
      {"four bytes cut to two", "\xf0\x9f"},
      {"four bytes cut to three", "\xf0\x9f\x98"},
      {"lead after lead", "\xe2\xe2\x82\xac"},
      {"one continuation too many", "\xc3\xa9\xa9"}};
  for (const auto& [name, text] : bad) {
    out.push_back(
        bad_corpus("invalid UTF-8 in the middle", name, "t.txt", "the cat " + text + " sat", kWords));
    out.push_back(bad_corpus("invalid UTF-8 at the end", name, "t.txt", "the cat sat " + text, kWords));
  }
  out.push_back(bad_corpus("invalid UTF-8 elsewhere", "at the start", "t.txt", "\x80 the cat", kWords));
  out.push_back(bad_corpus("invalid UTF-8 elsewhere", "without an extension", "t", "the \xff cat", kWords));
  out.push_back(bad_corpus("invalid UTF-8 elsewhere", "with a given vocabulary", "t.txt", "the \xff cat",
                           {"--vocabulary", "@vocab.json"}));
  out.back().files.emplace_back("vocab.json", kSoundVocabulary);
  out.push_back(bad_corpus("invalid UTF-8 elsewhere", "SentencePiece", "t.txt", "the \xff cat",
                           {"--tokenizer", "@sp.model"}));
  out.back().files.emplace_back("sp.model", kSoundPieces + kSoundModelTail);
  const std::string text = sample_text(1 << 19);
  for (const std::size_t far : {65535, 65537, 1 << 20, (1 << 20) - 2, (1 << 20) + 3})
    out.push_back(bad_corpus("invalid UTF-8 elsewhere", "after byte " + std::to_string(far), "t.txt",
                             text.substr(0, far) + "\xe2\x82 the", kWords));
}

void add_encodings(Cases& out) {
  const std::pair<const char*, std::string> wide[] = {
      {"UTF-16 little-endian", std::string("\xff\xfet\0h\0e\0", 8)},
      {"UTF-16 big-endian", std::string("\xfe\xff\0t\0h\0e", 8)},
      {"UTF-32 little-endian", std::string("\xff\xfe\0\0t\0\0\0", 8)},
      {"byte order mark alone", "\xff\xfe"}};
  for (const auto& [name, text] : wide) {
    out.push_back(bad_corpus("UTF-16", name, "wide.txt", text, kWords));
    out.push_back(bad_corpus("UTF-16", std::string(name) + ", no extension", "wide", text, kWords));
  }
  const std::pair<const char*, std::string> foreign[] = {
      {"gzip", std::string("\x1f\x8b\x08\0\0\0\0\0\0\3", 10)},
      {"zstd", std::string("\x28\xb5\x2f\xfd\x24\0\1\0\0", 9)},
      {"xz", std::string("\xfd\x37zXZ\0\0\4", 8)},
      {"bzip2", "BZh91AY&SY\x17\x72\x45\x38"},
      {"zip", std::string("PK\3\4\x14\0\0\0", 8)},
      {"Parquet", "PAR1\x15\x04\x15\x10"},
      {"NUL bytes", std::string("the\0cat\0sat", 11)},
      {"ids without an extension", le<std::uint16_t>({500, 2, 3, 900})}};
  for (const auto& [name, text] : foreign)
    out.push_back(bad_corpus("neither text nor ids", name, "data", text, kWords));
}

void add_records(Cases& out) {
  const std::string line = R"({"text": "the cat sat", "id": 7})";
  const std::pair<const char*, std::string> records[] = {
      {"a.jsonl", line + "\n" + line + "\n"},
      {"a.txt", line + "\n" + line + "\n" + line},
      {"list.json", "[" + line + "," + line + "]"},
      {"one", line},
      {"a.csv", "id,text\n1,the cat sat\n2,\"the cat, the mat\"\n"},
      {"a.tsv", "1\tthe cat sat\n2\tthe mat\n"}};
  for (const auto& [name, text] : records)
    out.push_back(bad_corpus("records, not text", name, name, text, kWords));
  const std::pair<const char*, std::string> called[] = {
      {"gzip.txt", std::string("\x1f\x8b\x08\0\0\0\0\0\0\3", 10)},
      {"zip.bin", std::string("PK\3\4\x14\0\0\0", 8)},
      {"pdf.txt", "%PDF-1.7\n"},
      {"arrow.bin", std::string("ARROW1\0\0", 8)},
      {"index.bin", std::string("MMIDIDX\0\0\1\0\0\0\0\0\0\0\4", 18)},
      {"text.bin", sample_text(60)},
      {"wide.txt", std::string("t\0h\0e\0 \0c\0a\0t\0", 14)},
      {"nul.txt", std::string("the cat\0sat", 11)}};
  for (const auto& [name, text] : called)
    out.push_back(bad_corpus("another kind inside", name, name, text, kWords));
}

Malformed vocabulary(const std::string& defect, const std::string& name, const std::string& json) {
  Malformed c = bad_corpus(defect, name, "t.txt", kSoundText, {"--vocabulary", "@vocab.json"});
  c.files.emplace_back("vocab.json", json);
  c.culprit = "vocab.json";
  return c;
}

void add_vocabularies(Cases& out) {
  const std::string& sound = kSoundVocabulary;
  const std::pair<const char*, std::string> syntax[] = {
      {"empty", ""},
      {"cut off", sound.substr(0, sound.size() / 2)},
      {"last brace missing", sound.substr(0, sound.size() - 1)},
      {"text behind", sound + "}"},
      {"one word a line", "<unk>\nthe\ncat\n"},
      {"list", R"(["<unk>","the"])"},
      {"null", "null"},
      {"invalid UTF-8", replaced(sound, "cat", "c\xff")},
      {"single quotes", "{'tokenizer': 'words'}"}};
  for (const auto& [name, json] : syntax) out.push_back(vocabulary("vocabulary: not JSON", name, json));
  const std::pair<const char*, std::string> content[] = {
      {"tokenizer of bytes", replaced(sound, "words", "bytes")},
      {"tokenizer missing", replaced(sound, R"("tokenizer":"words",)", "")},
      {"tokenizer a number", replaced(sound, R"("words")", "1")},
      {"version 2", replaced(sound, ":1", ":2")},
      {"version missing", replaced(sound, R"("version":1,)", "")},
      {"not lowercase", replaced(sound, "true", "false")},
      {"tokens missing", replaced(sound, "tokens", "words")},
      {"tokens an object", replaced(replaced(sound, "[", "{\"a\":["), "]", "]}")},
      {"no token", R"({"tokenizer":"words","version":1,"lowercase":true,"tokens":[]})"},
      {"<unk> missing", replaced(sound, "\"<unk>\",", "")},
      {"<unk> second", replaced(sound, R"("<unk>","the")", R"("the","<unk>")")},
      {"repeated token", replaced(sound, "cat", "the")},
      {"repeated <unk>", replaced(sound, "cat", "<unk>")},
      {"empty token", replaced(sound, "cat", "")},
      {"a number as token", replaced(sound, R"("cat")", "7")},
      {"null as token", replaced(sound, R"("cat")", "null")},
      {"size below the tokens", replaced(sound, R"("version")", R"("size":3,"version")")},
      {"size negative", replaced(sound, R"("version")", R"("size":-9,"version")")},
      {"size a fraction", replaced(sound, R"("version")", R"("size":9.5,"version")")},
      {"size beyond 2^31", replaced(sound, R"("version")", R"("size":99999999999,"version")")}};
  for (const auto& [name, json] : content) out.push_back(vocabulary("vocabulary: content", name, json));
}

void add_sentencepiece(Cases& out) {
  const std::string sound = kSoundPieces + kSoundModelTail;
  const std::pair<const char*, std::string> bad[] = {
      {"empty", ""},
      {"text", "this is no model"},
      {"random bytes", std::string("\x9c\x01\xff\x7a\x33\x00\x80\x80\x80", 9)},
      {"cut in a piece", sound.substr(0, 7)},
      {"cut in the last piece", kSoundPieces.substr(0, kSoundPieces.size() - 3)},
      {"cut at the end", sound.substr(0, sound.size() - 1)},
      {"no piece", kSoundModelTail},
      {"no <unk>", replaced(sound, piece("<unk>", 2), "")},
      {"two <unk>", piece("<unknown>", 2) + sound},
      {"repeated piece", piece("a", 1) + sound},
      {"empty piece", sound + piece("", 1)},
      {"length beyond the file", "\x0a\x7f" + sound.substr(2, 20)},
      {"a .npy file", npy_ids()}};
  for (const auto& [name, model] : bad) {
    out.push_back(bad_corpus("SentencePiece model", name, "t.txt", kSoundText, {"--tokenizer", "@sp.model"}));
    out.back().files.emplace_back("sp.model", model);
    out.back().culprit = "sp.model";
  }
}

}  // namespace

Cases malformed_texts() {
  Cases out;
  add_texts(out);
  add_utf8(out);
  add_encodings(out);
  add_records(out);
  add_vocabularies(out);
  add_sentencepiece(out);
  return out;
}

}  // namespace aloft::cli_tests
