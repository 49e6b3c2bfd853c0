"""The corpora, embeddings and descriptions of models that golden.py runs on: made here, the same at every run.

Of Python's random numbers only Random.random() is used: the other methods may change with its version.
"""

import json
import struct
from pathlib import Path
from random import Random

LLAMA = {"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "hidden_size": 64, "intermediate_size": 160, "max_position_embeddings": 64, "vocab_size": 420,
         "rope_theta": 5000.0, "initializer_range": 0.03, "tie_word_embeddings": False}
CONFIGS: dict[str, dict] = {
    "llama-linear": LLAMA | {"rope_scaling": {"type": "linear", "factor": 4.0}},
    "llama-3": LLAMA | {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
    "llama-tied": LLAMA | {"tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 700.0}},
    "qwen2": LLAMA | {"model_type": "qwen2", "head_dim": 24},
    "gpt2": {"model_type": "gpt2", "n_layer": 3, "n_head": 4, "n_embd": 64, "n_positions": 64, "vocab_size": 400},
    "neox": {"model_type": "gpt_neox", "num_hidden_layers": 3, "num_attention_heads": 4, "hidden_size": 64,
             "intermediate_size": 256, "max_position_embeddings": 64, "vocab_size": 400, "rotary_pct": 0.5},
}
OWN = {"name": "own", "tied_head": False, "norm": "layernorm",
       "tensors": {"fusion": "separate", "orientation": "out_in", "query": "h.{layer}.q", "key": "h.{layer}.k",
                   "value": "h.{layer}.v", "output": "h.{layer}.o", "embedding": "wte", "head": "head"},
       "attention": {"grouped_query": True, "free_head_dim": True, "bias": False, "qk_norm": False},
       "position": {"kind": "rope", "pairing": "interleaved", "base": 10000, "fraction": 0.5},
       "init": {"std": 0.02, "residual_scaled": False}}
OWN_ARCHITECTURES: dict[str, dict] = {
    "own-interleaved": OWN,
    "own-backwards": OWN | {"position": {"kind": "rope", "pairing": "half", "sign": -1, "base": 500}},
    "own-alibi": OWN | {"position": {"kind": "alibi"}, "norm": "rmsnorm"},
    "own-none": OWN | {"position": {"kind": "none"}, "attention": OWN["attention"] | {"score_scale": 1.0}},
    "own-fused": OWN | {"tied_head": True, "init": {"std": 0.03, "residual_scaled": True}, "tensors": {
        "fusion": "concatenated", "orientation": "in_out", "qkv": "h.{layer}.qkv", "output": "h.{layer}.o",
        "embedding": "wte", "final_norm": "norm", "mlp_output": "h.{layer}.mlp", "mlp_ratio": 4}},
}


def pick(random: Random, items: list, power: float = 1.0):
    return items[int(len(items) * random.random() ** power)]


def made_up_words(random: Random, count: int, syllables: list[str]) -> list[str]:
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(pick(random, syllables) for _ in range(1 + int(random.random() * 3)))] = None
    return list(words)


def text(seed: int, count: int, syllables: str) -> str:
    """A Markov chain over made-up words; frequent words first, with commas, full stops and line breaks."""
    random = Random(seed)
    words = made_up_words(random, 500, syllables.split())
    following = {word: [pick(random, words, 2) for _ in range(5)] for word in words}
    word, out = words[0], []
    for _ in range(count):
        end = pick(random, ["", "", "", "", "", "", "", ",", "."])
        out.append((word.capitalize() if out[-1:] and "." in out[-1] else word) + end + pick(random, [" "] * 11 + ["\n"]))
        word = pick(random, following[word]) if random.random() < 0.75 else pick(random, words, 3)
    return "".join(out)


def token_ids(seed: int, count: int, vocab: int) -> list[int]:
    """Documents of a few to some 200 tokens, each followed by 0; a token depends on the two before it."""
    random = Random(seed)
    ids = list(range(1, vocab))
    following = {i: [[pick(random, ids, 2) for _ in range(4)] for _ in range(2)] for i in range(vocab)}
    out = [1, 2]
    while len(out) < count:
        chance = random.random()
        if chance < 0.02:
            out.append(0)
        elif chance < 0.75:
            out.append(pick(random, following[out[-1]][0]))
        else:
            out.append(pick(random, following[out[-2]][1]) if chance < 0.9 else pick(random, ids, 2))
    return out


def npy(kind: str, shape: tuple[int, ...], data: bytes) -> bytes:
    shown = repr({"descr": kind, "fortran_order": False, "shape": shape})
    shown += " " * (-(len(shown) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(shown)) + shown.encode() + data


def given_embedding(folder: Path, name: str, rows: int, width: int) -> None:
    random = Random(rows)
    data = struct.pack(f"<{rows * width}f", *(random.random() - 0.5 for _ in range(rows * width)))
    (folder / f"{name}.npy").write_bytes(npy("<f4", (rows, width), data))
    header = json.dumps({"table": {"dtype": "F32", "shape": [rows, width], "data_offsets": [0, len(data)]}}).encode()
    header += b" " * (-len(header) % 8)
    (folder / f"{name}.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)


def write_inputs(folder: Path) -> None:
    (folder / "words.txt").write_text(text(1, 15000, "ba ko ti ren sul mo da pel vi sha en or"), "utf-8")
    (folder / "more.txt").write_text(text(2, 30000, "ba ko ti ren sul mo da pel vi sha en or"), "utf-8")
    (folder / "unicode.txt").write_text(text(3, 4000, "bà kø ti ŗen 漢 字 да пел β sha 🙂 or"), "utf-8")
    (folder / "broken.txt").write_bytes((folder / "unicode.txt").read_bytes()[:9000].replace(b"sha", b"\xff\xc3"))
    ids = token_ids(4, 12000, 260)
    u16, u32 = struct.pack(f"<{len(ids)}H", *ids), struct.pack(f"<{len(ids)}I", *ids)
    (folder / "tokens.bin").write_bytes(u16)
    (folder / "tokens.u32").write_bytes(u32)
    (folder / "tokens.llmc").write_bytes(struct.pack("<3i", 20240520, 1, len(ids)) + bytes(1012) + u16)
    given_embedding(folder, "words", 400, 64)
    given_embedding(folder, "tokens", 260, 96)
    (folder / "ids.npy").write_bytes(npy("<u4", (len(ids),), u32))
    for name, content in (CONFIGS | OWN_ARCHITECTURES).items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "run.yaml").write_text("corpus: [words.txt, more.txt]\nvocab-size: 300\narch: gpt2\nlayers: 3\nheads: 4\n"
                                     "d-model: 64\ncontext: 64\nrecipe: spread\nsave-heads: true\nlayer-lags: [1, 2, 3]\n")
