"""The step `page`: FOLDER/papers.html and FOLDER/papers.md, every table of both papers beside the run's own numbers."""

import math
from pathlib import Path

from ..report.charts import losses as plot_losses
from ..report.glossary import TERMS
from ..report.page import Cell, Figure, Finding, Page, Table, render, words
from ..report.papers import figures
from ..report.text import grouped, listed, number, percent
from ..unfinished import write_text
from . import first_paper, on_tokens, second_paper, views
from .markdown import markdown
from .measured import HOLDS, NOT, PART, Both, Part, waiting
from .results import LEAVE_NUMBERS, Numbers, Run, collected
from .settings import Settings

READING = (
    "“Holds”: the paper's statement is true of our trained model, and not of what knows nothing. “Its null”: it is true here, but of "
    "random weights, shuffled text or the untrained model as well, so it says nothing of training or text. “In part”: some of it is true "
    "here. “Not here”: it is not true of our model. An effect is what chance gives in fewer than one of a hundred such tables."
)


def write_pages(run: Run) -> None:
    """Of all that is there; what is not is said."""
    page = page_of(run, collected(run))
    write_text(run.folder / "papers.html", render(page))
    write_text(run.folder / "papers.md", markdown(page))


def page_of(run: Run, numbers: Numbers) -> Page:
    both = Both(run.folder)
    parts = [
        *first_paper.parts(both, numbers),
        losses(numbers),
        views.correlations(both),
        views.bands(both),
        second_paper.profiles(both),
        second_paper.norms(both),
        second_paper.low_rank(both),
        second_paper.direction(both),
        second_paper.drift(both),
        views.tests(both),
        views.invariants(both),
        on_tokens.part(numbers),
    ]
    findings = [Finding(p.verdict, f"{p.title}. {p.says.partition('. ')[0].removesuffix('.')}.") for p in parts if p.verdict]
    return Page(
        "The two papers, done again",
        "their tables beside a model trained here, an untrained one, and what knows nothing",
        facts(run, numbers),
        READING,
        findings,
        [p.section for p in parts],
        TERMS,
    )


def facts(run: Run, numbers: Numbers) -> list[tuple[str, str]]:
    s, settings, text = run.settings, numbers["settings"], numbers.get("corpus")
    shape, tokens, name = s.shape, s.steps * settings["tokens_a_step"], Path(run.trial.spec["corpus"]["text"]).name
    out = [
        (
            "model",
            f"{shape.style}: {shape.layers} layers, {shape.heads} heads, width {shape.width}, context {shape.context}, "
            f"{grouped(shape.vocab)} ids, "
            f"tied head, {number(settings['parameters'] / 1e6, 2)} million parameters; one all trained (sgd), one with the "
            "papers' embedding, frozen "
            "(crystallised)",
        ),
        (
            "text",
            name
            + (
                f": {grouped(text['train_tokens'])} tokens to train on and to count, {grouped(text['held_tokens'])} held out"
                if text
                else ""
            ),
        ),
        (
            "training",
            f"{grouped(s.steps)} steps of {s.batch} windows of {shape.context} tokens: {grouped(tokens)} tokens a model"
            + (f", {number(tokens / text['train_tokens'])} of a pass through the text" if text else "")
            + f"; AdamW, peak rate {s.peak:g}, seed {s.seed}",
        ),
    ]
    took = {arm: numbers[arm]["seconds_a_step"] * s.steps for arm in ("sgd", "crystallised") if numbers.get(arm, {}).get("seconds_a_step")}
    for step in ("analysis", "attention"):
        took |= {f"{step} {name}": made["seconds"] for name, made in numbers.get(step, {}).items()}
    if took:
        seconds = ", ".join(f"{what} {grouped(math.ceil(x))}" for what, x in took.items())
        out.append(("seconds", f"{seconds} ({s.threads} thread{'s' if s.threads > 1 else ''})"))
    lacking = [step for step in LEAVE_NUMBERS if step not in numbers]
    if lacking:
        out.append(("not yet", f"finished: {listed(lacking)}"))
    return [
        *out,
        (
            "smaller",
            f"than in the papers: {listed(smaller(s)) if smaller(s) else 'nothing that they state'}; they do not state "
            "batch, rate, optimiser "
            "and the size of the embedding's rows",
        ),
        ("command", command(s, name)),
    ]


def smaller(s: Settings) -> list[str]:
    paper = figures()["second"]["settings"]
    here = (("layers", s.shape.layers), ("width", s.shape.width), ("vocab", s.shape.vocab), ("steps", s.steps))
    out = [
        f"{grouped(ours)} {'ids' if name == 'vocab' else name} instead of {grouped(paper[name])}"
        for name, ours in here
        if ours < paper[name]
    ]
    if s.embedded < s.shape.vocab:
        out.append(
            f"the embedding has rows for {grouped(s.embedded)} ids, the others' are random (the papers' counts cover "
            f"{grouped(paper['embedding_rows'])} ids)"
        )
    return out


FLAGS = ("steps", "batch", "peak", "seed", "embedding_norm", "embedding_vocab", "injection_seeds", "threads")


def command(s: Settings, text: str) -> str:
    """What repeats the run: the flags that are not the default's."""
    usual = Settings()
    given = [name for name in FLAGS if getattr(s, name) not in (None, getattr(usual, name))]
    return " ".join(
        [f"python -m aloft papers --text {text} --output papers", *(f"--{name.replace('_', '-')} {getattr(s, name)}" for name in given)]
    )


def losses(numbers: Numbers) -> Part:
    title, paper = "Paper 2: losses", figures()["second"]["losses"]
    lacking = [name for name in ("sgd", "crystallised") if name not in numbers]
    if lacking:
        return waiting(title, listed(lacking))
    sgd, crystallised, known = numbers["sgd"], numbers["crystallised"], numbers.get("corpus", {})
    uniform, steps = math.log(numbers["settings"]["vocab"]), grouped(numbers["settings"]["steps"])
    gap, starts = math.expm1(crystallised["final"] - sgd["final"]), uniform - crystallised["initial"]
    rows = [
        [
            words(name),
            Cell(number(theirs), "paper"),
            Cell(number(known_as, 1), "paper"),
            Cell(number(x)),
            Cell(number(math.exp(x), 1)),
        ]
        for name, theirs, known_as, x in (
            (name, paper[key], paper["perplexities"][key], x)
            for name, key, x in (
                ("random init (no training)", "random", sgd["initial"]),
                ("the papers' embedding (no training)", "embedding", crystallised["initial"]),
                (f"the papers' embedding + {steps} steps", "crystallised", crystallised["final"]),
                (f"full SGD, {steps} steps", "sgd", sgd["final"]),
            )
        )
    ]
    rows.append([words("gap"), Cell("", "paper"), Cell(f"{paper['gap_percent']}%", "paper"), Cell(""), Cell(percent(gap))])
    levels = {"uniform guess": uniform} | {
        words_of: known[name] for words_of, name in (("word frequencies", "unigram"), ("pairs of words", "bigram")) if name in known
    }
    rows += [
        [words(f"null: {name}"), Cell(""), Cell(""), Cell(number(x), "null"), Cell(number(math.exp(x), 1), "null")]
        for name, x in levels.items()
    ]
    table = Table(
        "Loss (nats a token) and perplexity on held-out text",
        ["method", "paper", "perplexity", "ours", "perplexity"],
        rows,
        (),
        "Nulls: a uniform guess, and smoothed tables of counts, on the same windows.",
    )
    begins, ends = starts > 0.5, abs(gap) < 0.05
    where = f"{number(abs(starts), 2)} {'below' if starts > 0 else 'above'}" if abs(starts) > 0.005 else "at"
    says = (
        f"Untrained, the papers' embedding has a loss of {number(crystallised['initial'])}, {where} a uniform guess (paper: 1.65 below)"
        + (f"; word frequencies alone give {number(known['unigram'])}" if "unigram" in known else "")
        + f". After {steps} steps it is {percent(abs(gap))} {'worse' if gap > 0 else 'better'} in perplexity than full SGD "
        "(paper: 2.7% worse)"
        f"{'' if ends else ', which is not level'}."
    )
    if "bigram" in known:
        best = min(sgd["final"], crystallised["final"]) - known["bigram"]
        says += f" The better of the two is {number(abs(best), 2)} {'above' if best > 0 else 'below'} a table of pairs."
    return Part(title, says, HOLDS if begins and ends else PART if begins or ends else NOT, [table], [_curves(numbers, levels)])


def _curves(numbers: Numbers, levels: dict[str, float]) -> Figure:
    curves = {name: [(float(step), float(loss)) for step, loss in numbers[name]["history"]] for name in ("sgd", "crystallised")}
    seen = [loss for points in curves.values() for _, loss in points if math.isfinite(loss)]
    return Figure(
        "Losses",
        plot_losses(curves, "Held-out loss against steps", levels, (min(seen) - 0.3, max(seen) + 0.3)),
        "Dotted: a uniform guess, and what tables of counts give.",
    )
