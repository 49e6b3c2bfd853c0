"""The command lines of golden.py. A line of a list is a case, and its name."""

import re
from dataclasses import dataclass
from typing import Iterator

from golden_inputs import CONFIGS, OWN_ARCHITECTURES

RECIPES = ("offset bigram-head embedding unigram induction spread asymmetry random zero-proj orthogonal mimetic "
           "invariants").split()
ARCHITECTURES = "nanogpt nanogpt-rope gpt2 llama neox".split()
WORDS = "--corpus words.txt --tokenizer words --vocab-size 400"
TOKENS = "--corpus tokens.bin --format u16 --doc-sep-id 0 --vocab-size 260"
SMALL = "--layers 3 --heads 4 --d-model 64 --context 64"
WIDE = "--layers 4 --heads 4 --d-model 96 --context 64"
SIDES = {"words": f"{WORDS} {SMALL}", "tokens": f"{TOKENS} {WIDE}"}
MODELS = {"words": "--arch nanogpt", "tokens": "--arch llama --kv-heads 2 --mlp-width 256"}
ROTARY = {"words": "--arch nanogpt-rope", "tokens": "--arch neox"}

OFFSET = """
--control shuffled
--control reversed
--estimator tucker
--estimator tucker --control shuffled
--estimator tucker --control reversed
--estimator tucker --kappa 5
--induction
--induction --estimator tucker
--induction --offset-lags 2
--induction --control reversed
--zero-outputs
--stream-scale 1
--stream-scale 20 --zero-outputs
--background invariants
--background mimetic
--background orthogonal
--background zero
--recency 0
--recency 6
--prior-sharpness 3
--offset-lags 1
--offset-lags 5
--offset-lags 3 --offset-layers 0,1,2
--offset-lags 3 --offset-layers 1,1,2
--source-dims 12
--position-frequencies 6
--sharpness 10
--write-norm 0.5
--alpha 0.5
--kappa 5
--ridge 0.1
--alpha 0.5 --kappa 5 --ridge 0.1
--dtype f16
--dtype bf16
--save-heads
--init-std 0.05
--rope-base 500
--seed 7
--lags 1
--lags 4
--strategy dense
--strategy striped
--strategy sparse
--model-vocab-size 448
--head-dim 20
--heads 8 --kv-heads 8
--mlp-width 2048
--recipe bigram-head --estimator tucker
--recipe bigram-head --control shuffled
--recipe bigram-head --offset-lags 2
--recipe embedding --seed 7
--recipe embedding --background mimetic
--recipe unigram --zero-outputs
--recipe induction --recency 4 --save-heads
--recipe induction --prior-sharpness 2 --seed 7
"""
SPREAD = """
--expand none
--expand none --directions haar
--expand temper
--expand temper --pr-target 10
--expand whiten
--expand whiten --pr-target 12
--expand stack
--expand stack --stack-modes 2
--expand stack --lags 4 --stack-weights 1,0.5,0.25,0.125
--pr-target 12
--directions haar
--directions haar --seed 7
--layer-lags 1,2,2
--layer-lags 1,2,2,4
--layer-lags 1,1,1 --lags 1
--layer-lags 1,1,1,1 --lags 1
--lags 1
--lags 4
--sign paper
--noise 0
--noise 0.5
--strength 2
--no-embedding
--embedding mobius
--embedding {side}.npy
--embedding {side}.safetensors --embedding-tensor table
--null-tokens 0
--null-tokens 5000
--dtype f16
--dtype bf16
--save-heads
--seed 7
--init-std 0.05
--rope-base 500
--strategy dense
--strategy striped
--strategy sparse
--model-vocab-size 448
"""
OTHERS = """
--recipe asymmetry --sign causal
--recipe asymmetry --noise 0 --save-heads
--recipe asymmetry --directions haar
--recipe asymmetry --embedding mobius
--recipe asymmetry --seed 7
--recipe mimetic --mimetic-key 0.5 --mimetic-value 0.1
--recipe mimetic --save-heads
--recipe random --seed 7 --dtype bf16
--recipe random --no-embedding
--recipe random --init-std 0.05
--recipe zero-proj --mlp-width 100
--recipe orthogonal --seed 7
--recipe invariants --seed 7 --save-heads
"""
COUNTS = ["--lags 1", "--lags 4", "--lags 8", "--strategy dense", "--strategy striped", "--strategy sparse"]
# Whole command lines; {words} stands for the flags of one corpus, {model} for a small model.
SINGLE = """
init --corpus words.txt more.txt --vocab-size 300 {model} --recipe spread
init --corpus words.txt more.txt --vocab-size 300 {model}
init --corpus words.txt --vocabulary prepared/vocab.json {model}
init --corpus more.txt --vocabulary prepared/vocab.json {model} --recipe asymmetry
init --corpus unicode.txt --tokenizer bytes {model}
init --corpus unicode.txt --tokenizer bytes {model} --recipe spread
init --corpus broken.txt --tokenizer bytes --utf8 replace {model}
init --corpus broken.txt --tokenizer bytes {model}
init --corpus tokens.u32 --format u32 --doc-sep-id 0 --vocab-size 260 {model} --recipe spread
init --corpus ids.npy --doc-sep-id 0 --vocab-size 260 {model} --recipe bigram-head
init --corpus tokens.llmc --format llmc --vocab-size 260 {model}
init --counts prepared/counts.safetensors {model}
init --counts prepared/counts.safetensors {model} --recipe spread
init --counts prepared/counts.safetensors {model} --estimator tucker
init --counts prepared/counts.safetensors {model} --alpha 1 --kappa 2 --ridge 1
init --counts prepared/counts.safetensors {model} --control reversed --estimator tucker
init --counts prepared/counts.safetensors {model} --control shuffled
init --counts prepared/counts.safetensors {model} --recipe random
init --counts prepared/counts.safetensors {words} {model}
init --config run.yaml
init --config run.yaml --seed 7 --recipe asymmetry
init --config prepared/run/manifest.json
init --config prepared/run/manifest.json --corpus more.txt
count --corpus words.txt more.txt --vocab-size 300
count --corpus unicode.txt --tokenizer bytes
count --corpus broken.txt --vocab-size 300
count --corpus broken.txt --vocab-size 300 --utf8 replace
count --corpus ids.npy --doc-sep-id 0 --vocab-size 260
count --corpus ids.npy
count --corpus tokens.llmc --format llmc --vocab-size 300
init {model} --recipe mimetic
init {model} --recipe random --model-vocab-size 300
init {model}
init {words} --arch nanogpt
init {words} --arch unheard-of --layers 2
init {words} --arch nanogpt --layers 2 --heads 5 --d-model 64
init {words} {model} --kv-heads 2
init {words} {model} --recipe unheard-of
init {words} {model} --expand temper
init {words} {model} --mimetic-key 1
init {words} {model} --offset-layers 0,9
init {words} {model} --offset-lags 9
init {words} {model} --source-dims 900
init {words} {model} --recipe random --induction
init {words} {model} --recipe spread --embedding tokens.npy
init {words} {model} --recipe spread --embedding missing.npy
init {words} {model} --recipe spread --stack-weights 1,2 --expand stack
init {words} {model} --recipe spread --pr-target 900
init {words} {model} --memory 1M
init {words} {model} --corpus-hash 0123
init --corpus missing.txt {model}
count --corpus tokens.bin --format u16 --vocab-size 20
plan --tokens 1000000 --vocab-size 300 {model}
"""


@dataclass(frozen=True)
class Case:
    """`text`: what it prints is recorded too."""

    name: str
    words: str
    text: bool = False


def named(group: str, start: str, flags: str, **values: str) -> Case:
    """Its name is `flags`, which replace those of `start`; `values` are what is in braces."""
    for flag in re.findall(r"--\S+", flags):
        start = re.sub(rf"{flag} \S+ ?", "", start)
    name = "_".join(re.sub(r"--|[{}]", "", flags).replace("/", ":").split())
    return Case(f"{group}/{name}", f"{start} {flags.format(**values)}", text=flags.startswith("plan"))


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


def side_cases(side: str) -> Iterator[Case]:
    """Every recipe in every architecture, and every flag, on one of the two corpora."""
    for arch in ARCHITECTURES:
        for recipe in RECIPES:
            yield Case(f"{side}/{arch}/{recipe}", f"init {SIDES[side]} --arch {arch} --recipe {recipe}")
    for recipe in RECIPES:
        yield Case(f"{side}/grouped/{recipe}", f"init {SIDES[side]} {MODELS['tokens']} --recipe {recipe}")
    for flags in lines(OFFSET) + lines(OTHERS):
        yield named(f"{side}/offset", f"init {SIDES[side]} {MODELS[side]}", flags)
    for flags in lines(SPREAD):
        yield named(f"{side}/spread", f"init {SIDES[side]} {ROTARY[side]} --recipe spread", flags, side=side)
    for flags in COUNTS:
        yield named(f"{side}/count", f"count {WORDS if side == 'words' else TOKENS}", flags)


def text_cases(side: str) -> Iterator[Case]:
    for recipe in ("offset", "spread", "induction", "random"):
        start = f"{SIDES[side]} {MODELS['tokens']} --recipe {recipe}"
        yield Case(f"{side}/text/{recipe}", f"init {start}", text=True)
        yield Case(f"{side}/text/{recipe}/json", f"init {start} --json", text=True)
        yield Case(f"{side}/text/{recipe}/plan", f"plan {start}", text=True)
        yield Case(f"{side}/text/{recipe}/plan-json", f"plan {start} --json", text=True)


def all_cases() -> Iterator[Case]:
    for side in SIDES:
        yield from side_cases(side)
        yield from text_cases(side)
    for line in lines(SINGLE):
        yield named("single", "", line, words=WORDS, model=f"--arch nanogpt {SMALL}")
    for recipe in ("offset", "spread", "induction --zero-outputs", "random"):
        for name in CONFIGS:
            yield named(f"config/{name}", f"init {WORDS} --model-config {name}.json", f"--recipe {recipe}")
        for name in OWN_ARCHITECTURES:
            yield named(f"arch/{name}", f"init {TOKENS} {WIDE} --mlp-width 200 --arch {name}.json", f"--recipe {recipe}")
    yield Case("text/count", f"count {WORDS}", text=True)
    yield Case("text/count-json", f"count {TOKENS} --json", text=True)
    for name in ("counts.safetensors", "vocab.json", "run/manifest.json", "run/init.safetensors", "run/factors.safetensors"):
        yield Case(f"text/inspect/{name}", f"inspect prepared/{name}", text=True)
        yield Case(f"text/inspect-json/{name}", f"inspect prepared/{name} --json", text=True)
    for command in ("", "init ", "count ", "plan ", "inspect "):
        yield Case(f"text/help/{command.strip() or 'aloft'}", f"{command}--help", text=True)
