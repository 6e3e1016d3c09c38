#!/usr/bin/env python3
"""Ours against what people use, on this machine, in one run.

Usage: compare.py --bin build/release/bin [--case NAME] [--rows 1,256]
                  [--threads N] [--seconds S] [--json]

Measures a built-in case with `fffctl benchmark --in-process` and the peers that
are present: the public algorithm with level-1 BLAS calls on OpenBLAS
(blas_walk.cc, one thread) and PyTorch's batched gather (torch_gather.py). A
peer that is not installed, or that does not do the case, is left out with a
line that says so.
"""

import argparse
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
NOT_POSSIBLE = 77
# Debian's python3-torch belongs to this interpreter, whatever `python3` is.
PYTHON = "/usr/bin/python3"


def run(command):
    return subprocess.run([str(word) for word in command], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def result_of(command, name):
    """The peer's JSON, or None when it cannot take part."""
    try:
        done = run(command)
    except FileNotFoundError as error:
        print(f"left out: {name}: {error.filename} is not there", file=sys.stderr)
        return None
    if done.returncode == NOT_POSSIBLE:
        print(f"left out: {name}: {done.stderr.strip()}", file=sys.stderr)
        return None
    if done.returncode != 0:
        sys.exit(f"{name} failed ({done.returncode}): {done.stderr.strip()}")
    return json.loads(done.stdout)


def cases(bin_dir):
    if not (bin_dir / "fffctl").is_file():
        sys.exit(f"--bin: no fffctl in {bin_dir}")
    done = run([bin_dir / "fffctl", "benchmark", "--list-cases", "--json"])
    if done.returncode != 0:
        sys.exit(done.stderr.strip())
    return {case["case"]: case for case in json.loads(done.stdout)["cases"]}


def ours(options, rows):
    report = result_of(
        [options.bin / "fffctl", "benchmark", "--in-process",
         f"--case={options.case}", f"--rows={rows}",
         f"--threads={options.threads}", f"--seconds={options.seconds}",
         "--json"], "fffctl")
    return [{"peer": f"this project: {side['kernel']}", "rows": rows,
             "threads": options.threads, "median_s": side["median_s"],
             "samples": side["samples"]}
            for side in (report["fff"], report["dense"])]


def peers(options, case, rows):
    found = []
    if case["convention"] in ("ultrafastbert-bmm", "sap-fff"):
        gelu = case["convention"] == "ultrafastbert-bmm"
        found.append(result_of(
            [options.bin / "peer_blas_walk", case["input_width"],
             case["output_width"], case["depth"] + (1 if gelu else 0),
             "gelu" if gelu else "identity", rows, options.seconds],
            "OpenBLAS walk"))
    found.append(result_of(
        [PYTHON, HERE / "torch_gather.py", json.dumps(case), rows,
         options.threads, options.seconds], "PyTorch gather"))
    return [result for result in found if result]


def row_counts(text):
    try:
        return [int(rows) for rows in text.split(",")]
    except ValueError:
        sys.exit(f"--rows: '{text}' is no list of numbers like 1,256")


def table(results):
    lines = [f"{'rows':>6} {'median':>12} {'against ours':>13}  what"]
    best = {}
    for result in results:
        best.setdefault(result["rows"], result["median_s"])  # ours comes first
        ratio = result["median_s"] / best[result["rows"]]
        lines.append(f"{result['rows']:>6} {result['median_s'] * 1e6:>9.1f} µs "
                     f"{ratio:>12.2f}x  {result['peer']}, "
                     f"{result['threads']} thread(s)")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--case", default="path-768-l12")
    parser.add_argument("--rows", default="1,16,256,2048")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows_wanted = row_counts(options.rows)
    known = cases(options.bin)
    if options.case not in known:
        sys.exit(f"no case '{options.case}', there are: {', '.join(known)}")
    results = []
    for rows in rows_wanted:
        results += ours(options, rows)
        results += peers(options, known[options.case], rows)
    print(json.dumps({"case": options.case, "results": results}, indent=2)
          if options.json else f"{options.case}\n{table(results)}")


if __name__ == "__main__":
    main()
