"""What one run of `aloft papers` is: sizes, budget, seeds; and the trial it amounts to."""

import os
from dataclasses import dataclass

from ..errors import UsageError
from ..processors import MOST_THREADS
from ..trial.models import Shape
from ..trial.spec import Spec

ARMS: Spec = {
    "sgd": {},
    "crystallised": {"init": {"recipe": "spread", "embedding": "mobius"}},  # for the embedding alone
    # all three through `aloft init`, so that what is random is the same
    "random": {"init": {"recipe": "random"}},
    "asymmetry": {"init": {"recipe": "asymmetry"}},
    "asymmetry-attention": {"init": {"recipe": "asymmetry", "no-embedding": True}},
}
INJECTED = ("random", "asymmetry", "asymmetry-attention")


@dataclass(frozen=True)
class Settings:
    shape: Shape = Shape("nanogpt-rope", layers=8, heads=8, width=256, context=256, vocab=15007)
    steps: int = 2000
    batch: int = 8  # windows of the context a step; the papers do not say
    peak: float = 0.002  # the best of three at this size (profiles/training.md)
    seed: int = 0
    validation_tokens: int = 10240
    embedding_norm: float = 1.0  # of a row of the papers' embedding: starts nearest to the papers' 7.97
    embedding_vocab: int | None = None  # ids that the papers' embedding has rows for (it takes 6 V^2 doubles); None: all
    injection_steps: int = 100
    injection_seeds: int = 3
    save_every: int = 50  # steps
    threads: int = 1
    quiet: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "injection_steps", "injection_seeds", "threads", "save_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"papers: --{name.replace('_', '-')} is to be 1 or more")
        if self.threads > MOST_THREADS:
            raise UsageError(f"papers: --threads is to be from 1 to {MOST_THREADS}")
        if not 0 < self.peak < float("inf") or not 0 < self.embedding_norm < float("inf"):
            raise UsageError("papers: a rate and a norm are to be above 0")
        if not 0 <= self.seed < 1 << 31:
            raise UsageError("papers: --seed is to be from 0 to 2147483647")
        if self.embedding_vocab is not None and not self.shape.width <= self.embedding_vocab <= self.shape.vocab:
            raise UsageError(f"papers: --embedding-vocab is to be from {self.shape.width} to {self.shape.vocab}")

    @property
    def weights_seed(self) -> dict[str, int]:
        """Of the initial weights. Two models that began at the same weights would be alike for that alone, and the second paper
        compares them: so each has its own."""
        return {"sgd": self.seed, "crystallised": self.seed + 1}

    @property
    def embedded(self) -> int:
        """Ids with a row of the papers' embedding."""
        return self.shape.vocab if self.embedding_vocab is None else self.embedding_vocab

    def warmup(self, steps: int) -> int:
        return max(1, min(50, steps // 10))

    def spec(self, text: str | os.PathLike[str]) -> Spec:
        s = self.shape
        return {"model": {"style": s.style, "layers": s.layers, "heads": s.heads, "width": s.width, "context": s.context, "vocab": s.vocab},
                "corpus": {"text": os.fspath(text), "windows": "drawn"},
                "training": {"batch": self.batch, "steps": self.steps, "peak": self.peak, "seed": self.seed,
                             "validation_tokens": self.validation_tokens, "injection_steps": self.injection_steps},
                "arms": ARMS | {"crystallised": ARMS["crystallised"] | {"embedding_norm": self.embedding_norm,
                                                                          "embedding_vocab": self.embedded}}}
