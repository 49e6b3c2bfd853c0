"""aloft.convert: GGUFs as llama.cpp's own package writes them, loaded by Hugging Face's models after the conversion."""

import json
import struct

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import load_file

from aloft import InputError
from aloft.convert import convert_checkpoint
from aloft.convert.quantization import CODES, dequantised

HEADS, KV_HEADS, HEAD_DIM, WIDTH = 4, 2, 8, 32
SMALL = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": HEADS, "vocab_size": 32,
         "max_position_embeddings": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GROUPED = {**SMALL, "num_key_value_heads": KV_HEADS}
# model_type -> (architecture of GGUF, options of the config)
FAMILIES = {
    "llama": ("llama", {**GROUPED, "rope_theta": 5000.0, "tie_word_embeddings": False}),
    "qwen2": ("qwen2", {**GROUPED, "tie_word_embeddings": True}),
    "gpt2": ("gpt2", {"n_embd": WIDTH, "n_layer": 2, "n_head": HEADS, "n_inner": 64, "vocab_size": 32, "n_positions": 16,
                      "bos_token_id": 1, "eos_token_id": 2}),
    "gpt_neox": ("gptneox", {**SMALL, "rotary_pct": 0.5}),
    "phi3": ("phi3", GROUPED),
    "starcoder2": ("starcoder2", {**GROUPED, "use_bias": True}),
    "olmo": ("olmo", GROUPED),
    "granite": ("granite", {**GROUPED, "embedding_multiplier": 3.0, "residual_multiplier": 0.5, "attention_multiplier": 0.25,
                            "logits_scaling": 2.0}),
    "smollm3": ("smollm3", GROUPED),
    "arcee": ("arcee", GROUPED),
}
PERMUTED = ("llama", "olmo", "granite", "smollm3", "arcee")


def small_model(model_type, **more):
    if model_type not in transformers.CONFIG_MAPPING:
        pytest.skip(f"transformers {transformers.__version__} has no {model_type}")
    torch.manual_seed(3)
    config = transformers.CONFIG_MAPPING[model_type](**{**FAMILIES[model_type][1], **more})
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for name, value in model.named_parameters():  # gains and biases that differ from 1 and 0 are told apart
        torch.nn.init.normal_(value.data, 1.0 if "norm" in name or "ln_" in name else 0.0, 0.2)
    return model


def paired(rows, heads):
    """By hand: in each head, row i of the first half and row i of the second become neighbours."""
    out, head_dim = np.empty_like(rows), len(rows) // heads
    for head in range(heads):
        for i in range(head_dim // 2):
            out[head * head_dim + 2 * i] = rows[head * head_dim + i]
            out[head * head_dim + 2 * i + 1] = rows[head * head_dim + head_dim // 2 + i]
    return out


def split(rows, heads):
    """By hand: head by head query, key, value -> all queries, all keys, all values."""
    head_dim = len(rows) // heads // 3
    return np.concatenate([rows[(3 * head + part) * head_dim:][:head_dim] for part in range(3) for head in range(heads)])


def as_llama_cpp_has_it(model_type, name, value):
    ending = name.rpartition(".")[0].rpartition(".")[2]
    if model_type in PERMUTED and ending in ("q_proj", "k_proj"):
        return paired(value, HEADS if ending == "q_proj" else KV_HEADS)
    if model_type == "gpt_neox" and ending == "query_key_value":
        return split(value, HEADS)
    if model_type == "gpt2" and ending in ("c_attn", "c_proj", "c_fc") and value.ndim == 2:
        return np.ascontiguousarray(value.T)
    return value


def written(path, model, kind=Type.F32, leave_out=(), extra=()):
    """The model as a GGUF, names by the package's own table. extra: (name, values, type) of further tensors."""
    config = model.config
    architecture = FAMILIES[config.model_type][0]
    writer = gguf.GGUFWriter(path, architecture)
    add = {"embedding_length": WIDTH, "block_count": 2, "context_length": 16, "feed_forward_length": 64, "head_count": HEADS}
    for key, value in add.items():
        getattr(writer, f"add_{key}")(value)
    if config.model_type not in ("gpt2", "gpt_neox"):
        writer.add_head_count_kv(KV_HEADS)
        rope = getattr(config, "rope_parameters", None) or {}  # since transformers 5
        writer.add_rope_freq_base(float(rope.get("rope_theta") or config.rope_theta))
        writer.add_rope_dimension_count(HEAD_DIM)
    if config.model_type == "gpt_neox":
        writer.add_rope_dimension_count(HEAD_DIM // 2)
    if hasattr(config, "rms_norm_eps"):
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    else:
        writer.add_layer_norm_eps(1e-5)
    if config.model_type == "granite":
        writer.add_embedding_scale(3.0), writer.add_residual_scale(0.5), writer.add_attention_scale(0.25), writer.add_logit_scale(2.0)
    number = next(n for n, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(number, 2)
    tied = config.tie_word_embeddings
    for name, value in model.state_dict().items():
        if name.endswith((".attn.bias", ".masked_bias", "inv_freq", "attention.bias")) or (tied and name == "lm_head.weight"):
            continue
        there = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert there is not None, name
        if there in leave_out:
            continue
        add_tensor(writer, there, as_llama_cpp_has_it(config.model_type, name, value.numpy()), kind)
    for there, value, its_kind in extra:
        add_tensor(writer, there, value, its_kind)
    if path.name != "bare.gguf":
        writer.add_tokenizer_model("gpt2"), writer.add_tokenizer_pre("smollm")
        tokens = ["<|end|>", *(chr(c) for c in b"abcdehlort"), "\u0120", "he", "ll", "hell", "\u0120t"]
        writer.add_token_list(tokens + [f"<{i}>" for i in range(32 - len(tokens))])
        writer.add_token_types([3] + [1] * 31)
        writer.add_token_merges(["h e", "l l", "he ll", "\u0120 t"])
        writer.add_eos_token_id(0)
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file()
    writer.close()
    return path


def add_tensor(writer, name, value, kind):
    if kind != Type.F32 and value.ndim == 2:
        writer.add_tensor(name, gguf.quants.quantize(value, kind), raw_dtype=kind)
    else:
        writer.add_tensor(name, np.ascontiguousarray(value, np.float32))


@pytest.mark.parametrize("model_type", FAMILIES)
def test_hugging_face_computes_the_same(tmp_path, model_type):
    model = small_model(model_type)
    convert_checkpoint(written(tmp_path / "m.gguf", model), tmp_path / "out")
    again, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not report["unexpected_keys"]
    assert not [k for k in report["missing_keys"] if not k.endswith(("inv_freq", "attn.bias", "masked_bias"))]
    ids = torch.arange(10).reshape(1, -1)
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-4)
    assert not (tmp_path / "out/quantization.json").exists()


def test_the_permutation_matters_and_is_undone(tmp_path):
    model = small_model("llama", attention_bias=True)
    convert_checkpoint(written(tmp_path / "m.gguf", model), tmp_path / "out")
    out = load_file(tmp_path / "out/model.safetensors")
    for part, heads in (("q", HEADS), ("k", KV_HEADS)):
        for ending in ("weight", "bias"):
            name = f"model.layers.1.self_attn.{part}_proj.{ending}"
            value = model.state_dict()[name].numpy()
            np.testing.assert_array_equal(out[name], value)
            assert not np.array_equal(paired(value, heads), value)
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["attention_bias"] is True and config["rope_theta"] == 5000.0 and config["num_key_value_heads"] == KV_HEADS


@pytest.mark.parametrize("kind", [Type.Q8_0, Type.Q4_0, Type.F16, Type.BF16])
def test_quantised_tensors_come_back_within_their_floor(tmp_path, kind):
    model = small_model("llama")
    convert_checkpoint(written(tmp_path / "m.gguf", model, kind), tmp_path / "out")
    out = load_file(tmp_path / "out/model.safetensors")
    floors = json.loads((tmp_path / "out/quantization.json").read_text())["tensors"] if kind in CODES else {}
    assert set(floors) == (set(out) if kind in CODES else set())
    error = {Type.Q8_0: 0.006, Type.Q4_0: 0.1, Type.F16: 3e-4, Type.BF16: 2.5e-3}[kind]
    for name, value in model.state_dict().items():
        if name.endswith("inv_freq"):
            continue
        wanted = value.numpy()
        found = np.linalg.norm(out[name] - wanted) / np.linalg.norm(wanted)
        assert found < error
        if value.ndim == 1:
            assert found == 0
        if kind in CODES:
            assert floors[name]["type"] == (kind.name if value.ndim == 2 else "F32")
            assert floors[name]["relative_error"] == pytest.approx(found, rel=0.12), name


@pytest.mark.parametrize("kind", [Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.F16, Type.BF16])
def test_the_floor_is_what_rounding_costs(kind):
    """Against the error itself, of numbers that the package quantises."""
    values = np.random.default_rng(5).normal(size=(64, 1024)).astype(np.float32)
    rows = gguf.quants.quantize(values, kind).view(np.uint8)
    back, floor = dequantised(rows, kind, "x")
    assert np.linalg.norm(back - values) / np.linalg.norm(values) == pytest.approx(floor, rel=0.05)


@pytest.mark.parametrize("kind", [kind for kind in CODES if kind.name.endswith("_K")])
def test_steps_of_types_with_scales_of_scales(kind):
    """The package writes none of these, so: random bytes, whose numbers lie on the grid of each 16 weights. The smallest
    distance of any two of them is a whole number of steps, and among 16 of at most 64 codes mostly one."""
    random = np.random.default_rng(6)
    size = gguf.GGML_QUANT_SIZES[kind][1]
    rows = random.integers(0, 256, (40, size), dtype=np.uint8)
    halves = {Type.Q2_K: (80, 82), Type.Q3_K: (108,), Type.Q4_K: (0, 2), Type.Q5_K: (0, 2), Type.Q6_K: (208,)}[kind]
    for at in halves:
        rows[:, at:at + 2] = np.full((40, 1), 0.01, np.float16).view(np.uint8)
    values, floor = dequantised(rows, kind, "x")
    groups = np.sort(values.reshape(-1, 16).astype(np.float64), axis=1)
    distances = np.diff(groups, axis=1)
    smallest = np.where(distances > 1e-7, distances, np.inf).min(axis=1)
    smallest[~np.isfinite(smallest)] = 0
    estimate = np.sqrt(np.sum(16 * smallest**2) / 12) / np.linalg.norm(values)
    assert floor == pytest.approx(estimate, rel=0.25 if kind == Type.Q6_K else 0.1)


def test_types_without_an_even_grid_have_no_floor():
    rows = np.random.default_rng(7).integers(0, 256, (4, gguf.GGML_QUANT_SIZES[Type.IQ4_NL][1]), dtype=np.uint8)
    rows[:, :2] = np.full((4, 1), 0.01, np.float16).view(np.uint8)
    values, floor = dequantised(rows, Type.IQ4_NL, "x")
    assert floor is None and values.shape == (4, 32)


def test_a_head_that_is_the_embedding_counts_as_tied(tmp_path):
    model = small_model("qwen2")
    embedding = model.state_dict()["model.embed_tokens.weight"].numpy()
    convert_checkpoint(written(tmp_path / "m.gguf", model, extra=[("output.weight", embedding, Type.F32)]), tmp_path / "same")
    assert "lm_head.weight" not in load_file(tmp_path / "same/model.safetensors")
    assert json.loads((tmp_path / "same/config.json").read_text())["tie_word_embeddings"] is True
    convert_checkpoint(written(tmp_path / "n.gguf", model, extra=[("output.weight", embedding + 1, Type.F32)]), tmp_path / "own")
    assert "lm_head.weight" in load_file(tmp_path / "own/model.safetensors")
    assert json.loads((tmp_path / "own/config.json").read_text())["tie_word_embeddings"] is False


def test_llama_3s_frequencies_are_told_from_others(tmp_path):
    model = small_model("llama")
    theta = 5000.0 ** (-np.arange(4) / 4)
    factors = []
    for t in theta:  # as Meta's rope_scaling says it: factor 8, low 1, high 4, original context 8192
        wavelength = 2 * np.pi / t
        smooth = (8192 / wavelength - 1) / 3
        factors.append(1 if wavelength < 8192 / 4 else 8 if wavelength > 8192 else 1 / ((1 - smooth) / 8 + smooth))
    assert len(set(factors)) > 1
    source = written(tmp_path / "m.gguf", model, extra=[("rope_freqs.weight", np.array(factors), Type.F32)])
    convert_checkpoint(source, tmp_path / "out")
    assert json.loads((tmp_path / "out/config.json").read_text())["rope_scaling"] == {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    other = written(tmp_path / "n.gguf", model, extra=[("rope_freqs.weight", np.array([1, 2, 3, 4.0]), Type.F32)])
    refused(other, tmp_path / "none", "rope_freqs", "none of Llama 3's")


def test_the_tokenizer_comes_along(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    convert_checkpoint(written(tmp_path / "m.gguf", small_model("llama")), tmp_path / "out")
    tokens = json.loads((tmp_path / "out/tokens.json").read_text())
    assert tokens[0] == "<|end|>" and tokens[14] == "hell" and len(tokens) == 32
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "out/tokenizer.json"))
    encoded = tokenizer.encode("hello the<|end|>")
    assert encoded.tokens == ["hell", "o", "\u0120t", "he", "<|end|>"] and encoded.ids[-1] == 0
    assert tokenizer.decode(encoded.ids, skip_special_tokens=False).startswith("hello the")
    lines = convert_checkpoint(written(tmp_path / "bare.gguf", small_model("llama")), tmp_path / "bare")
    assert not (tmp_path / "bare/tokens.json").exists() and len(lines) == 1


def refused(source, output, *mentions):
    with pytest.raises(InputError) as caught:
        convert_checkpoint(source, output)
    for text in mentions:
        assert text in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value) and not output.exists()
    assert not [p for p in output.parent.iterdir() if "aloft-partial" in p.name]


def test_what_is_no_model_that_is_known(tmp_path):
    def metadata_only(name, architecture, **keys):
        writer = gguf.GGUFWriter(tmp_path / name, architecture)
        for key, value in keys.items():
            (writer.add_array if isinstance(value, list) else writer.add_uint32)(f"{architecture}.{key.replace('__', '.')}", value)
        writer.add_tensor("token_embd.weight", np.ones((3, 4), np.float32))
        writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file()
        writer.close()
        return tmp_path / name

    out = tmp_path / "out"
    refused(metadata_only("gemma.gguf", "gemma2"), out, "general.architecture is 'gemma2'", "llama, granite")
    refused(metadata_only("moe.gguf", "llama", expert_count=8), out, "a mixture of experts")
    refused(metadata_only("none.gguf", "llama"), out, "llama.attention.head_count is None")
    refused(metadata_only("per.gguf", "llama", attention__head_count=[4, 8]), out, "differs from layer to layer")
    refused(metadata_only("sizes.gguf", "llama", attention__head_count=0), out, "llama.attention.head_count is 0")
    uneven = written(tmp_path / "uneven.gguf", small_model("llama"), leave_out=["blk.0.attn_q.weight"],
                     extra=[("blk.0.attn_q.weight", np.ones((7, 32)), Type.F32)])
    refused(uneven, out, "blk.0.attn_q.weight: 7 rows are no 4 heads")


def test_damaged_files(tmp_path):
    whole = written(tmp_path / "m.gguf", small_model("llama")).read_bytes()
    out, bad = tmp_path / "out", tmp_path / "bad.gguf"

    def damaged(content, *mentions):
        bad.write_bytes(content)
        refused(bad, out, str(bad), *mentions)

    damaged(whole[:-1000], "it was cut short")
    damaged(whole[:1000], "cut short")
    damaged(whole[:20], "cut short")
    damaged(whole[:4] + struct.pack("<I", 1) + whole[8:], "version 2 or 3")
    damaged(whole[:4] + struct.pack(">I", 3) + whole[8:], "version 2 or 3")
    damaged(whole[:8] + struct.pack("<Q", 2**40) + whole[16:], "a damaged header")
    damaged(whole[:16] + struct.pack("<Q", 2**40) + whole[24:], "a damaged header")
    at = whole.index(b"llama.block_count")
    damaged(whole[:at + 17] + struct.pack("<IIQ", 9, 4, 2**60) + whole[at + 33:], "cut short")  # an array of 2^60 numbers
    damaged(whole[:at + 17] + struct.pack("<IIQ", 9, 8, 2**60) + whole[at + 33:], "do not fit into the file")  # ... of strings
    damaged(whole[:at + 17] + struct.pack("<I", 77) + whole[at + 21:], "no type 77")
    at = whole.index(b"token_embd.weight") + 17
    damaged(whole[:at] + struct.pack("<I", 9) + whole[at + 4:], "has 9 dimensions")
    damaged(whole[:at + 20] + struct.pack("<I", 999) + whole[at + 24:], "is of type 999")
    damaged(whole[:at + 4] + struct.pack("<Q", 2**50) + whole[at + 12:], "it was cut short")
    nan = np.frombuffer(whole, np.uint8).copy()
    nan[-4:] = np.array([np.nan], np.float32).view(np.uint8)
    damaged(nan.tobytes(), "not finite")


def test_every_cut_of_the_header_is_refused(tmp_path):
    whole = written(tmp_path / "bare.gguf", small_model("llama")).read_bytes()
    for end in range(5, len(whole) - 4096, 97):
        (tmp_path / "cut.gguf").write_bytes(whole[:end])
        refused(tmp_path / "cut.gguf", tmp_path / "out", "cut.gguf")
