"""apply_init on models whose shapes fit a file, and whose attention computes something else than it was designed for."""

import re
from pathlib import Path

import pytest
import torch

from aloft import InitError, apply_init
from aloft.config import BUILT_IN, NO_BUILT_IN
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


def test_the_types_without_a_built_in_are_those_of_the_program():
    root = Path(__file__).resolve().parents[2]
    source = (root / "pipeline/model/misfits.cpp").read_text().split("namespace {", 1)[1].split("}  // namespace\n", 1)[0]
    assert set(re.findall(r'"([^"]+)"', source)) == NO_BUILT_IN
    assert {path.stem for path in (root / "tools/architectures").glob("*.json")} == BUILT_IN
