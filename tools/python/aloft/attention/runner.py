"""A model that shows its attention."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Ids = NDArray[np.int64]
Values = NDArray[np.floating[Any]]
ABOVE = 1e-6  # attention to later tokens that rounding may leave


@dataclass(frozen=True)
class Runner:
    """attention(ids [length]) gives each layer's probabilities, [heads, query, key], in the layers' order."""

    kind: str  # "transformers" or "aloft": whose forward pass it is
    path: str
    layers: int
    heads: int
    context: int | None  # longest sequence, where there is one
    vocab: int
    attention: Callable[[Ids], Iterator[Values]]

    def __call__(self, ids: Ids) -> Iterator[Values]:
        """As `attention`, checked: InputError where it is not finite or looks ahead."""
        ahead = np.triu_indices(len(ids), 1)
        count = 0
        for layer, values in enumerate(self.attention(ids)):
            if values.shape != (self.heads, len(ids), len(ids)):
                raise InputError(f"attention: {self.path}: layer {layer} shows attention of shape {values.shape}, and not of {self.heads} "
                                 f"heads for {len(ids)} tokens: such a model is not measured")
            if not np.isfinite(values).all():
                raise InputError(f"attention: {self.path}: layer {layer} has attention that is not finite: are the weights damaged?")
            if values[:, ahead[0], ahead[1]].max(initial=0) > ABOVE:
                raise InputError(f"attention: {self.path}: layer {layer} looks at later tokens: a causal language model is needed")
            count += 1
            yield values
        if count != self.layers:
            raise InputError(f"attention: {self.path}: {count} of {self.layers} layers show their attention: such a model is not measured")
