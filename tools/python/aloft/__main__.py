"""python -m aloft attention | complete | convert | trial | papers | report"""

import argparse
import errno
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from . import __version__
from .errors import AloftError, UsageError


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; errors become a line on stderr and the exit code that the README lists."""
    try:
        arguments = _parser().parse_args(words)
        return COMMANDS[arguments.command](arguments)
    except KeyboardInterrupt:
        print("aloft: interrupted; the same command again goes on", file=sys.stderr)
        return 5
    except (AloftError, OSError, MemoryError) as error:
        print("aloft:", _line(error), file=sys.stderr)
        return exit_code_of(error)


def _line(error: Exception) -> str:
    """One line, which says what even where Python's message is empty."""
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = " ".join(str(error).split()) or type(error).__name__
    return _shown(text)


def _shown(text: str) -> str:
    """Names and contents of files come along: what a terminal would obey is shown as an escape."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def exit_code_of(error: AloftError | OSError | MemoryError) -> int:
    """The one place where errors become exit codes."""
    if isinstance(error, AloftError):
        return error.exit_code
    if isinstance(error, MemoryError) or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM):
        return 4
    return 3


class _Parser(argparse.ArgumentParser):
    """argparse's own error() prints the usage too: two lines and more."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="aloft", description=__doc__)
    parser.add_argument("--version", action="version", version=f"aloft {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_attention(commands)
    complete = commands.add_parser("complete", help="a Hugging Face checkpoint with the designed tensors replaced")
    complete.add_argument("base", help="folder of the base checkpoint (safetensors)")
    complete.add_argument("init", help="init.safetensors, or the run's folder")
    complete.add_argument("output", help="folder to write")
    complete.add_argument("--partial", action="store_true", help="the base may have layers that init.safetensors does not hold")
    convert = commands.add_parser("convert", help="a PyTorch file or a GGUF becomes a folder with safetensors and config.json")
    convert.add_argument("input", help=".pt, .pth, .bin (a state dict, or nanoGPT's checkpoint) or .gguf")
    convert.add_argument("output", help="folder to write")
    convert.add_argument("--dtype", choices=["f32", "bf16"], default="f32", help="of the tensors that are written (default f32)")
    convert.add_argument("--quiet", action="store_true", help="no progress on stderr")
    presets = sorted(path.stem for path in (Path(__file__).parent / "trial" / "presets").glob("*.yaml"))
    trial = commands.add_parser("trial", help="train small models from several inits and compare them")
    trial.add_argument("spec", help=f"{', '.join(presets)}, or a YAML file")
    trial.add_argument("--output", required=True, help="folder; a stopped trial goes on from there")
    trial.add_argument("--text", help="corpus: UTF-8 text, or .jsonl with a document a line")
    trial.add_argument("--program", default="build/release/aloft", help="the aloft program")
    trial.add_argument("--workers", type=int, help="jobs at a time (default: one a processor)")
    trial.add_argument("--threads", type=int, default=1, help="of each job (default 1; more jobs are faster than more threads)")
    trial.add_argument("--arms", help="a,b,c: run these arms alone; the table has whatever is there")
    trial.add_argument("--minutes", type=float, help="start no job after so many minutes")
    trial.add_argument("--quiet", action="store_true", help="no progress on stderr while a job trains")
    papers = commands.add_parser("papers", help="the two source papers again: their models, embedding, injection")
    papers.add_argument("--text", required=True, help="corpus: UTF-8 text, or .jsonl with a document a line")
    papers.add_argument("--output", required=True, help="folder; what was stopped goes on from there")
    papers.add_argument("--program", default="build/release/aloft", help="the aloft program")
    papers.add_argument("--steps", type=int, default=2000, help="of each training (default 2000, as in the papers)")
    papers.add_argument("--batch", type=int, default=8, help="windows of 256 tokens a step (default 8)")
    papers.add_argument("--peak", type=float, default=0.002, help="learning rate after warm-up (default 0.002)")
    papers.add_argument("--embedding-norm", type=float, default=1.0, help="length of a row of the frozen embedding (default 1)")
    papers.add_argument("--embedding-vocab", type=int, help="ids that get a row of the papers' embedding, the most frequent (default: all)")
    papers.add_argument("--injection-seeds", type=int, default=3, help="seeds of the injection experiment (default 3)")
    papers.add_argument("--seed", type=int, default=0, help="of weights and batches (default 0)")
    papers.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    papers.add_argument("--only", help="a,b: these steps alone, of corpus, sgd, crystallised, injection, analysis, attention, page; "
                                       "others may run beside")
    papers.add_argument("--quiet", action="store_true", help="no progress on stderr")
    report = commands.add_parser("report", help="report.html, one page to read, of an output folder of analyze, init or a trial")
    report.add_argument("folder", help="what `aloft analyze`, `aloft init` or `python -m aloft trial` wrote")
    report.add_argument("--output", help="file to write (default: report.html in the folder)")
    return parser


def _add_attention(commands: "argparse._SubParsersAction[_Parser]") -> None:
    attention = commands.add_parser("attention", help="what each head looks at when a checkpoint reads tokens, with nulls")
    attention.add_argument("checkpoint", help="Hugging Face folder, or a checkpoint of `aloft papers`")
    attention.add_argument("--ids", help="token ids, the model's: raw, little-endian")
    attention.add_argument("--format", choices=["u16", "u32", "u64"], help="of the ids (default: the file's extension)")
    attention.add_argument("--text", help="UTF-8 text, where the checkpoint has a tokenizer.json")
    attention.add_argument("--output", required=True, help="folder, the analysis' for one: attention.json and CSV files go there")
    attention.add_argument("--windows", type=int, default=16, help="of the text (default 16; below 7 no head can be labelled)")
    attention.add_argument("--length", type=int, help="tokens of a window, an even number (default: the context, at most 256)")
    attention.add_argument("--seed", type=int, default=0, help="of windows and random tokens (default 0)")
    attention.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    attention.add_argument("--force", action="store_true", help="replace a former attention.json")
    attention.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _attention(arguments: argparse.Namespace) -> int:
    _interrupted_by_signals()
    try:
        from .attention.run import main as run
    except ModuleNotFoundError as error:
        raise AloftError(f"attention needs {error.name}, which is not installed: pip install 'tools/python[attention]'") from None
    try:
        run(arguments)
    except KeyboardInterrupt:
        print("aloft: interrupted: nothing was written", file=sys.stderr)
        return 5
    return 0


def _complete(arguments: argparse.Namespace) -> int:
    from .checkpoint import complete_checkpoint, left_out

    replaced = complete_checkpoint(arguments.base, arguments.init, arguments.output, partial=arguments.partial)
    for name in left_out(arguments.base):
        print(f"aloft: note: {name} was not copied: it holds the base's weights", file=sys.stderr)
    print(f"{arguments.output}: {len(replaced)} tensors replaced")
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    from .convert import convert_checkpoint

    *notes, done = convert_checkpoint(arguments.input, arguments.output, dtype=arguments.dtype.upper(), progress=not arguments.quiet)
    for note in notes:
        print("aloft:", _shown(note), file=sys.stderr)
    print(_shown(done))
    return 0


def _trial(arguments: argparse.Namespace) -> int:
    _interrupted_by_signals()
    try:
        from .trial.run import main as run
    except ModuleNotFoundError as error:
        raise AloftError(f"a trial needs {error.name}, which is not installed: pip install 'tools/python[trial]'") from None
    run(arguments)
    return 0


def _papers(arguments: argparse.Namespace) -> int:
    _interrupted_by_signals()
    try:
        from .papers.run import main as run
    except ModuleNotFoundError as error:
        raise AloftError(f"papers needs {error.name}, which is not installed: pip install 'tools/python[trial]'") from None
    run(arguments)
    return 0


def _interrupted_by_signals() -> None:
    for end in (signal.SIGTERM, signal.SIGHUP):  # a cluster's way to stop a job is a key that interrupts
        if signal.getsignal(end) is not signal.SIG_IGN:  # nohup
            signal.signal(end, signal.default_int_handler)


def _report(arguments: argparse.Namespace) -> int:
    from .report import write_report

    print(write_report(arguments.folder, arguments.output))
    return 0


COMMANDS = {"attention": _attention, "complete": _complete, "convert": _convert, "papers": _papers, "report": _report, "trial": _trial}

if __name__ == "__main__":
    sys.exit(main())
