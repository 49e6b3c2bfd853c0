"""The loss before any step of models that load what `aloft init --recipe offset` wrote: the trial's own models, and Hugging
Face's, which must compute the same."""

import pytest
import torch
import transformers
from torch.nn import functional as F

from aloft import apply_init, complete_checkpoint
from aloft.trial import corpus
from aloft.trial.jobs import Trial
from aloft.trial.models import Model, Shape, initialise
from aloft.trial.training import validation_loss
from conftest import PROGRAM
from sample_text import dependent_words, sample_corpus

STYLES = pytest.mark.parametrize("style", ["llama", "gpt2"])


def hugging_face(shape, std=0.02):
    if shape.style == "gpt2":
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(
            n_embd=shape.width, n_layer=shape.layers, n_head=shape.heads, n_positions=shape.context, vocab_size=shape.vocab,
            resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, initializer_range=std))
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(
        hidden_size=shape.width, intermediate_size=shape.mlp, num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads, max_position_embeddings=shape.context, vocab_size=shape.vocab, tie_word_embeddings=False,
        initializer_range=std))


def hugging_face_loss(model, held):
    model.eval()
    total = 0.0
    with torch.no_grad():
        for part in held.split(40):
            total += F.cross_entropy(model(part[:, :-1]).logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum").item()
    return total / held[:, 1:].numel()


def small_trial(folder, style):
    text = folder / "corpus.txt"
    text.write_text(dependent_words(30000))
    return Trial({
        "model": {"style": style, "layers": 2, "heads": 4, "width": 64, "context": 32, "vocab": 128},
        "corpus": {"text": str(text)}, "training": {"validation_tokens": 2048}, "plan": {},
        "arms": {"offset": {"init": {"recipe": "offset"}}, "tucker": {"init": {"recipe": "offset", "estimator": "tucker"}},
                 "unigram": {"init": {"recipe": "unigram"}}, "zero-proj": {"init": {"recipe": "zero-proj"}},
                 "bigram-head": {"init": {"recipe": "bigram-head"}}, "embedding": {"init": {"recipe": "embedding"}},
                 "shuffled": {"init": {"recipe": "offset", "control": "shuffled"}}, "random": {},
                 "loud": {"init": {"recipe": "offset", "init-std": 0.2}}},
    }, folder / "trial", PROGRAM)


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    return {style: small_trial(tmp_path_factory.mktemp(style), style) for style in ("llama", "gpt2")}


@STYLES
def test_hugging_face_computes_what_the_trials_model_does(style):
    shape = Shape(style=style, layers=2, heads=4, width=64, context=32, vocab=128)
    ours = initialise(Model(shape), 3, std=0.3)  # large weights: differences of activations and epsilons would show
    theirs = hugging_face(shape)
    left = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not left.unexpected_keys and all(k == "lm_head.weight" or "bias" in k or "inv_freq" in k for k in left.missing_keys)
    theirs.eval()
    ids = torch.randint(0, 128, (3, 32), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        a, b = ours(ids), theirs(ids).logits
    assert a.std() > 0.5
    assert (a - b).abs().max() < 2e-5 * b.abs().max()


@STYLES
@pytest.mark.parametrize("arm", ["offset", "tucker", "zero-proj"])
def test_both_start_at_the_same_loss(trials, style, arm, tmp_path):
    trial = trials[style]
    held = trial.windows()
    model, report = trial.build(arm, 0)
    ours = validation_loss(model, held)
    torch.manual_seed(5)
    theirs = hugging_face(trial.shape)
    theirs.load_state_dict(model.state_dict(), strict=False)  # the parts that are not designed
    assert hugging_face_loss(theirs, held) == pytest.approx(ours, abs=1e-4)
    fresh = hugging_face(trial.shape)  # with Hugging Face's own init around the design
    loaded = apply_init(fresh, trial.init_file(arm, 0))
    assert sorted(loaded.loaded) == sorted(report.loaded)
    assert hugging_face_loss(fresh, held) == pytest.approx(ours, abs=0.1)
    base = hugging_face(trial.shape)
    base.load_state_dict(fresh.state_dict())
    with torch.no_grad():
        for parameter in base.get_input_embeddings().parameters():
            parameter.zero_()  # so that the base itself is no better than chance
    base.save_pretrained(tmp_path / "base", safe_serialization=True)
    complete_checkpoint(tmp_path / "base", trial.init_file(arm, 0), tmp_path / "whole")
    whole = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    if arm != "zero-proj":  # which designs no embedding
        assert hugging_face_loss(whole, held) == pytest.approx(hugging_face_loss(fresh, held), abs=1e-5)


@STYLES
def test_large_mlps_do_not_drown_the_design(trials, style):
    """As those of a wide model do at their usual init: the file carries smaller output projections for them."""
    trial = trials[style]
    held = trial.windows()
    quiet = validation_loss(trial.build("offset", 0)[0], held)
    torch.manual_seed(6)
    model = hugging_face(trial.shape, std=0.2)
    own = {k: v.clone() for k, v in model.state_dict().items()}
    loaded = apply_init(model, trial.init_file("loud", 0)).loaded
    mlps = [k for k in own if k.endswith(("mlp.down_proj.weight", "mlp.c_proj.weight"))]
    assert set(mlps) <= set(loaded)
    assert hugging_face_loss(model, held) < quiet + 0.2
    model.load_state_dict(own | {k: v for k, v in model.state_dict().items() if k not in mlps})
    assert hugging_face_loss(model, held) > quiet + 0.5


@STYLES
def test_losses_are_ordered_as_what_they_know(trials, style):
    trial = trials[style]
    held, train = trial.windows(), corpus.load(trial.train_path)
    unigram = corpus.unigram_loss(train, held.numpy(), trial.shape.vocab)
    loss = {arm: validation_loss(trial.build(arm, 0)[0], held) for arm in trial.arms if arm != "loud"}
    assert loss["offset"] < loss["bigram-head"] - 0.02 < unigram - 0.2, loss
    assert loss["tucker"] < unigram - 0.3, loss
    assert abs(loss["unigram"] - unigram) < 0.06, loss
    assert abs(loss["embedding"] - unigram) < 0.06, loss
    assert loss["shuffled"] > unigram - 0.02, loss
    assert loss["random"] > unigram + 0.1, loss
    silent, _ = trial.build("zero-proj", 0)  # every block's output is zero at first
    assert all(not v.any() for k, v in silent.state_dict().items() if k.endswith(("o_proj.weight", "down_proj.weight", "c_proj.weight")))


# ---- the figures, on the sample corpus ----

needs_sample = pytest.mark.skipif(sample_corpus() is None, reason="the sample text is not there (ALOFT_SAMPLE_TEXT)")


@pytest.fixture(scope="module")
def sample_trials(tmp_path_factory):
    def make(style):
        return Trial({
            "model": {"style": style, "layers": 4, "heads": 4, "width": 128, "context": 64, "vocab": 2048},
            "corpus": {"text": str(sample_corpus()), "vocabulary_from": "all"}, "training": {"validation_tokens": 10240},
            "plan": {}, "arms": {"discriminant": {"init": {"recipe": "offset"}},
                                 "tucker": {"init": {"recipe": "offset", "estimator": "tucker"}},
                                 "shuffled": {"init": {"recipe": "offset", "control": "shuffled"}}},
        }, tmp_path_factory.mktemp(f"sample-{style}"), PROGRAM)

    return {style: make(style) for style in ("llama", "gpt2")}


@needs_sample
@pytest.mark.parametrize("style, arm, limit", [("llama", "discriminant", 4.15), ("llama", "tucker", 4.0),
                                               ("gpt2", "discriminant", 4.25), ("gpt2", "tucker", 4.25)])
def test_the_sample_corpus_starts_as_low_as_promised(sample_trials, style, arm, limit):
    trial = sample_trials[style]
    held = trial.windows()
    assert held.shape == (160, 65)
    model, _ = trial.build(arm, 0)
    theirs = hugging_face(trial.shape)
    apply_init(theirs, trial.init_file(arm, 0))
    for loss in (validation_loss(model, held), hugging_face_loss(theirs, held)):
        assert 3.5 < loss <= limit


@needs_sample
@STYLES
def test_a_shuffled_corpus_teaches_no_more_than_its_unigram(sample_trials, style):
    trial = sample_trials[style]
    held = trial.windows()
    unigram = corpus.unigram_loss(corpus.load(trial.train_path), held.numpy(), 2048)
    assert unigram == pytest.approx(5.10, abs=0.01)
    assert validation_loss(trial.build("shuffled", 0)[0], held) > unigram - 0.02
