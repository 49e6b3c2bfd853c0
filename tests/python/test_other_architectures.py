"""apply_init on models whose shapes fit a file, and whose attention computes something else than it was designed for."""

import re
from pathlib import Path

import pytest
import torch

from aloft import InitError, apply_init
from aloft.config import BUILT_IN, NO_BUILT_IN, refuse_another_attention
from test_apply_init import state, write
from test_wrapped_models import GPT2, METADATA, files, gpt2, llama  # noqa: F401 (files is a fixture)


def test_a_design_for_rotary_positions_is_refused_where_positions_are_a_table(tmp_path):
    values = {name: value for name, value in GPT2.items() if "wpe" not in name}
    rotary = METADATA | {"architecture": "nanogpt-rope", "rope_base": "10000", "tables": "transformer.wte.weight lm_head.weight"}
    file = write(tmp_path / "rotary.safetensors", values, rotary)
    model = gpt2()
    before = state(model)
    with pytest.raises(InitError, match=r"designed for rotary positions \(nanogpt-rope\), the model has a table of positions"):
        apply_init(model, file)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    write(file, values, {k: v for k, v in rotary.items() if k != "rope_base"})
    apply_init(model, file)


def test_a_model_whose_attention_is_of_another_kind_is_refused(files):
    model = llama()
    model.config.model_type = "qwen3"
    with pytest.raises(InitError, match="designed for llama, and the model is a qwen3"):
        apply_init(model, files["llama"])


@pytest.mark.parametrize("said,config,fits", [
    ("none", {}, True), ("none", {"rope_scaling": None}, True), ("none", {"rope_scaling": {"type": "linear", "factor": 4.0}}, False),
    ("linear 4", {"rope_scaling": {"type": "linear", "factor": 4.0}}, True), ("linear 2", {"rope_scaling": {"type": "linear", "factor": 4.0}}, False),
    ("none", {"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}, True),
    ("none", {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}, True),
    ("llama3 8", {"rope_parameters": {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0}}, True),
    ("llama3 8", {}, False), ("longrope", {"rope_scaling": {"type": "yarn", "short_factor": [1.0], "long_factor": [2.0]}}, True),
    ("longrope", {"rope_scaling": {"type": "su", "factor": 2.0}}, True),
])
def test_a_design_for_other_rotations_is_refused(said, config, fits):
    metadata = {"architecture": "llama", "rope_base": "10000", "rope_scaling": said}
    config = {"model_type": "llama", "rope_theta": 10000.0} | config
    if fits:
        return refuse_another_attention("x", "the model", metadata, config)
    with pytest.raises(InitError, match=f"designed for RoPE scaling {said}, the model has "):
        refuse_another_attention("x", "the model", metadata, config)


def test_the_types_without_a_built_in_are_those_of_the_program():
    root = Path(__file__).resolve().parents[2]
    source = (root / "pipeline/model/misfits.cpp").read_text().split("namespace {", 1)[1].split("}  // namespace\n", 1)[0]
    assert set(re.findall(r'"([^"]+)"', source)) == NO_BUILT_IN
    assert {path.stem for path in (root / "tools/architectures").glob("*.json")} == BUILT_IN
