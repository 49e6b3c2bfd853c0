"""--stream-scale: real models compute the same whatever it is, and stand the first step of an optimiser better the larger it is."""

import json
import re

import pytest
import torch
import transformers
from torch.nn import functional as F

import nanogpt
import nanogpt_rope
from aloft import AloftError, UsageError, apply_init, fragility
from aloft.errors import InputError
from conftest import PROGRAM
from test_model_types import CONTEXT, MAPPED, VOCAB, config_of, corpus, designed, run  # noqa: F401 (corpus is a fixture)

SIZES = ["--layers", 4, "--heads", 4, "--d-model", 64, "--context", CONTEXT, "--model-vocab-size", VOCAB]
SINGLE = ("mixtral", "qwen2_moe", "granitemoe", "mistral", "qwen2")  # experts, and masks of transformers 4, in single alone
GIVEN = ["--alpha", 0.5, "--kappa", 30, "--ridge", 1]  # nothing is searched for, and runs are short
OWN = {"nanogpt": nanogpt.GPT, "nanogpt-rope": nanogpt_rope.GPT}


def built(name):
    """A model in double, its norms without the epsilon that a small stream feels."""
    torch.manual_seed(3)
    if name in OWN:
        model = OWN[name](nanogpt.Config(n_layer=4, n_head=4, n_embd=64, block_size=CONTEXT, vocab_size=VOCAB))
    else:
        model = transformers.AutoModelForCausalLM.from_config(config_of(*MAPPED[name]))
    for module in model.modules():
        for attribute in ("eps", "variance_epsilon"):
            if hasattr(module, attribute):
                setattr(module, attribute, 1e-30)
    return model.eval() if name in SINGLE else model.double().eval()


def file_of(name, corpus, folder, *flags):
    folder.mkdir()
    if name not in OWN:
        return designed(config_of(*MAPPED[name]), corpus, folder, *flags)[0]
    done = run("init", "--counts", corpus[0] / "counts.safetensors", "--arch", name, *SIZES, "--output", folder / "run", *flags)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def logits_of(name, run_folder, held, monkeypatch):
    model = built(name)
    # these have the epsilon in their code
    monkeypatch.setattr(nanogpt_rope.RMSNorm, "forward", lambda self, x: self.weight * x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True)))
    whole = F.layer_norm
    monkeypatch.setattr(F, "layer_norm", lambda x, shape, weight=None, bias=None, eps=0.0: whole(x, shape, weight, bias, 1e-30))
    apply_init(model, run_folder)
    with torch.no_grad():
        for parameter, weight in model.named_parameters():  # experts, whose outputs nothing here names
            if re.search(r"moe|expert", parameter):
                weight.zero_()
        out = model(held[:8, :-1])
    return out.logits if hasattr(out, "logits") else out


@pytest.mark.parametrize("name", [*MAPPED, *OWN])
def test_the_logits_do_not_depend_on_it(name, corpus, tmp_path, monkeypatch):
    flags = ["--zero-outputs", "--background", "zero", "--quiet", *GIVEN]
    one, large = (logits_of(name, file_of(name, corpus, tmp_path / f"{c}", *flags, "--stream-scale", c), corpus[1], monkeypatch)
                  for c in (1, 23))
    assert one.std() > 0.5
    rounding = 1e-4 if name in SINGLE else 1e-5
    assert (one - large).abs().max() < rounding
    metadata = json.loads((tmp_path / "23/run/offset.json").read_text())
    assert metadata["stream_scale"] == 23


@pytest.mark.parametrize("name", ["llama", "gpt2", "granite-tied", "starcoder2", "nanogpt-rope"])
def test_nor_do_those_of_a_baseline(name, corpus, tmp_path, monkeypatch):
    vocabulary = [] if name in OWN else ["--model-vocab-size", VOCAB]
    one, two, large = (logits_of(name, file_of(name, corpus, tmp_path / f"{c}", "--recipe", "zero-proj", *vocabulary, "--stream-scale", c),
                                 corpus[1], monkeypatch) for c in (1, 2, 23))
    if name not in OWN:  # the file of 1 leaves the embedding to the model, whose numbers are others, but of the same size
        assert 0.8 < two.std() / one.std() < 1.25
    assert two.std() > 0.01
    assert (two - large).abs().max() < 1e-5


def test_a_larger_stream_stands_the_first_step(corpus, tmp_path):
    held, losses = corpus[1], {}
    for c in (0.02, 1, 8):
        model = transformers.AutoModelForCausalLM.from_config(config_of(*MAPPED["llama"]))
        before = {name: p.clone() for name, p in model.named_parameters()}
        file = file_of("llama", corpus, tmp_path / f"{c}", "--quiet", "--stream-scale", c)
        losses[c] = fragility(model, file, held.flatten(), context=CONTEXT)
        assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())  # a copy was looked at
        assert list(losses[c]) == ["before", "0.0001", "0.001"]
    print(losses)
    assert abs(losses[8]["before"] - losses[1]["before"]) < 0.1
    harm = {c: losses[c]["0.001"] - losses[c]["before"] for c in losses}
    assert harm[0.02] > 0.5 and abs(harm[1]) < 0.1 and abs(harm[8]) < 0.1


def test_fragility_by_hand(tmp_path):
    """A model of one weight w whose loss is (w - 3)^2: a step of s against the gradient's sign adds s to w = 1."""
    from aloft.fragility import sign_steps

    w = torch.nn.Parameter(torch.tensor(1.0))
    frozen = torch.nn.Parameter(torch.tensor(5.0), requires_grad=False)
    found = sign_steps([w, frozen], lambda: (w - 3).square(), lambda: (w.item() - 3) ** 2, [0.5, 2.0])
    assert found == pytest.approx({"0.5": 1.5**2, "2": 0.0})
    assert w.item() == 1 and w.grad is None and frozen.item() == 5


def test_fragility_takes_the_slice_of_the_runs_own_counts(corpus, tmp_path):
    config = config_of(*MAPPED["llama"])
    model = transformers.AutoModelForCausalLM.from_config(config)
    (tmp_path / "config.json").write_text(config.to_json_string())
    done = run("init", "--corpus", corpus[0] / "train.txt", "--tokenizer", "words", "--vocab-size", VOCAB, "--model-config",
               tmp_path / "config.json", "--output", tmp_path / "run", "--quiet")
    assert done.returncode == 0, done.stderr
    found = fragility(model, tmp_path / "run")
    assert found["before"] < 4.0 and found["0.001"] < 6  # a random init is at 4.85
    assert fragility(model, tmp_path / "run" / "init.safetensors") == found
    given = fragility(model, tmp_path / "run", corpus[1].flatten().numpy(), context=CONTEXT)
    assert given["before"] == pytest.approx(found["before"], abs=0.3)
    with pytest.raises(UsageError, match="too few: give more ids"):
        fragility(model, tmp_path / "run", [1, 2, 3], context=CONTEXT)
    with pytest.raises(UsageError, match="one dimension, and these have 2"):
        fragility(model, tmp_path / "run", corpus[1])
    (tmp_path / "run" / "counts.safetensors").rename(tmp_path / "counts")
    with pytest.raises(UsageError, match="counts.safetensors is not there.*: give ids"):
        fragility(model, tmp_path / "run")
    (tmp_path / "run" / "init.safetensors").rename(tmp_path / "run" / "counts.safetensors")
    (tmp_path / "init.safetensors").write_bytes((tmp_path / "run" / "counts.safetensors").read_bytes())
    (tmp_path / "run" / "init.safetensors").write_bytes((tmp_path / "init.safetensors").read_bytes())
    with pytest.raises(InputError, match="holds no slice of its corpus"):
        fragility(model, tmp_path / "run")


def test_what_fragility_cannot_do_is_one_clear_error(corpus, tmp_path):
    model = transformers.AutoModelForCausalLM.from_config(config_of(*MAPPED["llama"]))
    file, ids = file_of("llama", corpus, tmp_path / "a", "--quiet", *GIVEN), corpus[1].flatten()
    assert fragility(model, file, ids.tolist()) == fragility(model, file, ids, context=CONTEXT)  # the model's own context
    with torch.no_grad():
        assert "before" in fragility(model, file, ids)

    def refused(says, ids=ids, model=model, **more):
        with pytest.raises(AloftError, match=says):
            fragility(model, file, ids, **more)

    refused("an id is -3, and the design has 128 tokens", torch.cat([ids[:-40], torch.tensor([-3] * 40)]))
    refused("an id is 128, and the design has 128 tokens", torch.cat([ids[:-40], torch.tensor([128] * 40)]))
    refused("are to be integers, and these are float64", ids.double().numpy())
    refused("are to be integers, and these are bool", ids.numpy() > 3)
    refused("are to be", [[1, 2], [3]])
    refused("are to be integers", ["a", "b"])
    refused("context is to be a whole number above 0, and is 0", context=0)
    refused("context is to be a whole number above 0, and is '32'", context="32")
    refused("sizes are to be a list of numbers above 0", sizes=1e-3)
    refused("sizes are to be a list of numbers above 0", sizes=[float("nan")])
    refused("a torch module is needed, and no NoneType", model=None)
    refused("failed on windows of 32 tokens", loss=3)
    refused("the loss is to be one number that depends on the parameters|failed on windows", loss=lambda m, t: torch.tensor(1.0))
    frozen = transformers.AutoModelForCausalLM.from_config(config_of(*MAPPED["llama"])).requires_grad_(False)
    refused("no parameter of the model requires a gradient", model=frozen)


def test_fragility_of_nanogpt_and_of_a_loss_of_ones_own(corpus, tmp_path):
    file = file_of("nanogpt", corpus, tmp_path / "a", "--quiet", *GIVEN)
    model = built("nanogpt").float()

    class LastPlaceOnly(nanogpt.GPT):  # as nanoGPT's own without targets
        def forward(self, ids, targets=None):
            logits = super().forward(ids)
            return (logits[:, -1:], None) if targets is None else (logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten()))

    last = LastPlaceOnly(nanogpt.Config(n_layer=4, n_head=4, n_embd=64, block_size=CONTEXT, vocab_size=VOCAB))
    last.load_state_dict(model.state_dict())
    plain = fragility(model, file, corpus[1].flatten(), context=CONTEXT)
    assert fragility(last, file, corpus[1].flatten(), context=CONTEXT) == pytest.approx(plain, abs=1e-5)
    twice = fragility(model, file, corpus[1].flatten(), context=CONTEXT,
                      loss=lambda m, t: 2 * F.cross_entropy(m(t[:, :-1]).flatten(0, 1), t[:, 1:].flatten()))
    assert twice["before"] == pytest.approx(2 * plain["before"], abs=1e-4)


@pytest.mark.parametrize("words,code,says", [
    (["--stream-scale", "0"], 2, "--stream-scale"), (["--stream-scale", "-1"], 2, "--stream-scale"), (["--stream-scale", "nan"], 2, "--stream-scale"),
    (["--stream-scale", "0.001"], 2, "not in range 0.01"), (["--stream-scale", "1e5"], 2, "not in range 0.01"),
    (["--recipe", "random", "--stream-scale", "4"], 2, "give --model-vocab-size")])
def test_what_cannot_be_is_refused_in_one_line(words, code, says, tmp_path):
    done = run("init", "--arch", "nanogpt-rope", "--layers", 2, "--heads", 2, "--d-model", 32, "--context", 16, *words, "--output", tmp_path / "run")
    assert PROGRAM and done.returncode == code and says in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert not (tmp_path / "run").exists()
