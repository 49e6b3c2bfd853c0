#!/usr/bin/env python3
"""Stage times and memory of the main job on English text: medians of several runs, as a Markdown table.

    python3 profiles/main_job.py --aloft build/release/aloft --runs 5

The text is the first 9,000,000 bytes of Perl's manual pages (Debian's perl-doc, files in the order of their paths), or --text.
Time it on a quiet machine.
"""
import argparse
import glob
import json
import os
import resource
import statistics
import subprocess
import tempfile

FLAGS = "--tokenizer words --vocab-size 8192 --arch nanogpt-rope --layers 8 --heads 8 --d-model 256 --lags 8 --recipe spread --expand pareto --pr-target 30 --seed 0".split()


def text_of_manual_pages():
    pages = sorted(glob.glob("/usr/share/perl/[0-9]*.[0-9]*.[0-9]*/**/*.pod", recursive=True))
    text = b"".join(open(page, "rb").read() for page in pages)[:9_000_000]
    return text.decode("utf8", "ignore").encode()


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--aloft", default="build/release/aloft")
    flags.add_argument("--text")
    flags.add_argument("--threads", default="0")
    flags.add_argument("--runs", type=int, default=5)
    flags = flags.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = flags.text or os.path.join(folder, "text.txt")
        if not flags.text:
            with open(path, "wb") as out:
                out.write(text_of_manual_pages())
        walls, runs = [], []
        for k in range(flags.runs):
            before = os.times().elapsed
            command = [flags.aloft, "init", "--corpus", path, *FLAGS, "--threads", flags.threads, "--output", f"{folder}/run{k}", "--json", "--quiet"]
            runs.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
            walls.append(os.times().elapsed - before)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"{os.path.getsize(path)} bytes, {runs[0]['corpus']['tokens']} tokens, V = {runs[0]['corpus']['vocab']}; median of {flags.runs} runs\n")
    print("| stage | seconds |\n|---|---|")
    for k, stage in enumerate(runs[0]["stages"]):
        print(f"| {stage['name']} | {statistics.median(r['stages'][k]['seconds'] for r in runs):.2f} |")
    print(f"| **whole program** | **{statistics.median(walls):.2f}** (fastest {min(walls):.2f}, slowest {max(walls):.2f}) |\n\nPeak memory: {peak:.0f} MiB")


if __name__ == "__main__":
    main()
