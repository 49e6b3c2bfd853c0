"""apply_init() as a program of its own, for sweep.py: prints what the arrays of model.json hold after it."""

import hashlib
import json
import sys

import numpy as np
from aloft import AloftError, apply_init


def digest(model):
    return hashlib.sha256(b"".join(name.encode() + model[name].tobytes() for name in sorted(model))).hexdigest()


model, before = {}, digest({})
try:
    with open(sys.argv[1], encoding="utf8") as file:
        model = {name: np.full(shape, 0.25, np.float32) for name, shape in json.load(file).items()}
    before = digest(model)
    apply_init(model, sys.argv[2])
except (AloftError, OSError, MemoryError) as error:
    assert digest(model) == before, "a failure changed the model"
    print("aloft:", " ".join(str(error).split()), file=sys.stderr)
    sys.exit(3)
print(digest(model))
