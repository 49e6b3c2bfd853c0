"""python -m aloft complete | trial"""

import argparse
import sys


def main():
    parser = argparse.ArgumentParser(prog="aloft", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    complete = commands.add_parser("complete", help="a Hugging Face checkpoint with the designed tensors replaced")
    complete.add_argument("base", help="folder of the base checkpoint (safetensors)")
    complete.add_argument("init", help="init.safetensors")
    complete.add_argument("output", help="folder to write")
    trial = commands.add_parser("trial", help="train small models from several inits and compare them")
    trial.add_argument("spec", help="smoke, small, small-gpt2, full, or a YAML file")
    trial.add_argument("--output", required=True, help="folder; a stopped trial goes on from there")
    trial.add_argument("--text", help="corpus (UTF-8 text)")
    trial.add_argument("--program", default="build/release/aloft", help="the aloft program")
    trial.add_argument("--workers", type=int, help="jobs at a time (default: one a processor)")
    trial.add_argument("--minutes", type=float, help="start no job after so many minutes")
    arguments = parser.parse_args()
    if arguments.command == "complete":
        from .checkpoint import complete_checkpoint

        try:
            replaced = complete_checkpoint(arguments.base, arguments.init, arguments.output)
        except (ValueError, OSError) as error:
            print(f"aloft: {error}", file=sys.stderr)
            return 3
        print(f"{arguments.output}: {len(replaced)} tensors replaced")
        return 0
    from .trial.run import main as run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
