"""apply_init on models inside something else: wrappers, adapters, trainers, base models alone; and on models that cannot hold a file."""

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from aloft import InitError, apply_init
from aloft.names import plain
from test_apply_init import Conv1D, Toy, refused, state, tensors, write

METADATA = {"format": "pt", "architecture": "gpt2", "orientation": "in_out", "tables": "transformer.wte.weight lm_head.weight transformer.wpe.weight",
            "tied_head": "true"}
UNTIED = {"format": "pt", "architecture": "llama", "orientation": "out_in", "tables": "model.embed_tokens.weight lm_head.weight", "tied_head": "false"}


def gpt2(layers=2, **options):
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=8, n_layer=layers, n_head=2, n_positions=8, vocab_size=11, **options))


def llama(**options):
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, vocab_size=11, tie_word_embeddings=False, **options))


def random_values(shapes):
    random = np.random.default_rng(7)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


GPT2 = random_values({"transformer.wte.weight": (11, 8), "transformer.wpe.weight": (8, 8), "transformer.ln_f.weight": (8,)} | {
    f"transformer.h.{i}.attn.c_{n}.weight": (8, 24 if n == "attn" else 8) for i in range(2) for n in ("attn", "proj")})
LLAMA = random_values({"model.embed_tokens.weight": (11, 8), "lm_head.weight": (11, 8)} | {
    f"model.layers.{i}.self_attn.{n}_proj.weight": (8, 8) for i in range(2) for n in "qkvo"})
NEOX = random_values({"gpt_neox.embed_in.weight": (11, 8), "embed_out.weight": (11, 8)} | {
    f"gpt_neox.layers.{i}.attention.{n}.weight": s for i in range(2) for n, s in (("query_key_value", (24, 8)), ("dense", (8, 8)))})


@pytest.fixture
def files(tmp_path):
    return {"gpt2": write(tmp_path / "gpt2.safetensors", GPT2, METADATA), "llama": write(tmp_path / "llama.safetensors", LLAMA, UNTIED),
            "neox": write(tmp_path / "neox.safetensors", NEOX, UNTIED | {"architecture": "neox", "tables": "gpt_neox.embed_in.weight embed_out.weight"})}


def arrived(model, values, dropped=""):
    found = model.state_dict()
    for name, value in values.items():
        assert np.array_equal(found[name.removeprefix(dropped)].float().numpy(), value), name


class Trainer(nn.Module):  # as a Lightning module holds it
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


# ---- prefixes ----

def test_base_models_alone(files):
    model = gpt2().transformer
    report = apply_init(model, files["gpt2"])
    arrived(model, GPT2, "transformer.")
    assert report.renamed["transformer.wte.weight"] == "wte.weight" and len(report.loaded) == len(GPT2)
    with pytest.raises(InitError, match=r"has no lm_head.weight; with 'model.' left out, 9 of 10 names fit"):
        apply_init(llama().model, files["llama"])
    for inner, name, values, dropped in ((gpt2(), "gpt2", GPT2, ""), (gpt2().transformer, "gpt2", GPT2, "transformer."), (llama(), "llama", LLAMA, "")):
        apply_init(Trainer(model=inner), files[name])
        arrived(inner, values, dropped)
        apply_init(Trainer(net=Trainer(_orig_mod=inner)), files[name])


def test_a_prefix_that_is_not_one_alone_is_not_guessed(files):
    student, teacher = gpt2(), gpt2()
    with pytest.raises(InitError, match=r"several places of the model: with 'student\.' in front, or with 'teacher\.' in front: give the part"):
        apply_init(Trainer(student=student, teacher=teacher), files["gpt2"])
    assert not np.array_equal(student.state_dict()["transformer.wte.weight"].numpy(), GPT2["transformer.wte.weight"])
    apply_init(Trainer(student=student, same=student), files["gpt2"])  # two names of one
    arrived(student, GPT2)
    both = Trainer(transformer=gpt2().transformer, copy=gpt2())  # as it is named comes first
    apply_init(both, files["gpt2"])
    arrived(both, GPT2)


def test_one_plain_name_for_two_tensors_is_refused(tmp_path):
    model = Toy()
    model.add_module("module", Toy())  # `module.wte.weight` is no wrapper's here
    values = {"square.weight": tensors()["square.weight"]}
    apply_init(model, write(tmp_path / "i.safetensors", values))  # the exact name wins
    assert np.array_equal(model.square.weight.detach().numpy(), values["square.weight"])
    two = Trainer(module=Toy(), _orig_mod=Toy())
    refused(two, write(tmp_path / "i.safetensors", values), "square.weight could be module.square.weight or _orig_mod.square.weight")


@pytest.mark.parametrize("name", ["embed_out", "lm_head"])
def test_neox_heads_of_either_name(files, tmp_path, name):
    model = transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, vocab_size=11))
    head = "embed_out" if "embed_out.weight" in model.state_dict() else "lm_head"
    if head != name:  # the other transformers' model
        setattr(model, name, getattr(model, head))
        delattr(model, head)
    report = apply_init(model, files["neox"])
    assert np.array_equal(model.state_dict()[f"{name}.weight"].numpy(), NEOX["embed_out.weight"])
    assert report.renamed == ({} if name == "embed_out" else {"embed_out.weight": "lm_head.weight"})
    assert f"{name}.weight" not in report.untouched
    setattr(model, name, nn.Linear(8, 11, bias=False))
    getattr(model, name).weight = model.gpt_neox.embed_in.weight
    refused(model, files["neox"], "the model ties", "embed_out.weight", "two different tensors")


# ---- wrappers ----

def test_activation_checkpoints(files):
    module = pytest.importorskip("torch.distributed.algorithms._checkpoint.checkpoint_wrapper")
    model = gpt2()
    count = len(list(model.parameters()))
    for i in range(2):
        model.transformer.h[i] = module.checkpoint_wrapper(model.transformer.h[i])
    model.transformer.h[1]._checkpoint_wrapped_module.attn = module.checkpoint_wrapper(model.transformer.h[1]._checkpoint_wrapped_module.attn)
    report = apply_init(model, files["gpt2"])
    assert report.transposed == [] and len(report.untouched) == count - len(GPT2)
    found = {plain(name): value for name, value in model.state_dict().items()}
    for name, value in GPT2.items():
        assert np.array_equal(found[name].numpy(), value), name


def test_compiled_models(files):
    if not hasattr(torch, "compile"):
        pytest.skip(f"torch {torch.__version__} has no compile()")
    model = gpt2()
    model.transformer.h[0].compile() if hasattr(model, "compile") else None  # in place, without a wrapper
    apply_init(torch.compile(nn.DataParallel(model)), files["gpt2"])
    arrived(model, GPT2)


def test_every_prefix_of_wrappers():
    assert plain("_fsdp_wrapped_module.h.0._checkpoint_wrapped_module._fsdp_wrapped_module.a.weight") == "h.0.a.weight"
    assert plain("base_layer") == "base_layer" and plain("a.base_layer.weight") == "a.weight"
    assert plain("lm_head.modules_to_save.default.weight") == "lm_head.weight"


def test_lightning(files):
    lightning = pytest.importorskip("pytorch_lightning", reason="Lightning is in the environment of the current transformers alone")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = gpt2()

    module = Module()
    report = apply_init(module, files["gpt2"])
    arrived(module.model, GPT2)
    assert report.renamed["transformer.wte.weight"] == "model.transformer.wte.weight"


# ---- PEFT ----

@pytest.fixture
def peft():
    return pytest.importorskip("peft", reason="PEFT is in the environment of the current transformers alone")


def test_lora(peft, files):
    for options in ({"target_modules": ["c_attn"]}, {"target_modules": ["wte", "c_proj"]}, {"target_modules": ["c_attn"], "modules_to_save": ["ln_f"]}):
        model = gpt2()
        wrapped = peft.get_peft_model(model, peft.LoraConfig(fan_in_fan_out=True, **options))
        report = apply_init(Trainer(model=wrapped), files["gpt2"])
        assert len(report.loaded) == len(GPT2) and not report.transposed
        merged = wrapped.merge_and_unload()
        arrived(merged, GPT2)


def test_adapters_that_change_the_weights_are_refused(peft, files):
    model = peft.get_peft_model(gpt2(), peft.LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True, use_dora=True))
    refused(model, files["gpt2"], "comes with", "lora_magnitude_vector", "before quantising or adding adapters")
    model = peft.get_peft_model(gpt2(), peft.LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True, init_lora_weights=False))
    refused(model, files["gpt2"], "belongs to an adapter that changes the designed weights")
    model = peft.get_peft_model(gpt2(), peft.LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True, trainable_token_indices=[1, 2]))
    refused(model, files["gpt2"], "comes with", "token")


# ---- models that cannot hold it ----

def test_models_without_values(files):
    refused_meta = gpt2().to("meta")
    with pytest.raises(InitError, match=r"meta device.*materialise it first \(model.to_empty\(device=\.\.\.\), its own init, tie_weights\(\)\)"):
        apply_init(refused_meta, files["gpt2"])
    with pytest.raises(InitError, match="lazy module"):
        apply_init(Trainer(wte=nn.Embedding(7, 4), square=nn.LazyLinear(4, bias=False), wide=nn.Linear(4, 12), norm=nn.LayerNorm(4)),
                   write(files["gpt2"].with_name("toy.safetensors"), tensors()))
    emptied = gpt2()
    emptied.transformer.wte.weight.data = torch.empty(0)  # as DeepSpeed's ZeRO-3 leaves it
    refused(emptied, files["gpt2"], "transformer.wte.weight is empty in the model", "ZeRO-3")


def test_meta_models_that_were_materialised_without_their_tie(files):
    model = gpt2().to("meta").to_empty(device="cpu")
    if model.lm_head.weight is not model.transformer.wte.weight:
        with pytest.raises(InitError, match="has its own, lm_head.weight: tie them"):
            apply_init(model, files["gpt2"])
        model.tie_weights()
    apply_init(model, files["gpt2"])
    arrived(model, GPT2 | {"lm_head.weight": GPT2["transformer.wte.weight"]})


class Quantised(nn.Module):
    """As bitsandbytes' layers: the weight in another type, and what belongs to it beside."""

    def __init__(self, dtype, shape, beside=None):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape, dtype=dtype), requires_grad=False)
        if beside:
            self.register_buffer(beside, torch.ones(4))


@pytest.mark.parametrize("dtype, shape, beside, says", [
    ("int8", (4, 4), "SCB", "comes with square.SCB"), ("uint8", (8, 1), None, "is torch.uint8, which holds no weights"),
    ("int8", (4, 4), None, "is torch.int8"), ("float32", (4, 4), "weight_scale", "comes with square.weight_scale"),
    ("float8_e4m3fn", (4, 4), "weight_scale_inv", "comes with square.weight_scale_inv")])
def test_quantised_weights(tmp_path, dtype, shape, beside, says):
    if not hasattr(torch, dtype):
        pytest.skip(f"torch {torch.__version__} has no {dtype}")
    for values in (tensors(), tensors() | {"square.weight": np.zeros((4, 4), np.float32)}):  # zeros any type can hold
        model = Toy()
        model.square = Quantised(getattr(torch, dtype), shape, beside)
        refused(model, write(tmp_path / "i.safetensors", values), says)


def test_a_tensor_that_computes_itself_from_others(tmp_path):
    module = pytest.importorskip("torch.testing._internal.two_tensor", reason="torch has no wrapper subclasses")
    model = Toy()
    model.square.weight = nn.Parameter(module.TwoTensor(torch.zeros(4, 4), torch.zeros(4, 4)))
    with pytest.raises(InitError, match="square.weight of the model is a TwoTensor, which is computed from other tensors"):
        apply_init(model, write(tmp_path / "i.safetensors", tensors()))


def test_deepspeed_has_copies_already(tmp_path):
    class DeepSpeedEngine(Trainer):
        pass

    refused(DeepSpeedEngine(module=Toy()), write(tmp_path / "i.safetensors", tensors()), "before deepspeed.initialize()")


def test_arrays_that_are_read_only(tmp_path):
    model = {name: np.zeros_like(value) for name, value in tensors().items()}
    model["wide.weight"].flags.writeable = False
    refused(model, write(tmp_path / "i.safetensors", tensors()), "wide.weight of the model is read-only")


def test_a_tie_that_is_still_to_come_is_refused(files):
    model = llama()
    model.config.tie_word_embeddings = True  # as after to_empty(), which loses ties: tie_weights() would overwrite the head
    refused(model, files["llama"], "configuration ties lm_head.weight to the embedding, though it is not tied yet")
    same = LLAMA | {"lm_head.weight": LLAMA["model.embed_tokens.weight"]}
    apply_init(model, write(files["gpt2"], same, UNTIED))  # nothing is lost
    model.config.tie_word_embeddings = False
    apply_init(model, files["llama"])


def test_what_is_no_model(tmp_path):
    with pytest.raises(InitError, match="a torch module is needed, or a dict of arrays, and no str"):
        apply_init("gpt2", write(tmp_path / "i.safetensors", tensors()))


# ---- models that can, whatever their tensors are like ----

def test_tensors_of_every_kind(tmp_path):
    path = write(tmp_path / "i.safetensors", tensors())
    model = Toy()
    model.wide.weight = nn.Parameter(torch.zeros(4, 12).t())  # not contiguous
    model.square.weight.requires_grad_(False)
    del model.norm.weight
    model.norm.register_buffer("weight", torch.ones(4))  # frozen, as a buffer
    with torch.inference_mode():
        model.wte.weight = model.lm_head.weight = nn.Parameter(torch.zeros(7, 4), requires_grad=False)
    apply_init(model, path)
    for name, value in tensors().items():
        assert np.array_equal(model.state_dict()[name].numpy(), value), name
    assert not model.wide.weight.is_contiguous()
    model.square.weight = nn.Parameter(torch.zeros(1, 4).expand(4, 4), requires_grad=False)
    refused(model, path, "cannot be written")
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        cast = Toy().to(dtype)
        apply_init(cast, path)
        assert all(torch.equal(cast.state_dict()[name], torch.from_numpy(value).to(dtype)) for name, value in tensors().items())


def test_copies_from_state_dict_are_not_what_is_written(tmp_path):
    class Copies(Toy):
        def state_dict(self, *args, **kwargs):
            return {name: value.clone() for name, value in super().state_dict(*args, **kwargs).items()}

    model = Copies()
    apply_init(model, write(tmp_path / "i.safetensors", tensors()))
    assert np.array_equal(model.square.weight.detach().numpy(), tensors()["square.weight"])


def test_what_does_not_stay_is_noticed(tmp_path):
    class Fleeting(nn.Module):
        """A parameter that is another one at every look: what is written into it is lost."""

        @property
        def _parameters(self):
            return {"weight": nn.Parameter(torch.zeros(4, 4))}

        @_parameters.setter
        def _parameters(self, value):
            pass

    model = Toy()
    model.square = Fleeting()
    with pytest.raises(InitError, match="square.weight is not what was copied into the model"):
        apply_init(model, write(tmp_path / "i.safetensors", tensors()))


def test_biases_that_a_design_does_not_expect_are_reported(tmp_path):
    path = write(tmp_path / "i.safetensors", tensors())
    model = Toy(lambda o, i: nn.Linear(i, o))  # torch's own init: biases at random
    report = apply_init(model, path)
    assert report.biased == ["square.bias", "wide.bias"] and str(report).endswith("2 biases of loaded projections are not zero, which designs do not expect")
    nn.init.zeros_(model.square.bias), nn.init.zeros_(model.wide.bias)
    report = apply_init(model, path)
    assert report.biased == [] and str(report).endswith("own init")


def test_two_views_of_one_memory_are_noticed(tmp_path):
    """A tie that no name and no identity shows: what is written last is there."""
    model = Toy()
    memory = torch.zeros(20)
    model.square.weight = nn.Parameter(memory[:16].view(4, 4))
    model.norm.weight = nn.Parameter(memory[2:6])
    with pytest.raises(InitError, match="is not what was copied"):
        apply_init(model, write(tmp_path / "i.safetensors", tensors()))


# ---- layers ----

def test_further_layers_are_refused_unless_allowed(files):
    model = gpt2(layers=4)
    before = state(model)
    refused(model, files["gpt2"], "the model has 4 layers, of which the file holds 2: transformer.h.2 would keep its own init", "--layers", "partial=True")
    report = apply_init(model, files["gpt2"], partial=True)
    arrived(model, GPT2)
    assert torch.equal(model.state_dict()["transformer.h.3.attn.c_attn.weight"], before["transformer.h.3.attn.c_attn.weight"])
    assert "transformer.h.3.attn.c_attn.weight" in report.untouched
    with pytest.raises(InitError, match="2 layers, of which"):
        apply_init(Trainer(model=nn.DataParallel(gpt2())), write(files["gpt2"], {k: v for k, v in GPT2.items() if ".h.0." not in k}, METADATA))
    shallow = gpt2(layers=1)
    refused(shallow, write(files["gpt2"], GPT2, METADATA), "has no transformer.h.1.attn")


def test_layers_that_share_their_weights_are_one(files):
    model = gpt2(layers=2)
    model.transformer.h.append(model.transformer.h[0])
    apply_init(model, files["gpt2"])
    arrived(model, GPT2)


def test_a_run_folder_is_its_file(files, tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(InitError, match="run: a folder without init.safetensors: give the file"):
        apply_init(gpt2(), tmp_path / "run")
    files["gpt2"].rename(tmp_path / "run/init.safetensors")
    model = gpt2()
    for given in (tmp_path / "run", str(tmp_path / "run") + "/"):
        assert len(apply_init(model, given).loaded) == len(GPT2)
    arrived(model, GPT2)


def test_conv1d_under_wrappers(tmp_path):
    for names in (["module"], ["_orig_mod"], ["_checkpoint_wrapped_module"], ["_fsdp_wrapped_module", "_checkpoint_wrapped_module"]):
        model = Toy(Conv1D)
        for name in names:
            model.square = Trainer(**{name: model.square})
        report = apply_init(model, write(tmp_path / "i.safetensors", tensors()))
        (_, weight), = model.square.named_parameters()
        assert np.array_equal(weight.detach().numpy().T, tensors()["square.weight"]) and sorted(report.transposed) == ["square.weight", "wide.weight"]
