#!/usr/bin/env python3
"""Measures the language models of language_model.py here, and prints their table.

    python3 deploy/models/frontier/language_times.py --bin build/release/bin \\
        --networks FOLDER --output deploy/models/frontier/language_model.jsonl

Without --networks it prints the table of the file alone. All networks are served by one
server of one thread, whole and without the decoder. They are measured by `fffctl
benchmark --data` with masked sequences of the test, in turns: every network once per
round. A time is the median over the rounds of their tenth percentiles, which other
processes disturb less than medians. Before, each must answer its example as it did in
training. Writes one line per network: accuracy per seed, times in seconds, and the
seconds of the feedforward in them. Networks in the folder of --longer had more steps; of
these the accuracy alone is written.
"""

import argparse
import datetime
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # a model repository is above
sys.path.insert(0, str(HERE.parents[2] / "client" / "python"))
from fff_client.safetensors import read_safetensors  # noqa: E402
from language_text import Text, scored_batches  # noqa: E402
from measure import serve  # noqa: E402

ROWS = (1, 16)
SEQUENCES = 256
BODY = "-body"  # behind the name: without decoder
TOLERANCE = 1e-4
# Points that count as equal: the standard error of the difference of two shares of the
# 73,300 words that are scored. It does not hold what seeds differ by.
TIE = 0.24
# Of an example: rounding may turn a decision of an FFF that is nearly a tie.
SEQUENCES_OFF_MAX = 1


def trained_networks(folder):
    """One line per network, with the figures that differ by seed as lists."""
    lines = {}
    for text in (folder / "accuracy.jsonl").read_text().splitlines():
        own = json.loads(text)
        line = lines.setdefault(own["name"], {
            **own, "seed": [], "test": [], "cross_entropy": []})
        for key in ("seed", "test", "cross_entropy"):
            line[key].append(own[key])
    return list(lines.values())


def write_repository(options, lines, folder):
    """Every network, and the same without its decoder."""
    for line in lines:
        whole, body = folder / line["name"], folder / (line["name"] + BODY)
        shutil.copytree(options.networks / line["name"], whole)
        config = json.loads((whole / "config.json").read_text())
        config["layers"].pop()
        (body / "1").mkdir(parents=True)
        (body / "config.json").write_text(json.dumps(config))
        shutil.copy(whole / "1" / "model.safetensors", body / "1")


def check_answers(options, address, name, folder):
    """The server must answer as the trained module did."""
    example = read_safetensors(
        str(options.networks / name / "1" / "example.safetensors"))
    np.save(folder / "example.npy", example["input.input_ids"])
    subprocess.run(
        [options.bin / "fffctl", "predict", f"--server={address}", f"--model={name}",
         f"--input=input_ids={folder / 'example.npy'}",
         f"--output={folder / 'answer.npy'}"], stdout=subprocess.DEVNULL, check=True)
    wanted = example["output.output"]
    off = np.abs(np.load(folder / "answer.npy").reshape(wanted.shape) - wanted)
    off = off.max(axis=(1, 2))
    if (off > TOLERANCE).sum() > SEQUENCES_OFF_MAX:
        sys.exit(f"{name}: the answers to {(off > TOLERANCE).sum()} of {len(off)} "
                 f"sequences are others than in training, by up to {off.max():.2g}")
    return float(np.median(off))


def measured(options, address, name, ids):
    done = subprocess.run(
        [options.bin / "fffctl", "benchmark", f"--server={address}", f"--model={name}",
         f"--data=input_ids={ids}", f"--rows={','.join(map(str, ROWS))}",
         f"--seconds={options.seconds}", "--twin-only", "--json"],
        stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)["latency"]


def feedforward_seconds(case):
    """Of a network without decoder, which has no linear layers elsewhere."""
    return sum(layer["seconds"] for layer in case["fff"]["layers"]
               if layer["layer"].startswith(("fff:", "linear:")))


def times_of(whole, body):
    """Per number of sequences, from the reports of all rounds."""
    times = {}
    for at, rows in enumerate(ROWS):
        cases = [report["cases"][at] for report in whole]
        bodies = [report["cases"][at] for report in body]
        seconds = [case["fff"]["p10_s"] for case in cases]
        times[rows] = {
            "seconds": statistics.median(seconds),
            "low": min(seconds), "high": max(seconds),
            "without_decoder": statistics.median(c["fff"]["p10_s"] for c in bodies),
            "feedforward": statistics.median(map(feedforward_seconds, bodies))}
    return times


def take_turns(options, address, lines, ids):
    """The reports of every round, by the names of the networks."""
    names = [line["name"] + end for line in lines for end in ("", BODY)]
    taken = {name: [] for name in names}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for name in names:
            taken[name].append(measured(options, address, name, ids))
    return taken


def measure(options):
    lines = trained_networks(options.networks)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        _, shown, _ = next(scored_batches(Text().test, SEQUENCES))
        np.save(folder / "ids.npy", shown)
        write_repository(options, lines, folder / "made")
        own = argparse.Namespace(bin=options.bin, networks=folder / "made")
        server, address = serve(own, folder)
        try:
            for line in lines:
                line["difference"] = check_answers(
                    options, address, line["name"], folder)
            taken = take_turns(options, address, lines, folder / "ids.npy")
        finally:
            server.terminate()
            server.wait()
    with open(options.output, "w") as output:
        for line in lines:
            whole = taken[line["name"]]
            output.write(json.dumps({
                **line, "times": times_of(whole, taken[line["name"] + BODY]),
                "cpu": whole[0]["cpu_model"],
                "server_version": whole[0]["server_version"],
                "date": datetime.date.today().isoformat(),
                "rounds": options.rounds, "seconds": options.seconds}) + "\n")
        for line in trained_networks(options.longer) if options.longer else []:
            output.write(json.dumps(line) + "\n")


def accuracy(line):
    return statistics.mean(line["test"])


def accuracy_cell(line):
    half = (max(line["test"]) - min(line["test"])) / 2
    return f"{accuracy(line):.2f}" + (f" ± {half:.2f}" if len(line["test"]) > 1 else "")


def cell(times):
    return " | ".join(f"{1e6 * times[key]:.3g}"
                      for key in ("feedforward", "without_decoder", "seconds"))


def print_networks(lines):
    parts = "feedforward | without decoder | whole"
    print(f"| network | multiply-adds | accuracy | cross entropy | 1: {parts} "
          f"| 16: {parts} |\n" + "|---" * 10 + "|")
    for line in sorted(lines, key=accuracy):
        entropy = statistics.mean(line["cross_entropy"])
        print(f"| `{line['name']}` | {line['feedforward_multiply_adds']:,} "
              f"| {accuracy_cell(line)} | {entropy:.3f} "
              f"| {cell(line['times']['1'])} | {cell(line['times']['16'])} |")


def print_pairs(lines):
    """Per FFF the fastest dense network of equal accuracy, and what a feedforward that
    costs nothing would gain over that one, without decoder."""
    dense = [line for line in lines if line["name"].startswith("dense")]
    none = next(line for line in lines if line["name"] == "none")
    print(f"\nEqual: at most {TIE:.2f} points less.\n\n| FFF | dense | sequences "
          "| feedforward | without decoder | bound | whole |\n" + "|---" * 7 + "|")
    for line in lines:
        rivals = [d for d in dense if accuracy(d) >= accuracy(line) - TIE]
        if not line["name"].startswith("fff") or not rivals:
            continue
        for rows, mine in line["times"].items():
            rival = min(rivals, key=lambda d: d["times"][rows]["without_decoder"])
            other = rival["times"][rows]
            ratios = [other[key] / mine[key]
                      for key in ("feedforward", "without_decoder", "seconds")]
            bound = other["without_decoder"] / none["times"][rows]["without_decoder"]
            ratios.insert(2, bound)
            print(f"| `{line['name']}` | `{rival['name']}` | {rows} | "
                  + " | ".join(f"{ratio:.2f}x" for ratio in ratios) + " |")


def print_longer(lines, longer):
    """What more steps change."""
    if not longer:
        return
    print(f"\n| network | {lines[0]['steps']:,} steps | {longer[0]['steps']:,} steps |\n"
          "|---|---|---|")
    for line in sorted(longer, key=accuracy):
        before = next(each for each in lines if each["name"] == line["name"])
        print(f"| `{line['name']}` | {accuracy(before):.2f} | {accuracy(line):.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", type=pathlib.Path)
    parser.add_argument("--networks", type=pathlib.Path)
    parser.add_argument("--longer", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1)
    options = parser.parse_args()
    if options.networks:
        if not options.bin:
            parser.error("--networks needs --bin")
        measure(options)
    lines = [json.loads(text) for text in options.output.read_text().splitlines()]
    measured_lines = [line for line in lines if "times" in line]
    print_networks(measured_lines)
    print_pairs(measured_lines)
    print_longer(measured_lines, [line for line in lines if "times" not in line])


if __name__ == "__main__":
    main()
