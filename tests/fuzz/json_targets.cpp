#include <nlohmann/json.hpp>

#include "host/error.hpp"
#include "host/json_text.hpp"
#include "host/printable.hpp"
#include "host/utf8.hpp"
#include "host/vocabulary.hpp"
#include "pipeline/model/architecture.hpp"
#include "pipeline/model/model_config.hpp"
#include "pipeline/model/model_types.hpp"
#include "tests/fuzz/target.hpp"

namespace aloft::fuzz {
namespace {

const std::string kNested(70, '[');
const std::vector<std::string> kJsonWords{"{",
                                          "}",
                                          "[",
                                          "]",
                                          "\"",
                                          ":",
                                          ",",
                                          "null",
                                          "true",
                                          "false",
                                          "-1",
                                          "1e999",
                                          "0.5",
                                          "1e0",
                                          "\\u0000",
                                          "\\ud800",
                                          "99999999999999999999",
                                          kNested,
                                          "\xc2\x9b",
                                          "\x1b[2J"};

std::vector<std::string> json_words(std::vector<std::string> more) {
  more.insert(more.end(), kJsonWords.begin(), kJsonWords.end());
  return more;
}

// What is written out is JSON again with the same content, and harmless.
void read_json(std::string_view data) {
  const auto value = parse_json<nlohmann::ordered_json>(data, "file");
  const std::string text =
      printable_json(value.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  require(try_parse_json<nlohmann::ordered_json>(text) == value, "JSON does not come back");
  for (const char c : text)
    require(c == '\n' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7F), "a raw control character");
}

void read_printable(std::string_view data) {
  std::string message(data);
  if (data.size() % 8 == 1) message += std::string(4000, 'x') + std::string(data);  // loses its middle
  for (const std::string& line : {printable(data), printable(data, 7), printable_message(message)}) {
    require(valid_utf8_prefix(line) == line.size(), "a message is not UTF-8");
    for (const char c : line)
      require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F, "a raw control character in a message");
    require(line.find("\xc2\x80") == std::string::npos && line.find("\xc2\x9b") == std::string::npos &&
                line.find("\xe2\x80\xae") == std::string::npos,
            "a raw C1 or bidirectional control");
    require(printable(line, line.size()) == line, "what is printable is shown otherwise");
  }
}

void read_vocabulary(std::string_view data) {
  const Vocabulary v(std::string(data), "vocab.json");
  require(v.tokens() >= 1 && v.size() >= v.tokens(), "a vocabulary without <unk>");
  const Vocabulary again(v.json(), "again");
  require(again.size() == v.size() && again.tokens() == v.tokens(), "a vocabulary does not come back");
  for (TokenId id = 0; id < v.tokens(); ++id)
    require(again.token(id) == v.token(id) && v.id(v.token(id)) == id, "a token has another id");
}

void read_architecture(std::string_view data) {
  const Architecture a = parse_architecture(std::string(data), "arch.json");
  require(!a.name.empty() && !a.output.empty(), "an architecture without a name");
}

// And what is done with it next.
void read_config_json(std::string_view data) {
  const ModelConfig c = parse_model_config(std::string(data), "config.json", built_in_architectures());
  require(!c.heads || *c.heads > 0, "no heads");
  for (const Architecture& a : built_in_architectures()) {
    try {
      (void)check_model_type(c, {a, a.name, true}, built_in_architectures());
      (void)resolve_shape({}, c, specialize(a, c), 8);
    } catch (const InputError&) {
    } catch (const UsageError&) {
    }
  }
}

Seeds json_seeds() {
  return {R"({"a":[1,2.5,"x"],"b":{"c":null,"d":true}})",
          "[]",
          R"("\u001b[2J")",
          "\"\xc2\x9b\xe2\x80\xae\"",
          R"({"a":1,"a":2})",
          kNested,
          R"(["\ud83d\ude00", -0.0, 1e308])"};
}
Seeds printable_seeds() {
  return {"plain", "\x1b[2J\n\r\t\x7f", "\xc2\x9b\xe2\x80\xae\xf3\xa0\x80\x81", "\xff\xfe\xc3",
          "\xe4\xb8\xad\xe6\x96\x87"};
}
Seeds vocabulary_seeds() {
  return {
      R"({"tokenizer":"words","version":1,"lowercase":true,"tokens":["<unk>","the","cat","s"]})",
      R"({"size":9,"tokens":["<unk>"],"tokenizer":"words","version":1,"lowercase":true,"x":{"y":[1,{}]}})",
      R"({"tokenizer":)" + std::string(60, '[') + std::string(60, ']') + "}"};
}
Seeds architecture_seeds() {
  const std::string one =
      R"({"name":"mine","description":"d","tensors":{"fusion":"separate","orientation":"out_in",
"query":"l.{layer}.q","key":"l.{layer}.k","value":"l.{layer}.v","output":"l.{layer}.o","embedding":"wte",
"head":"lm_head","final_norm":"n","mlp_output":"m.{layer}","mlp_ratio":4,"mlp_gated":false,"optional_prefixes":["model."]},
"tied_head":true,"norm":"rmsnorm","attention":{"grouped_query":true,"free_head_dim":true,"bias":false,"qk_norm":false},
"position":{"kind":"rope","pairing":"half","base":10000,"fraction":0.5,"scaling":"linear","scaling_factor":2},
"init":{"std":0.02,"residual_scaled":false},"multipliers":{"embedding":12,"residual":0.2,"logits":0.1},
"model_types":{"llama":{"defaults":{"hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,"rope_theta":1e4},
"only":{"clip_qkv":null}}}})";
  const std::string two =
      R"({"name":"g","tensors":{"fusion":"concatenated","orientation":"in_out","qkv":"h.{layer}.c",
"output":"h.{layer}.p","embedding":"wte"},"tied_head":true,"norm":"layernorm",
"attention":{"grouped_query":false,"free_head_dim":false,"bias":true,"qk_norm":false,"score_scale":0.5},
"position":{"kind":"learned","embedding":"wpe"},"init":{"std":0.02,"residual_scaled":true}})";
  return {one, two};
}
Seeds model_config_seeds() {
  return {
      R"({"model_type":"llama","num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"hidden_size":64,
"max_position_embeddings":64,"vocab_size":100,"rope_theta":10000.0,"initializer_range":0.02,"tie_word_embeddings":false,
"rope_scaling":{"rope_type":"linear","factor":2.0},"intermediate_size":128,"architectures":["LlamaForCausalLM"]})",
      R"({"model_type":"gpt2","n_layer":2,"n_head":2,"n_embd":8,"n_positions":32,"vocab_size":9,"n_inner":null})",
      R"({"model_type":"gpt_neox","num_hidden_layers":1,"num_attention_heads":2,"hidden_size":8,"rotary_pct":0.25,
"rotary_emb_base":10000,"vocab_size":8,"use_parallel_residual":true})",
      R"({"model_type":"qwen3","head_dim":8,"rope_parameters":{"rope_theta":1e6,"rope_type":"default",
"partial_rotary_factor":0.5},"num_attention_heads":2,"hidden_size":16,"layer_types":["full_attention"]})",
      R"({"text_config":{"model_type":"gemma3_text","hidden_size":8},"model_type":"gemma3"})",
      R"({"model_type":"foo","rope_scaling":{"type":"longrope","short_factor":[1,2.5],"long_factor":[2,3]},
"no_rope_layers":[1,0],"logits_scaling":8,"rope_parameters":{"full_attention":{"rope_theta":1e6},"x":null}})",
      R"({"model_type":"gemma2","query_pre_attn_scalar":256,"attn_logit_softcapping":50.0,"rotary_dim":4,
"final_logit_softcapping":30.0,"hidden_size":8,"num_attention_heads":2})"};
}

}  // namespace

std::vector<Target> json_targets() {
  return {{"json", read_json, json_seeds, json_words({})},
          {"printable",
           read_printable,
           printable_seeds,
           {"\x1b[", "\xc2\x9b", "\xe2\x80\xae", "\xf3\xa0\x80\x81"}},
          {"vocabulary", read_vocabulary, vocabulary_seeds,
           json_words({"\"tokenizer\":\"words\"", "\"version\":1", "\"lowercase\":true",
                       "\"tokens\":[\"<unk>\"", "\"size\":", "2147483648", "\"<unk>\""})},
          {"architecture", read_architecture, architecture_seeds,
           json_words({"{layer}", "\"separate\"", "\"concatenated\"", "\"interleaved_by_head\"", "\"rope\"",
                       "\"alibi\"", "\"none\"", "\"learned\"", "\"scaling\"", "\"interleaved\""})},
          {"model_config", read_config_json, model_config_seeds,
           json_words({"\"model_type\":", "\"mistral\"", "\"qwen2\"", "\"head_dim\":", "\"rotary_dim\":",
                       "\"rope_scaling\":", "\"rope_parameters\":", "\"text_config\":", "2147483648",
                       "\"partial_rotary_factor\":", "\"layer_types\":", "\"sliding_attention\""})}};
}

}  // namespace aloft::fuzz
