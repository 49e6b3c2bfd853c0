"""Python side of aloft: load init tensors into a model, complete checkpoints, run trials.

    from aloft import apply_init
    report = apply_init(model, "run/init.safetensors")
"""

from .apply import InitError, Report, apply_init
from .checkpoint import complete_checkpoint

__all__ = ["InitError", "Report", "apply_init", "complete_checkpoint"]
