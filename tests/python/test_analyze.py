"""`aloft analyze` against an independent computation: every value of every table, for checkpoints of five families."""

import csv
import dataclasses
import json
import math
import os
import subprocess

import numpy as np
import pytest
from safetensors.numpy import load_file

import analysis_oracle
from analysis_measures import frontier, participation, singular_values
from analysis_models import Shape, flags, checkpoint_tensors, random_model, write_checkpoint, write_corpus
from conftest import PROGRAM

RELATIVE, ABSOLUTE = 1e-6, 1e-9
FEW = ["--permutations", 19, "--draws", 3, "--null-tokens", 2000, "--threads", 1, "--quiet"]
VALUE = {"spectra": "sigma", "positions": "mass"}  # the column that is compared, where it is not `value`

GPTJ = {  # rows 2i and 2i + 1 turn together, scores have a scale of their own, and so have stream and logits
    "name": "gptj-like", "tied_head": False, "norm": "layernorm",
    "tensors": {"fusion": "separate", "orientation": "out_in", "query": "h.{layer}.q.weight", "key": "h.{layer}.k.weight",
                "value": "h.{layer}.v.weight", "output": "h.{layer}.o.weight", "embedding": "wte.weight", "head": "head.weight",
                "final_norm": "ln_f.weight"},
    "attention": {"grouped_query": True, "free_head_dim": False, "bias": False, "qk_norm": False, "score_scale": 0.03125},
    "position": {"kind": "rope", "pairing": "interleaved", "base": 5000, "fraction": 0.5, "scaling": "linear", "scaling_factor": 2},
    "multipliers": {"embedding": 4, "residual": 0.5, "logits": 0.25}, "init": {"std": 0.02, "residual_scaled": False},
}
SHAPES = [
    Shape("nanogpt-rope", "nanogpt-rope", prefix="_orig_mod."),
    Shape("llama", "llama", kv_heads=2, d_model=24, gains=True, config={
        "model_type": "llama", "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "intermediate_size": 48, "vocab_size": 80, "max_position_embeddings": 40, "tie_word_embeddings": False}),
    Shape("gpt2", "gpt2", biases=True, gains=True, config={
        "model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 40, "vocab_size": 80}),
    Shape("neox", "neox", biases=True, rotary_dim=4, config={
        "model_type": "gpt_neox", "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 80,
        "intermediate_size": 64, "max_position_embeddings": 40, "rotary_pct": 0.5, "tie_word_embeddings": False}),
    Shape("qwen2", "llama", kv_heads=2, biases=True, gains=True, config={
        "model_type": "qwen2", "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 80, "intermediate_size": 64, "max_position_embeddings": 40, "tie_word_embeddings": False}),
    Shape("gptj", GPTJ, heads=2, kv_heads=1, head_dim=16, rotary_dim=8),
]
SHORT = Shape("short", "nanogpt-rope", layers=2)
WIDE = Shape("wide", "llama", layers=1, heads=2, kv_heads=1, head_dim=388, d_model=776, config={
    "model_type": "llama", "hidden_size": 776, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
    "head_dim": 388, "intermediate_size": 48, "vocab_size": 80, "max_position_embeddings": 40, "tie_word_embeddings": False})
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)


def run(*words):
    return subprocess.run([str(word) for word in (PROGRAM, *words)], capture_output=True, text=True)


def analyse(output, *words):
    done = run("analyze", *FEW, *words, "--output", output)
    assert done.returncode == 0, done.stderr
    return json.loads((output / "analysis.json").read_text())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = write_corpus(tmp_path_factory.mktemp("corpus") / "text.u16")
    done = run("count", *out.flags, "--output", out.path.with_name("counts.safetensors"), "--quiet")
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def analysed(corpus, tmp_path_factory):
    """shape -> (analysis, what it should be, its folder); each is made once."""
    made = {}

    def of(shape):
        if shape.name not in made:
            folder, model = tmp_path_factory.mktemp(shape.name), random_model(shape, 1)
            write_checkpoint(folder / "model", shape, model)
            found = analyse(folder / "out", *flags(shape, folder / "model"), "--counts", corpus.path.with_name("counts.safetensors"))
            made[shape.name] = found, analysis_oracle.tables(model, corpus.counts, corpus.unigram), folder
        return made[shape.name]

    return of


def values(table, name):
    """{leading columns: value}"""
    columns = [c["name"] for c in table["columns"]]
    at = columns.index(VALUE.get(name, "value"))
    out = {tuple(round(x, 9) if isinstance(x, float) else x for x in row[:at]): row[at] for row in table["rows"]}
    assert len(out) == len(table["rows"]), f"{name}: two rows say the same"
    return out


def compare(found, wanted, name):
    if name == "spectra":  # of long ones some values are left out: never the first, nor the last
        ends = {}
        for key in wanted:
            ends[key[:3]] = max(ends.get(key[:3], 1), key[3])
        assert all((*key, 1) in found and (*key, last) in found for key, last in ends.items())
        wanted = {key: value for key, value in wanted.items() if key in found}
    wanted = {tuple(round(float(x), 9) if isinstance(x, float) else x for x in key): value for key, value in wanted.items()}
    assert found.keys() == wanted.keys(), (name, sorted(map(str, found.keys() ^ wanted.keys()))[:10])
    bad = [(key, found[key], value) for key, value in wanted.items()
           if found[key] is None or not math.isclose(found[key], value, rel_tol=RELATIVE, abs_tol=ABSOLUTE)]
    assert not bad, f"{name}: {len(bad)} of {len(wanted)} deviate, such as {bad[:5]}"


@each_shape
def test_the_checkpoints_here_are_laid_out_as_init_lays_them_out(shape, tmp_path):
    """So the oracle's canonical form is the one that test_layouts.py compares with the real libraries."""
    shape = dataclasses.replace(shape, gains=False)
    model = random_model(shape, 2)
    folder = write_checkpoint(tmp_path / "model", shape, model)
    done = run("init", "--recipe", "random", *flags(shape, folder)[2:], "--save-heads", "--output", tmp_path / "run", "--quiet")
    assert done.returncode == 0, done.stderr
    heads, wanted = load_file(tmp_path / "run/heads.safetensors"), load_file(tmp_path / "run/init.safetensors")
    for n, layer in enumerate(model.layers):
        for part in ("query", "key", "value", "output"):
            setattr(layer, part, heads[f"layer{n}.{part}"].astype(float))
    mine = checkpoint_tensors(shape, model)
    of_attention = [name for name in wanted if name not in shape.description["tensors"].values()]
    assert len(of_attention) == shape.layers * (4 if shape.description["tensors"]["fusion"] == "separate" else 2)
    for name in of_attention:
        np.testing.assert_allclose(mine[shape.prefix + name], wanted[name], rtol=2e-7, err_msg=name)


@each_shape
@pytest.mark.parametrize("name", ["corpus", "weights", "profiles", "twinning", "correlations", "bands", "match", "heads", "positions",
                                  "spectra"])
def test_every_value_is_the_oracles(shape, name, analysed):
    found, wanted, _ = analysed(shape)
    compare(values(found["tables"][name], name), wanted[name], name)


def test_the_values_of_wide_models(analysed):
    """Their spectra come from Gram matrices. Fewer ids than dimensions: most of the corpus' singular values are 0, and so its eigenbasis,
    which correlations and bands are taken in, is not one of its own."""
    found, wanted, _ = analysed(WIDE)
    for name in ("corpus", "weights", "profiles", "match", "heads", "positions", "spectra"):
        compare(values(found["tables"][name], name), wanted[name], name)


@each_shape
def test_the_header_says_what_was_measured(shape, analysed, corpus):
    found, _, folder = analysed(shape)
    assert (found["format"], found["version"], found["second"]) == ("aloft-analysis", 1, None)
    wanted = {"architecture": shape.description["name"], "layers": shape.layers, "heads": shape.heads, "kv_heads": shape.kv_heads,
              "head_dim": shape.head_dim, "d_model": shape.d_model, "context": shape.context, "vocab": shape.vocab,
              "tied": shape.description["tied_head"], "path": str(folder / "model")}
    assert {key: found["checkpoint"][key] for key in wanted} == wanted
    assert (found["corpus"]["vocab"], found["corpus"]["lags"]) == (corpus.vocab, corpus.lags)
    assert found["corpus"]["tokens"] == corpus.unigram.sum()
    assert (found["nulls"]["permutations"], found["nulls"]["draws"]) == (19, 3)


@each_shape
def test_the_frontier_is_the_best_that_there_is(shape, analysed, corpus):
    table = analysed(shape)[0]["tables"]["frontier"]
    assert [c["name"] for c in table["columns"]] == ["lag", "target", "pareto_cosine", "temper_cosine"]
    e = random_model(shape, 1).embedding
    assert {row[0] for row in table["rows"]} == set(range(1, corpus.lags + 1))
    for lag, target, pareto, temper in table["rows"]:
        projected = e.T @ analysis_oracle.transitions(corpus.counts[lag - 1]) @ e
        sigma = singular_values((projected - projected.T) / 2)
        assert participation(sigma) < target <= shape.d_model
        np.testing.assert_allclose((pareto, temper), frontier(sigma, target), rtol=RELATIVE)


@each_shape
def test_labels_follow_from_the_figures(shape, analysed):
    found, wanted, _ = analysed(shape)
    labels = values(found["tables"]["labels"] | {"columns": [{"name": n} for n in ("layer", "head", "value")]}, "labels")
    columns = [c["name"] for c in found["tables"]["heads"]["columns"]]
    alone, family = ({tuple(row[:3]): row[columns.index(p)] for row in found["tables"]["heads"]["rows"]} for p in ("p", "p_family"))
    for n in range(shape.layers):
        for h in range(shape.heads):
            mass = wanted["masses"][n][h]
            expected = []
            if mass.argmax() == 1 and mass[1] >= 3 * np.delete(mass, 1).max() and alone[n, h, "previous_token"] < 0.01:
                expected.append("previous-token")
            if mass.max() <= 2 / len(mass):
                expected.append("uniform")
            if wanted["heads"][n, h, "copying"] > 0 and family[n, h, "copying"] < 0.01:
                expected.append("copying")
            assert (labels[n, h] or "").split() == expected, (n, h)


def test_csv_files_have_the_rows(analysed):
    found, _, folder = analysed(SHAPES[1])
    for name, table in found["tables"].items():
        with open(folder / "out" / f"{name}.csv", newline="") as file:
            head, *rows = csv.reader(file)
        assert head == [c["name"] for c in table["columns"]]
        assert len(rows) == len(table["rows"])
        for row, cells in zip(table["rows"], rows):
            assert all(x == "" if y is None else x == y if isinstance(y, str) else float(x) == y for x, y in zip(cells, row)), cells


def test_two_checkpoints(corpus, tmp_path):
    """Another model beside it; without a corpus, so that ids weigh the same, and with one."""
    shape = SHAPES[1]
    one, two = random_model(shape, 1), random_model(shape, 7)
    for first, second in zip(one.layers, two.layers):  # half the way, so that correlations are far from 0
        second.query[:] = (first.query + second.query / 2).astype(np.float32)
        second.value[:] = (first.value - second.value / 4).astype(np.float32)
    two.embedding = two.head = one.embedding + 0
    write_checkpoint(tmp_path / "one", shape, one)
    write_checkpoint(tmp_path / "two", shape, two)
    words = [*flags(shape, tmp_path / "one"), "--second", tmp_path / "two"]
    found = analyse(tmp_path / "out", *words, "--counts", corpus.path.with_name("counts.safetensors"))
    assert found["second"]["path"] == str(tmp_path / "two")
    wanted = analysis_oracle.tables(one, corpus.counts, corpus.unigram, two)
    compare(values(found["tables"]["drift"], "drift"), wanted["drift"], "drift")
    found = analyse(tmp_path / "alone", *words)
    wanted = analysis_oracle.tables(one, second=two)
    for name in ("weights", "profiles", "twinning", "heads", "positions", "drift", "spectra"):
        compare(values(found["tables"][name], name), wanted[name], name)
    assert found["corpus"] is None
    assert not any(found["tables"].get(name, {"rows": []})["rows"] for name in ("corpus", "correlations", "bands", "match", "frontier"))


def test_counts_of_fewer_ids_are_mentioned(tmp_path):
    """Words that were counted in place of the model's own ids look like that."""
    fewer = write_corpus(tmp_path / "text.u16", vocab=60)
    assert run("count", *fewer.flags, "--output", tmp_path / "counts.safetensors", "--quiet").returncode == 0
    write_checkpoint(tmp_path / "model", SHORT, random_model(SHORT, 1))
    done = run("analyze", *flags(SHORT, tmp_path / "model"), *FEW[:-1], "--counts", tmp_path / "counts.safetensors", "--output", tmp_path / "out")
    said = "the counts have 60 ids, the model 80: they are taken for those of its first ids"
    assert done.returncode == 0 and f"note: {said}\n" in done.stderr, done.stderr
    assert said in json.loads((tmp_path / "out/analysis.json").read_text())["notes"]


def test_what_is_zero_has_no_shape_and_makes_no_claim(corpus, tmp_path):
    """A layer whose queries were pruned away."""
    model = random_model(SHORT, 1)
    model.layers[1].query[:] = 0
    write_checkpoint(tmp_path / "model", SHORT, model)
    found = analyse(tmp_path / "out", *flags(SHORT, tmp_path / "model"), "--counts", corpus.path.with_name("counts.safetensors"))
    tables = {name: [dict(zip([c["name"] for c in table["columns"]], row)) for row in table["rows"]] for name, table in found["tables"].items()}
    of_layer = {r["measure"]: r for r in tables["weights"] if r["layer"] == 1 and r["head"] is None and r["subject"] == "QK"}
    assert of_layer.pop("norm")["value"] == 0
    assert all(r["value"] is None and r["p"] is None and r["p_family"] is None for r in of_layer.values()), of_layer
    match = [r for r in tables["match"] if r["circuit"] == "QK" and r["layer"] == 1]
    assert match and all((r["value"] is None) if r["measure"] == "spectral_cosine" else r["value"] == 0 for r in match)
    assert all(r["value"] is None for r in tables["profiles"] if r["layer"] == 1 and r["first"] == "Q")
    assert not any(r["found"] for r in tables["claims"] if r["layer"] == 1), tables["claims"]


def test_lags_without_pairs_are_zero(tmp_path):
    """Documents of two tokens: none is long enough for lag 2."""
    text = tmp_path / "text.txt"
    text.write_text("\n".join("a b\nc a\nb c\nb a" for _ in range(50)))
    done = run("count", "--corpus", text, "--tokenizer", "words", "--vocab-size", 80, "--lags", 2, "--doc-sep", "\n", "--output",
               tmp_path / "counts.safetensors", "--quiet")
    assert done.returncode == 0, done.stderr
    write_checkpoint(tmp_path / "model", SHORT, random_model(SHORT, 1))
    found = analyse(tmp_path / "out", *flags(SHORT, tmp_path / "model"), "--counts", tmp_path / "counts.safetensors")
    at = [c["name"] for c in found["tables"]["match"]["columns"]].index("value")
    lag = [c["name"] for c in found["tables"]["match"]["columns"]].index("lag")
    rows = [row for row in found["tables"]["match"]["rows"] if row[lag] == 2 and row[5] == "matrix_cosine"]
    assert rows and all(row[at] == 0 for row in rows)


def test_a_path_need_not_be_utf8(tmp_path):
    folder = write_checkpoint(tmp_path / os.fsdecode(b"m\xff"), SHORT, random_model(SHORT, 1))
    found = analyse(tmp_path / "out", *flags(SHORT, folder))
    assert found["checkpoint"]["path"].endswith("m\N{REPLACEMENT CHARACTER}")


def test_files_of_others_stay(tmp_path):
    """Without --force nothing that is there is touched."""
    folder = write_checkpoint(tmp_path / "model", SHORT, random_model(SHORT, 1))
    (tmp_path / "out").mkdir()
    for name in ("match.csv", "drift.csv"):
        (tmp_path / "out" / name).write_text("mine")
    done = run("analyze", *flags(SHORT, folder), *FEW, "--output", tmp_path / "out")
    assert done.returncode == 2 and "already exists; use --force" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["drift.csv", "match.csv"]
    assert all(path.read_text() == "mine" for path in (tmp_path / "out").iterdir())


def test_what_is_planted_is_found_and_nothing_else(corpus, tmp_path):
    """Layer 1's head 2 follows the corpus at lag 2 with its kernel; with 199 permutations that is an effect, and the only one."""
    shape = SHAPES[0]
    model = random_model(shape, 3)
    projected = model.embedding.T @ analysis_oracle.centred_transitions(corpus.counts[1]) @ model.embedding
    u, s, vt = np.linalg.svd(projected.T)
    size = np.sqrt(s[:8] / s[0])[:, None]
    model.layers[1].query[2], model.layers[1].key[2] = (x.astype(np.float32).astype(float) for x in (size * u[:, :8].T, size * vt[:8]))
    write_checkpoint(tmp_path / "model", shape, model)
    found = analyse(tmp_path / "out", *flags(shape, tmp_path / "model"), "--counts", corpus.path.with_name("counts.safetensors"),
                    "--permutations", 199)
    columns = [c["name"] for c in found["tables"]["match"]["columns"]]
    rows = [dict(zip(columns, row)) for row in found["tables"]["match"]["rows"]]
    of_heads = [r for r in rows if r["measure"] == "matrix_cosine" and r["part"] == "centred_forward" and r["head"] is not None]
    effects = [r for r in of_heads if r["p_family"] < 0.01]
    assert {(r["circuit"], r["layer"], r["head"]) for r in effects} == {("QK", 1, 2)}
    best = max(effects, key=lambda r: r["value"])
    assert best["lag"] == 2 and best["value"] > 0.9 and best["p"] == pytest.approx(1 / 200) and abs(best["null"]) < 0.05


@pytest.mark.parametrize("change, about", [
    (lambda folder, shape: (folder / "model.safetensors").unlink(), "safetensors"),
    (lambda folder, shape: write_checkpoint(folder / "x", SHORT, random_model(SHORT, 1))
     and (folder / "x/model.safetensors").replace(folder / "model.safetensors"), "has 2 layers"),
], ids=["no weights", "a layer is missing"])
def test_what_is_no_such_checkpoint_is_refused_in_a_line(change, about, tmp_path):
    shape = SHAPES[0]
    folder = write_checkpoint(tmp_path / "model", shape, random_model(shape, 1))
    change(folder, shape)
    done = run("analyze", *flags(shape, folder), *FEW, "--output", tmp_path / "out")
    assert done.returncode == 3 and done.stderr.count("\n") == 1 and about in done.stderr, done.stderr
    assert not (tmp_path / "out/analysis.json").exists()
