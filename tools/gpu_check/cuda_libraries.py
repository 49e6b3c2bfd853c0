"""Where a machine keeps CUDA 13's libraries: a toolkit, or Python's packages (nvidia/cu13/lib)."""
import glob
import os
import shutil
import sys

NEEDED = ("libcublas.so.13", "libcublasLt.so.13", "libcusolver.so.12", "libcusparse.so.12", "libcufft.so.12", "libnvJitLink.so.13")


def folders():
    """Candidates that exist, the toolkit's first."""
    nvcc = shutil.which("nvcc")
    tops = [os.environ.get("CUDA_HOME", ""), os.path.dirname(os.path.dirname(os.path.realpath(nvcc))) if nvcc else "", "/usr/local/cuda"]
    out = [os.path.join(top, lib) for top in tops if top for lib in ("lib64", "targets/x86_64-linux/lib", "lib")]
    for path in [*sys.path, *glob.glob("/opt/*/.venv/lib/python3*/site-packages")]:
        out += [os.path.join(path, "nvidia/cu13/lib"), *sorted(glob.glob(os.path.join(path, "nvidia/*/lib")))]
    return [f for f in dict.fromkeys(map(os.path.realpath, out)) if os.path.isdir(f)]


def find():
    """(folders that hold a needed library, the needed ones that none holds)."""
    used, missing = [], []
    for name in NEEDED:
        holder = next((f for f in folders() if os.path.exists(os.path.join(f, name))), None)
        if holder is None:
            missing.append(name)
        elif holder not in used:
            used.append(holder)
    return used, missing
