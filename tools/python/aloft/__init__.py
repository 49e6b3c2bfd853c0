"""Python side of aloft: load init tensors into a model, complete checkpoints, measure how an init stands a first step, run trials.

    from aloft import apply_init
    report = apply_init(model, "run/init.safetensors")
"""

from .apply import Report, apply_init
from .checkpoint import complete_checkpoint
from .errors import AloftError, InitError, InputError, OutputExistsError, ProgramError, UsageError
from .fragility import fragility
from .version import version

__version__ = version()

__all__ = ["AloftError", "InitError", "InputError", "OutputExistsError", "ProgramError", "Report", "UsageError", "__version__",
           "apply_init", "complete_checkpoint", "fragility"]
