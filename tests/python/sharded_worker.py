"""One process of several: wraps a toy model as training jobs do, loads a file with apply_init, and reports what the model holds
afterwards, gathered by torch's own means. Started by test_sharded_models.py: WORLD_SIZE FOLDER."""

import json
import sys
import traceback
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.numpy import load_file
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools/python"))
from aloft import InitError, apply_init  # noqa: E402


class Conv1D(nn.Module):  # as Hugging Face's: [in, out]
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size, size))

    def forward(self, x):
        return x @ self.weight


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 6, bias=False), Conv1D(6)

    def forward(self, x):
        return self.b(self.a(x))


class Toy(nn.Module):
    def __init__(self, tie=True):
        super().__init__()
        self.wte = nn.Embedding(7, 6)
        self.h = nn.ModuleList([Block(), Block()])
        self.norm = nn.LayerNorm(6)
        self.lm_head = nn.Linear(6, 7, bias=False)
        if tie:
            self.lm_head.weight = self.wte.weight

    def forward(self, ids):
        x = self.wte(ids)
        for block in self.h:
            x = block(x)
        return self.lm_head(self.norm(x))


IDS = torch.arange(7)[None]


def forward_only(model):
    with torch.no_grad():
        model(IDS)
    return model


def fsdp1(model, **options):
    from torch.distributed.fsdp import FullyShardedDataParallel

    for i in range(2):
        model.h[i] = FullyShardedDataParallel(model.h[i], device_id=torch.device("cpu"), **options)
    return FullyShardedDataParallel(model, device_id=torch.device("cpu"), **options)


def fsdp1_grad_op(model):
    from torch.distributed.fsdp import ShardingStrategy

    return forward_only(fsdp1(model, sharding_strategy=ShardingStrategy.SHARD_GRAD_OP))


def fsdp2(model, **options):
    from torch.distributed.fsdp import fully_shard

    for block in model.h:
        fully_shard(block, **options)
    return fully_shard(model, **options)


def checkpointed(model):
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    for i in range(2):
        model.h[i] = checkpoint_wrapper(model.h[i])
    return model


def tensor_parallel(model, sharded=False):
    from torch.distributed.tensor import Replicate
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1, dist.get_world_size()), mesh_dim_names=("data", "tensor"))
    parallelize_module(model, mesh["tensor"], {f"h.{i}.a": ColwiseParallel(output_layouts=Replicate()) for i in range(2)})
    return fsdp2(model, mesh=mesh["data"]) if sharded else model


def ddp(model):
    return nn.parallel.DistributedDataParallel(model)


# A file for an untied head where the name says so. Without FSDP (torch 1.13 on this Python) only the first ones can be.
CASES = {
    "ddp": lambda: ddp(Toy()),
    "ddp-checkpointed": lambda: ddp(checkpointed(Toy())),
    "fsdp1": lambda: fsdp1(Toy()),
    "fsdp1-orig-params": lambda: fsdp1(Toy(), use_orig_params=True),
    "fsdp1-after-forward": lambda: fsdp1_grad_op(Toy()),
    "fsdp1-untied": lambda: fsdp1(Toy(tie=False)),
    "fsdp1-checkpointed": lambda: fsdp1(checkpointed(Toy())),
    "fsdp2": lambda: fsdp2(Toy()),
    "fsdp2-untied": lambda: fsdp2(Toy(tie=False)),
    "fsdp2-after-forward": lambda: forward_only(fsdp2(Toy(), reshard_after_forward=False)),
    "fsdp2-checkpointed": lambda: fsdp2(checkpointed(Toy())),
    "tensor-parallel": lambda: tensor_parallel(Toy()),
    "fsdp2-tensor-parallel": lambda: tensor_parallel(Toy(), sharded=True),
}
META = {"fsdp2-meta": fsdp2}  # FSDP 1 gives its parameters values by itself


def gathered(model):
    """What the model computes: every parameter but the norm's bias, which nobody designs, has a part in it. FSDP 2 throws away what
    it had gathered, as it does after a backward pass."""
    for module in model.modules():
        if hasattr(module, "set_reshard_after_forward"):
            module.reshard()
    with torch.no_grad():
        logits = model(IDS)
    if hasattr(logits, "full_tensor"):
        logits = logits.full_tensor()
    return logits.detach().numpy()


def expected(values):
    model = Toy(tie="lm_head.weight" not in values)
    with torch.no_grad():
        for name, value in values.items():
            target = model.get_parameter(name)
            target.copy_(torch.from_numpy(value.T if name.endswith(".b.weight") else value))
        return model(IDS).numpy()


def result_of(name, folder):
    if name in META:
        with torch.device("meta"):
            model = META[name](Toy())
        apply_init(model, folder / "tied.safetensors")
        return "loaded a model without values"
    file = folder / ("untied.safetensors" if "untied" in name else "tied.safetensors")
    torch.manual_seed(dist.get_rank() if name.startswith("ddp") else 0)
    model = CASES[name]()
    report = apply_init(model, file)
    wanted = expected(load_file(file))
    found = gathered(model)
    if not np.allclose(found, wanted, atol=1e-5):
        return f"the model computes something else, by {np.abs(found - wanted).max()}"
    if sorted(report.loaded) != sorted(load_file(file)) or report.untouched != ["norm.bias"]:
        return str(report.loaded) + str(report.untouched)
    if len(report.transposed) != 2:
        return f"transposed: {report.transposed}"
    other = folder / ("tied.safetensors" if "untied" in name else "untied.safetensors")
    try:
        apply_init(model, other)
        return "loaded a file with the other kind of head"
    except InitError:
        pass
    return "ok" if np.allclose(gathered(model), wanted, atol=1e-5) else "a refusal changed the model"


def main(rank, world, folder, names):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting-{world}", rank=rank, world_size=world)
    results = {}
    for name in names:
        try:
            results[name] = result_of(name, folder)
        except InitError as error:
            results[name] = f"InitError: {error}"
        except Exception:
            results[name] = traceback.format_exc()
    (folder / f"results-{world}-{rank}.json").write_text(json.dumps(results))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    count, place = int(sys.argv[1]), Path(sys.argv[2])
    # forked: torch is imported once, and has started no thread yet
    torch.multiprocessing.start_processes(main, (count, place, sys.argv[3:]), nprocs=count, start_method="fork")
