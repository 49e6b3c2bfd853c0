#include "pipeline/model/misfits.hpp"

#include <algorithm>

// By what their modelling code in Hugging Face's transformers does (5.24;
// src/transformers/models/TYPE/modeling_TYPE.py). The Python package has the same list, and a test compares
// them.

namespace aloft {
namespace {

using namespace trait;

const std::vector<Misfit>& decoders() {
  static const std::vector<Misfit> all{
      {{kScaledEmbedding, kGainFromOne}, {"gemma"}},
      {{kScaledEmbedding, kGainFromOne, kPostNorms, kSoftCaps}, {"gemma2"}},
      {{kScaledEmbedding, kGainFromOne, kPostNorms, kQkNorm, kTwoRotations},
       {"gemma3", "gemma3_text", "gemma3n", "gemma3n_text"}},
      {{kScaledEmbedding, kPostNorms, kQkNorm, kTwoRotations}, {"gemma4", "gemma4_text"}},
      {{kQkNorm},
       {"apertus", "doge", "dots1", "exaone_moe", "hunyuan_v1_dense", "hunyuan_v1_moe", "hunyuan_vl_text",
        "hy_v3", "olmoe", "qwen3", "qwen3_moe", "qwen3_omni_moe_text", "qwen3_vl_moe_text", "qwen3_vl_text"}},
      {{kQkNorm, kPartialRotary}, {"minimax_m2"}},
      {{kQkNorm, kPostNorms}, {"afmoe"}},
      {{kQkNorm, kPostNorms, kNoPreNorms}, {"exaone4", "flex_olmo", "olmo2", "olmo3"}},
      {{kQkNorm, kNormedEmbedding, kLogitCap}, {"nanochat"}},
      {{kLayerNorm, kInterleaved, kScaledLogits}, {"cohere"}},
      {{kLayerNorm, kInterleaved, kScaledLogits, kUnrotated}, {"cohere2"}},
      {{kInterleaved}, {"cohere2_moe", "ernie4_5", "ernie4_5_moe", "ernie4_5_vl_moe_text", "helium"}},
      {{kInterleaved, kPartialRotary}, {"glm"}},
      {{kInterleaved, kPartialRotary, kPostNorms}, {"glm4", "glm4v_text"}},
      {{kInterleaved, kUnrotated, kQkNorm}, {"llama4", "llama4_text"}},
      {{kPartialRotary}, {"glm4_moe", "glm4v_moe_text"}},
      {{kLayerNorm, kInterleaved, kPartialRotary}, {"codegen", "gptj"}},
      {{kLayerNorm, kPartialRotary}, {"phi", "stablelm"}},
      {{kLayerNorm, kPartialRotary, kQkNorm}, {"persimmon"}},
      {{kLayerNorm, kGainFromOne, kPartialRotary}, {"nemotron"}},
      {{kLayerNorm}, {"falcon", "gpt_neox_japanese", "jais2", "phimoe"}},
      {{kLayerNorm, kClipped}, {"dbrx"}},
      {{kAlibi, kLayerNorm, kNormedEmbedding}, {"bloom"}},
      {{kAlibi, kLayerNorm}, {"mpt"}},
      {{kLearned, kLayerNorm}, {"biogpt", "gpt_bigcode", "opt", "trocr"}},
      {{kLearned, kLayerNorm, kUnscaledScores}, {"gpt_neo"}},
      {{kLearned, kLayerNorm, kNoPreNorms}, {"openai-gpt"}},
      {{kSines, kLayerNorm}, {"ctrl", "xglm"}},
      {{kRelative, kLayerNorm, kNoPreNorms}, {"transfo-xl", "xlnet"}},
      {{kSinks}, {"gpt_oss", "granite_swa", "granitemoe_swa"}},
      {{kSinks, kTwoRotations}, {"mimo_v2_flash"}},
      {{kInnerNorms}, {"bitnet"}},
      {{kDifferential}, {"diffllama"}},
      {{kChosenHeads}, {"jetmoe"}},
      {{kLatent},
       {"deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite", "glm_moe_dsa", "kimi_k2",
        "longcat_flash", "minicpm3", "mistral4", "youtu"}},
      {{kLatent, kRecurrent}, {"kimi_linear"}},
      {{kQkNorm, kRecurrent}, {"lfm2", "lfm2_moe", "olmo_hybrid"}},
      {{kQkNorm, kRecurrent, kGainFromOne, kPartialRotary},
       {"qwen3_5", "qwen3_5_moe", "qwen3_5_moe_text", "qwen3_5_text", "qwen3_next"}},
      {{kRecurrent, kGainFromOne}, {"recurrent_gemma"}},
      {{kRecurrent},
       {"bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid", "jamba", "mamba", "mamba2", "minimax",
        "nemotron_h", "rwkv", "xlstm", "zamba", "zamba2"}},
  };
  return all;
}

const Misfit& encoders() {
  static const Misfit all{{kBothSides},
                          {"albert",
                           "bert",
                           "bert-generation",
                           "big_bird",
                           "camembert",
                           "canine",
                           "convbert",
                           "data2vec-text",
                           "deberta",
                           "deberta-v2",
                           "distilbert",
                           "electra",
                           "ernie",
                           "ernie_m",
                           "esm",
                           "eurobert",
                           "flaubert",
                           "fnet",
                           "funnel",
                           "gte",
                           "ibert",
                           "layoutlm",
                           "layoutlmv2",
                           "layoutlmv3",
                           "lilt",
                           "longformer",
                           "luke",
                           "lxmert",
                           "markuplm",
                           "mega",
                           "mobilebert",
                           "megatron-bert",
                           "modernbert",
                           "mpnet",
                           "mra",
                           "nezha",
                           "nomic_bert",
                           "nystromformer",
                           "perceiver",
                           "qdqbert",
                           "rembert",
                           "roberta",
                           "roc_bert",
                           "roformer",
                           "roberta-prelayernorm",
                           "splinter",
                           "squeezebert",
                           "tapas",
                           "visual_bert",
                           "xlm",
                           "xmod",
                           "xlm-roberta",
                           "xlm-roberta-xl",
                           "jina_embeddings_v3",
                           "yoso"}};
  return all;
}

const Misfit& encoder_decoders() {
  static const Misfit all{{kEncoder},
                          {"bart",
                           "bigbird_pegasus",
                           "blenderbot",
                           "blenderbot-small",
                           "encoder-decoder",
                           "fsmt",
                           "led",
                           "longt5",
                           "m2m_100",
                           "marian",
                           "mbart",
                           "mt5",
                           "mvp",
                           "nllb-moe",
                           "pegasus",
                           "pegasus_x",
                           "plbart",
                           "prophetnet",
                           "speech_to_text",
                           "switch_transformers",
                           "t5",
                           "t5gemma",
                           "t5gemma2",
                           "umt5",
                           "whisper",
                           "xlm-prophetnet"}};
  return all;
}

}  // namespace

const Misfit* misfit_of(const std::string& type) {
  const auto has = [&](const Misfit& m) {
    return std::find(m.types.begin(), m.types.end(), type) != m.types.end();
  };
  for (const Misfit* m : {&encoders(), &encoder_decoders()})
    if (has(*m)) return m;
  const auto found = std::find_if(decoders().begin(), decoders().end(), has);
  return found == decoders().end() ? nullptr : &*found;
}

}  // namespace aloft
