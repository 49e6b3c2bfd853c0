"""The trial's models, their loss and its gradient, and the scales that change nothing before training."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import nanogpt
import nanogpt_rope
from aloft import InputError, UsageError
from aloft.trial import loss as losses
from aloft.trial.corpus import documents_of, load, other_ids, prepare
from aloft.trial.gauges import GAUGES, turn_gauges
from aloft.trial.loss import next_token_loss
from aloft.trial.models import STYLES, Model, Shape, initialise
from aloft.trial.run import usable
from aloft.trial.spec import load_spec, same_trial
from aloft.trial.training import optimizers_of, train, windows
from conftest import ROOT

ALL = pytest.mark.parametrize("style", STYLES)


def small(style, std=0.3, seed=0):
    return initialise(Model(Shape(style, layers=2, heads=2, width=16, context=16, vocab=40)), seed, std=std)


def tokens(seed=1):
    return torch.randint(0, 40, (3, 17), generator=torch.Generator().manual_seed(seed))


def test_the_papers_style_is_the_architecture_nanogpt_rope():
    ours = small("nanogpt-rope")
    theirs = nanogpt_rope.GPT(nanogpt.Config(n_layer=2, n_head=2, n_embd=16, block_size=16, vocab_size=40))
    left = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not left.unexpected_keys and set(left.missing_keys) <= {"lm_head.weight"}
    a, b = ours(tokens()[:, :-1]), theirs(tokens()[:, :-1])
    assert a.std() > 0.5 and (a - b).abs().max() < 1e-3 * b.abs().max()  # the epsilons of their norms differ


def test_an_unknown_style_is_refused():
    with pytest.raises(InputError, match="style gpt3 is none of llama, gpt2, nanogpt-rope"):
        Model(Shape("gpt3"))


@ALL
def test_the_loss_is_cross_entropy_and_so_is_its_gradient(style, monkeypatch):
    monkeypatch.setitem(losses.ENTRIES, "cpu", 40 * 7)  # several parts, the last one shorter
    one, other = small(style), small(style)
    ours = next_token_loss(one, tokens())
    theirs = F.cross_entropy(other(tokens()[:, :-1]).flatten(0, 1), tokens()[:, 1:].flatten())
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    (3 * ours).backward(), (3 * theirs).backward()
    for (name, a), b in zip(one.named_parameters(), other.parameters()):
        assert torch.allclose(a.grad, b.grad, atol=1e-5 * b.grad.abs().max().item() + 1e-9), name
    with torch.no_grad():
        assert next_token_loss(one, tokens()).item() == pytest.approx(ours.item(), abs=1e-6)


@ALL
def test_bf16_is_close(style):
    model = small(style, std=0.1)
    exact, rough = next_token_loss(model, tokens()), next_token_loss(model, tokens(), bf16=True)
    assert 0 < abs(exact.item() - rough.item()) < 0.02
    rough.backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


@ALL
def test_gauges_change_no_function(style):
    model = small(style).double()
    before = model(tokens()[:, :-1])
    for name in GAUGES:
        if style != "llama" and name in ("head", "mlp"):
            with pytest.raises(InputError, match=f"gauge {name}"):
                turn_gauges(model, {name: 3.0})
            continue
        weights = [p.detach().clone() for p in model.parameters()]
        turn_gauges(model, {name: 3.0})
        moved = [i for i, (p, old) in enumerate(zip(model.parameters(), weights)) if not torch.equal(p, old)]
        assert len(moved) >= 2 and (model(tokens()[:, :-1]) - before).abs().max() < 1e-12, name
    with pytest.raises(InputError, match="gauge tone is none of values, queries"):
        turn_gauges(model, {"tone": 2.0})


# ---- optimisers, and a run that is cut off

IDS = np.random.default_rng(0).integers(0, 8, 3000).astype(np.uint16) * 5


def trained(state=None, steps=20, stop=None, style="nanogpt-rope", **more):
    model = small(style, std=0.1)
    seen = []

    def progress(step, *_):
        seen.append(step)
        if step == stop:
            raise KeyboardInterrupt

    history = train(model, IDS, windows(IDS, 16, 10), steps=steps, peak=0.01, seed=0, batch=4, context=16, warmup=5, every=5,
                    state=state, save_every=4, progress=progress, **more)
    return history, seen, model


def test_a_run_that_was_stopped_goes_on_to_the_same_result(tmp_path):
    whole, _, wanted = trained()
    state = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        trained(state, stop=15)
    assert state.exists()
    history, seen, model = trained(state)
    assert seen == list(range(12, 21)) and history == whole and not state.exists()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), wanted.parameters()))
    with pytest.raises(KeyboardInterrupt):
        trained(state, stop=15)
    state.write_bytes(state.read_bytes()[:100])  # cut off: begun anew
    assert trained(state)[0] == whole


def test_muon_trains_the_blocks_and_adamw_the_tables():
    model = small("llama")
    if not hasattr(torch.optim, "Muon"):
        with pytest.raises(UsageError, match="optimizer muon needs torch 2.9"):
            optimizers_of(model, "muon", 0.01)
    else:
        adamw, muon = optimizers_of(model, "muon", 0.01)
        names = {id(p): name for name, p in model.named_parameters()}
        of = {kind: {names[id(p)] for g in o.param_groups for p in g["params"]} for kind, o in (("adamw", adamw), ("muon", muon))}
        assert of["adamw"] | of["muon"] == set(names.values()) and not of["adamw"] & of["muon"]
        assert {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"} <= of["adamw"]
        assert of["muon"] == {n for n in names.values() if n.endswith("proj.weight")}
        history = trained(style="llama", optimizer="muon")[0]
        assert history[-1][1] < history[0][1] - 0.2
    assert len(optimizers_of(model, "adamw", 0.01)) == 1
    with pytest.raises(InputError, match="optimizer sgd is neither adamw nor muon"):
        optimizers_of(model, "sgd", 0.01)


# ---- text in documents

def test_documents_are_held_out_whole(tmp_path):
    path = tmp_path / "documents.jsonl"
    path.write_text("".join('{"text": "%s"}\n' % " ".join([chr(97 + i)] * 8) for i in range(20)))
    train_path, held_path = prepare(path, tmp_path / "a", vocab=30)
    train_ids, held_ids = load(train_path), load(held_path)
    ends = 2 * 20  # newlines between documents
    assert len(train_ids) + len(held_ids) == 20 * 8 + ends and len(held_ids) == 2 * 10
    assert (held_ids == 0).sum() == 16  # no word of theirs is in the others
    runs = train_ids.reshape(18, 10)
    assert all(len(set(run[:8])) == 1 for run in runs) and (runs[:, 8:] == 1).all()  # the newline is the most frequent
    again = prepare(path, tmp_path / "b", vocab=30)
    assert load(again[1]).tolist() == held_ids.tolist()
    other = tmp_path / "other.txt"
    other.write_text("zz " + "\n")
    assert other_ids(other, tmp_path / "a").tolist() == [0, 1]
    (tmp_path / "broken.jsonl").write_text('{"text": "a"}\n{"words": 1}\n')
    with pytest.raises(InputError, match="line 2 of .*broken.jsonl is no JSON object with a text"):
        list(documents_of(tmp_path / "broken.jsonl"))


def test_gpt2s_own_tokens(tmp_path):
    path = tmp_path / "documents.jsonl"
    path.write_text('{"text": "Hello world"}\n{"text": " 1234 naïve"}\n' * 10)
    train_path, held_path = prepare(path, tmp_path / "a", vocab=50304, tokenizer="gpt2")
    ids = load(train_path).tolist() + load(held_path).tolist()
    hello, number = [15496, 995, 50256], [1105, 2682, 41492, 50256]
    assert len(load(held_path)) in (2 * len(hello), len(hello) + len(number), 2 * len(number))
    assert sorted(ids) == sorted(10 * (hello + number))
    other = tmp_path / "other.txt"
    other.write_text("Hello world")
    assert other_ids(other, tmp_path / "a", "gpt2").tolist() == hello
    with pytest.raises(InputError, match="vocab 50000 is too small for tokenizer gpt2: give at least 50257"):
        prepare(path, tmp_path / "b", vocab=50000, tokenizer="gpt2")
    with pytest.raises(InputError, match="tokenizer char is none of words, gpt2"):
        prepare(path, tmp_path / "c", vocab=50304, tokenizer="char")


def test_drawn_windows_come_from_everywhere_and_do_not_overlap():
    ids = np.arange(1601, dtype=np.uint16)
    some, rest = windows(ids, 16, 20, drawn=True), windows(ids, 16, 80, first=20, drawn=True)
    starts = sorted(int(w[0]) for w in torch.cat([some, rest]))
    assert starts == list(range(0, 1600, 16))
    first = sorted(int(w[0]) for w in some)
    assert first != list(range(0, 320, 16)) and max(first) > 1200
    assert torch.equal(windows(ids, 16, 20, drawn=True), some)


# ---- specs that extend others

def test_a_spec_may_extend_another(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: small\nmodel: {layers: 2}\narms: [random, offset]\nplan: {seeds: {}, budgets: [], targets: []}\n")
    mine, base = load_spec(str(path)), load_spec("small")
    assert mine["model"] == base["model"] | {"layers": 2} and list(mine["arms"]) == ["random", "offset"]
    assert mine["training"] == base["training"] and mine["plan"]["sweep"] == base["plan"]["sweep"] and mine["plan"]["budgets"] == []
    path.write_text("extends: small\narms: {random: {about: r}, new: {about: n}}\n")
    assert set(load_spec(str(path))["arms"]) == set(base["arms"]) | {"new"}
    path.write_text("extends: small\narms: [none]\n")
    with pytest.raises(InputError, match="small has no arm none"):
        load_spec(str(path))
    path.write_text("extends: nowhere\n")
    with pytest.raises(UsageError, match="nowhere is neither a file nor one of"):
        load_spec(str(path))


SMALL = "extends: smoke\n"


@pytest.mark.parametrize("text,says", [
    ("model: 3", "section model is to hold entries, and is 3"),
    ("model:", "section model is to hold entries, and is None"),
    ("trainig: {batch: 3}", "there is no section trainig"),
    ("arms: [[random]]", r"smoke has no arm \['random'\]"),
    ("model: {layers: two}", "section model: layers is to be a whole number above 0, and is 'two'"),
    ("model: {heads: 0}", "heads is to be a whole number above 0, and is 0"),
    ("training: {optimiser: muon}", "section training knows no optimiser: give some of batch, warmup"),
    ("training: {precision: fp16}", "precision is to be f32 or bf16, and is 'fp16'"),
    ("training: {batch: 0}", "batch is to be a whole number above 0"),
    ("corpus: {windows: draw}", "windows is to be first or drawn, and is 'draw'"),
    ("corpus: {other_text: 7}", "other_text is to be text, and is 7"),
    ("arms: {random:}", "arm random is to hold entries, and is None"),
    ("arms: {7: {about: x}}", "arm 7: give it a short name without /"),
    ("arms: {a/b: {about: x}}", "arm 'a/b': give it a short name without /"),
    ("arms: {random: {gauges: {values: 0}}}", "gauges is to be names with numbers above 0"),
    ("arms: {random: {init: [offset]}}", "init is to be flags of aloft init"),
    ("arms: {random: {stdev: 1}}", "arm random knows no stdev"),
    ("plan: {sweep: {steps: 20}}", "plan.sweep lacks peaks"),
    ("plan: {sweep: {steps: 20, peaks: 0.1}}", "peaks is to be a list of numbers above 0"),
    ("plan: {seeds: {arms: [random]}}", "plan.seeds lacks count"),
    ("plan: {budgets: [{steps: 3}]}", "budget 1 of the plan lacks arms"),
    ("plan: {targets: [{arm: offset}]}", "target 1 of the plan lacks baseline"),
    ("plan: {baseline: rnadom}", "the plan's baseline is rnadom, which is no arm"),
])
def test_a_spec_that_says_nonsense_is_refused_before_any_work(text, says, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SMALL + text + "\n")
    with pytest.raises(InputError, match=says):
        load_spec(str(path))


def test_a_spec_that_extends_itself_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: {path}\n")
    with pytest.raises(InputError, match="extends itself"):
        load_spec(str(path))


def test_a_folder_holds_one_trial(tmp_path):
    text, other = tmp_path / "t.txt", tmp_path / "o.txt"
    text.write_text("a b c " * 40), other.write_text("c b a " * 40)
    spec = load_spec("smoke")
    spec["corpus"]["text"] = str(text)
    same_trial(spec, tmp_path / "trial")
    same_trial(spec, tmp_path / "trial")
    more = spec | {"arms": spec["arms"] | {"new": {"std": 0.1}}}
    same_trial(more, tmp_path / "trial")
    same_trial(spec, tmp_path / "trial")  # an arm less is no other trial

    def refused(says, **changed):
        with pytest.raises(UsageError, match=says):
            same_trial(spec | changed, tmp_path / "trial")

    refused("another tokenizer", corpus=spec["corpus"] | {"tokenizer": "gpt2"})
    refused("another windows", corpus=spec["corpus"] | {"windows": "drawn"})
    refused("another other text", corpus=spec["corpus"] | {"other_text": str(other)})
    refused("another text", corpus=spec["corpus"] | {"text": str(other)})  # as long
    refused("another training", training=spec["training"] | {"batch": 3})
    refused("another arm new", arms={"new": {"std": 0.2}})
    renamed = spec["arms"] | {"random": {"about": "other words for it"}}
    same_trial(spec | {"arms": renamed}, tmp_path / "trial")
    trial = tmp_path / "trial/trial.json"
    old = json.loads(trial.read_text())
    trial.write_text(json.dumps({k: old[k] for k in ("model", "training", "vocabulary_from", "text_bytes", "test_tokens")}))
    same_trial(spec, tmp_path / "trial")  # of a time when there was no more in it
    trial.write_text("[]")
    with pytest.raises(InputError, match="is damaged"):
        same_trial(spec, tmp_path / "trial")


def test_a_worker_ends_with_its_trial():
    for parent, code in (("os.getppid()", 0), ("12345678", 1)):
        words = f"import os; from aloft.trial.run import _begin; _begin({parent})"
        assert subprocess.run([sys.executable, "-c", words], env=os.environ | {"PYTHONPATH": str(ROOT / "tools/python")}).returncode == code


def test_a_device_that_is_not_there_is_refused():
    usable("cpu")
    for device in ("nonsense", *(() if torch.cuda.is_available() else ("cuda",))):
        with pytest.raises(UsageError, match=f"device {device} cannot be used"):
            usable(device)
