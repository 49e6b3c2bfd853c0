"""What tools/gpu_check.sh does, as data: its steps in order, each a list of jobs, and which programs and folders they use."""
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

import report

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

# Suites that run once a backend: their names end in the backend's.
ALONE = "*FullMemory*"  # takes all of the GPU's memory: not beside other shards
PLANS = "*Measured*/cuda:*RunMemory*/cuda"  # what a stage says it takes against what it took: about sizes, not results
CONFORMANCE = f"*/cuda:Backends.*:-{ALONE}:{PLANS}"
SHARDS = 8
# Sanitizers make a kernel 10 to 1000 times slower: only the suites of the contract itself and of the chunk feed, in which every kernel
# and every copy occurs, without the tests whose point is a large input.
OWN_SUITES = ("CountOpsConformance", "CountEdges", "CsrAdd", "CsrSubtract", "ElementwiseOps", "FillNormal", "ChunkFeedOn")
VENDOR_SUITES = ("AnalysisOps", "BlockOps", "DenseOps", "SoftmaxOps", "SparseOps", "SpectrumOps", "SkewSpectrum", "FourierOps")  # these call cuBLAS, cuSPARSE, cuSOLVER, cuFFT
TOO_LARGE = "-*ThreadCount*:*Largest*"
SANITIZERS = {"memcheck": 60, "racecheck": 90, "synccheck": 40, "initcheck": 30}

BENCHMARKS = {
    "counting": (40, ["B1_zipf_V256", "B1_text_V256", "B2_zipf_V16384", "B2_text_V16384", "B3_zipf_V131072", "B3_text_V131072"]),
    "projection": (25, ["B4_zipf_V50257_d1024", "B4_text_V50257_d1024"]),
    "spectra": (50, [f"B5_{kind}_d{d}_batch{batch}{vectors}" for kind in ("antisymmetric", "general") for batch in (8, 64)
                     for d in (256, 512, 1024) for vectors in ("", "_vectors") if kind == "antisymmetric" or batch * d <= 8 * 512]),
}
TOO_SLOW = {"B5_general_d1024_batch8", "B5_general_d1024_batch8_vectors"}  # seconds a matrix: not worth the GPU's time
COMPARED_SPECTRA = "^B5_antisymmetric_(d256_batch64|d512_batch8)|^B5_general_d512_batch8"  # a peer takes a second a batch
PROFILED = ("B1_zipf_V256", "B2_zipf_V16384")
REHEARSAL_SCALE = 14
HOT_KERNELS = "regex:count_pairs|increment_random"  # the counting kernels, and the plain random increments they are measured against


@dataclass
class Job:
    name: str
    command: list
    limit: int = 0  # seconds; 0: as long as the step has
    made: str = ""  # a file that this job writes; removed before it starts, so that an old one never passes for a new one
    environment: dict = field(default_factory=dict)  # on top of the step's


@dataclass
class Step:
    name: str
    limit: int  # seconds
    jobs: list
    side_by_side: int = 1
    gate: bool = False  # decides the exit code
    needs: str = ""  # a program, or a file that an earlier step made
    python: bool = False  # runs Python's own libraries: without the bundle's on the search path


@dataclass
class Places:
    """Where things are. data: what jobs write and the report reads, in the folder of the results."""

    programs: str  # the folder of aloft, aloft_tests and aloft_benchmarks
    data: str
    text: str
    scratch: str  # inputs of the peers, runs, token files: gigabytes, not kept
    rehearsal: bool = False  # everything as it will be, but small: for stand-ins that have no GPU

    def scale(self):
        return ["--scale", str(REHEARSAL_SCALE)] if self.rehearsal else []

    def program(self, name):
        return os.path.join(self.programs, name)


def gtest(places, name, pattern, prefix=(), environment=None):
    made = os.path.join(places.data, name.replace(" ", "_") + ".json")
    command = [*prefix, places.program("aloft_tests"), f"--gtest_filter={pattern}", "--gtest_brief=1", f"--gtest_output=json:{made}"]
    return Job(name, command, made=made, environment={"ALOFT_EXPECT_BACKEND": "cuda", **(environment or {})})


def conformance(places):
    shards = [gtest(places, f"conformance {k}", CONFORMANCE, environment={"GTEST_TOTAL_SHARDS": str(SHARDS), "GTEST_SHARD_INDEX": str(k), "OMP_NUM_THREADS": "2"})
              for k in range(SHARDS)]
    return Step("conformance", 50, shards, side_by_side=SHARDS, gate=True, needs=places.program("aloft_tests"))


def full_memory(places):
    return Step("full memory", 20, [gtest(places, "full memory", f"{ALONE}/cuda")], gate=True, needs=places.program("aloft_tests"))


def memory_plan(places):
    return Step("memory plan", 30, [gtest(places, "memory plan", PLANS)], needs=places.program("aloft_tests"))


def kernel_filter():
    """compute-sanitizer's flag for a substring of the kernels' mangled names: --kernel-regex became --kernel-name."""
    try:
        known = subprocess.run(["compute-sanitizer", "--help"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        known = ""
    return "--kernel-regex" if "--kernel-regex" in known and "--kernel-name " not in known else "--kernel-name"


def sanitizer(places, tool, limit, flag):
    # The vendor's kernels are the vendor's business; memcheck watches what we hand them. initcheck takes memory that an unwatched kernel
    # wrote for uninitialised: no filter, and only suites in which every kernel is ours (or CUB's, compiled with ours).
    prefix = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "99", "--print-limit", "20"]
    if tool in ("racecheck", "synccheck"):
        prefix += [flag, "kns=aloft"]
    suites = OWN_SUITES if tool == "initcheck" else OWN_SUITES + VENDOR_SUITES
    jobs = [gtest(places, f"{tool} {suite}", f"Each/{suite}.*/cuda:{TOO_LARGE}", prefix) for suite in suites]
    return Step(f"sanitizer {tool}", limit, jobs, side_by_side=SHARDS, gate=True, needs="compute-sanitizer")


def scaled(case):
    """The name that aloft_benchmarks --scale REHEARSAL_SCALE gives a case: narrower, but bytes stay bytes."""
    return case if case.startswith("B1") else re.sub(r"([Vd])(\d+)", lambda m: m[1] + str(int(m[2]) >> 5), case)


def benchmarks(places, name):
    """One case a process, so that one that hangs or crashes costs itself alone. The limits inside a case are measured in the same run."""
    limit, cases = BENCHMARKS[name]
    jobs = []
    for case in map(scaled, cases) if places.rehearsal else cases:
        made = os.path.join(places.data, f"benchmark_{case}.json")
        command = [places.program("aloft_benchmarks"), f"--benchmark_filter=^{case}/cuda", f"--benchmark_out={made}", "--benchmark_out_format=json"]
        command += ["--text", places.text, "--write-inputs", f"{places.scratch}/peers", "--write-results", f"{places.scratch}/peers", *places.scale()]
        jobs.append(Job(case, command, limit=max(limit // 2, 20), made=made))
    return Step(f"benchmarks {name}", limit, jobs, needs=places.program("aloft_benchmarks"))


def nsight_compute(places):
    """A group of metrics at a time: a name that this version does not know loses its group alone."""
    jobs = []
    for case in map(scaled, PROFILED) if places.rehearsal else PROFILED:
        for group, metrics in report.METRICS.items():
            made = os.path.join(places.data, f"ncu_{case}_{group}.csv")
            command = ["ncu", "--csv", "--page", "raw", "--print-units", "base", "--clock-control", "none", "--kernel-name-base", "function"]
            command += ["--kernel-name", HOT_KERNELS, "--launch-count", "40", "--kill", "on", "--metrics", ",".join(metrics), "--log-file", made]
            command += [places.program("aloft_benchmarks"), f"--benchmark_filter=^{case}/cuda", *places.scale()]
            jobs.append(Job(f"{case} {group}", command, limit=20, made=made))
    return Step("ncu", 65, jobs, needs="ncu")


def steps(places, quick=False):
    rehearse = ["--rehearse"] if places.rehearsal else []
    probe = [sys.executable, f"{HERE}/probe.py", "--programs", places.programs, "--output", f"{places.data}/probe.json", *places.scale()]
    whole = [sys.executable, f"{HERE}/end_to_end.py", "--aloft", places.program("aloft"), "--text", places.text, "--scratch", places.scratch]
    whole += ["--output", f"{places.data}/end_to_end.json", *(["--quick"] if quick else []), *rehearse]
    peers = []
    for name, cases, deadline in (("tables and products", "^B[1-4]", 25), ("spectra", COMPARED_SPECTRA, 25)):
        made = f"{places.data}/peers_{name.split()[0]}.json"
        command = [sys.executable, f"{ROOT}/profiles/peers.py", "--folder", f"{places.scratch}/peers", "--output", made, "--device", "gpu", "--seconds", "0.2"]
        peers.append(Job(name, [*command, "--deadline", str(deadline), "--lags", "2", "--cases", scaled(cases) if places.rehearsal else cases], limit=40, made=made))
    trial = [sys.executable, f"{HERE}/trial.py", "--aloft", places.program("aloft"), "--text", places.text, "--scratch", places.scratch]
    trial += ["--output", f"{places.data}/trial.json", *rehearse]
    flag = kernel_filter()
    return [
        Step("probe", 20, [Job("probe", probe, made=f"{places.data}/probe.json")]),
        conformance(places),
        full_memory(places),
        memory_plan(places),
        Step("end to end", 120, [Job("end to end", whole, made=f"{places.data}/end_to_end.json")], gate=True, needs=places.program("aloft")),
        *(benchmarks(places, name) for name in BENCHMARKS),
        Step("peers", 65, peers, needs=f"{places.scratch}/peers", python=True),
        nsight_compute(places),
        *(sanitizer(places, tool, limit, flag) for tool, limit in SANITIZERS.items()),
        Step("trial", 60, [Job("trial", trial, made=f"{places.data}/trial.json")], needs=places.program("aloft"), python=True),
    ]


BUILT = ("aloft", "tests/aloft_tests", "aloft_benchmarks")  # where a build has the programs


def build_steps(architecture, build):
    """The fallback without a bundle: builds for the GPU at hand, and links the programs into bin/, as a bundle has them."""
    generator = "Ninja" if shutil.which("ninja") else "Unix Makefiles"
    configure = ["cmake", "-S", ROOT, "-B", build, "-G", generator, "-DCMAKE_BUILD_TYPE=Release", "-DALOFT_CUDA=ON", "-DALOFT_TESTS=ON", "-DALOFT_SIMT=OFF"]
    configure += ["-DALOFT_BENCHMARKS=ON", "-DALOFT_WERROR=OFF", f"-DCMAKE_CUDA_ARCHITECTURES={architecture}-real", "-DCMAKE_CUDA_FLAGS=-lineinfo"]
    keep_going = ["-k", "0"] if generator == "Ninja" else ["-k"]
    compiled = ["cmake", "--build", build, "-j", str(os.cpu_count() or 1), "--target", "aloft", "aloft_tests", "aloft_benchmarks", "--", *keep_going]
    return [
        Step("packages", 60, [Job("packages", [f"{ROOT}/tools/install_dependencies.sh", "--tests", "--benchmarks"])]),
        Step("configure", 30, [Job("configure", configure)], needs="cmake"),
        Step("build", 400, [Job("build", compiled)]),
        Step("programs", 5, [Job("programs", ["sh", "-c", 'mkdir -p "$0/bin" && cd "$0/bin" && ln -sf "$@" .', build, *(f"../{path}" for path in BUILT)])]),
    ]
