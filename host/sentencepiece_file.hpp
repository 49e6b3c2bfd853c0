#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace aloft {

/// What a SentencePiece model file says, as far as encoding needs it. The format is protobuf
/// (sentencepiece_model.proto, package sentencepiece: ModelProto). Reading it here, before the library does,
/// has two reasons: the library trusts it (a damaged one makes it read out of bounds), and its interface
/// tells neither the type of the model nor its normalisation.
struct SentencePieceFile {
  enum class Algorithm { unigram = 1, bpe = 2, word = 3, character = 4 };
  enum class Type { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  struct Piece {
    std::string text;
    Type type = Type::normal;
    /// Text can become this piece; the others are reached by name or by fallback alone.
    bool in_text() const {
      return type == Type::normal || type == Type::user_defined || type == Type::unused;
    }
  };

  std::vector<Piece> pieces;  // [id]
  Algorithm algorithm = Algorithm::unigram;
  bool byte_fallback = false;      // an unknown character becomes its bytes' pieces
  bool whitespace_suffix = false;  // "hello▁" in place of "▁hello"
  std::string charsmap;            // rules of normalisation, see SentencePieceCharsmap
  bool dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
  bool has_self_test = false;
  /// The same model for text that is normalised already: no rule, no prefix, no self-test.
  std::string for_normalized_text;

  /// Throws InputError with `name`, where and what, for a file that is no model or not a sound one.
  SentencePieceFile(const std::string& bytes, const std::string& name);
};

}  // namespace aloft
