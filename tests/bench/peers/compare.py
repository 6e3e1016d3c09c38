#!/usr/bin/env python3
"""Ours against what people use, on this machine, in one run.

Usage: compare.py --bin build/release/bin [--case NAME] [--rows 1,256] [--threads 1]
                  [--networks 'fff,neurons,width 3072,none'] [--peers NAME,NAME]
                  [--rounds 5] [--seconds 0.5] [--json]

The case is one of `fffctl benchmark --list-cases`, or a file of that form. Its networks
(case_file.py says which there are) run in our server and in every peer that is there:
PyTorch eager, compiled by torch.compile and by AOTInductor, ONNX Runtime, OpenVINO, and for one layer of the path family
the public algorithm with level-1 BLAS calls on OpenBLAS (blas_walk.cc, one thread).
All have the same weights. Before anything is measured, each must answer as we do.

All sides take turns of --seconds, --rounds times. A figure is the median over a side's
turns of their medians, with the least and the greatest of those; its ratios are taken
within a round. `least` is the fastest call of all, which says more on a machine that
others use: a long call is interrupted more often than a short one. A peer that is
not installed is left out with a line that says how to install it. --json prints one
line per figure.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np

import case_file
import ours

HERE = pathlib.Path(__file__).resolve().parent
NOT_POSSIBLE = 77
PEERS = ("torch-eager", "torch-compile", "torch-aot", "onnxruntime", "openvino",
         "openblas")
# Of a row's largest difference, relative to the root mean square of what we answer.
TOLERANCE = 1e-3
# Rows in FFF networks may take another way where a node's sum is near zero.
ROWS_THAT_AGREE = 0.9
CHECK_ROWS = 16
# Freed memory stays with the process: else each call faults its buffers in anew.
ENVIRONMENT = {**os.environ, "GLIBC_TUNABLES":
               "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184"}


class Ours:
    def __init__(self, server, model, rows):
        self.server, self.model, self.rows = server, model, rows
        self.name = "this project"

    def turn(self, seconds):
        return self.server.turn(self.model, self.rows, seconds)


class Worker:
    """A peer.py process. `name` is None when the peer cannot take part."""

    def __init__(self, kind, options, network, rows):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [options.python, "-B", HERE / "peer.py", kind, options.case, network,
             str(rows), str(options.threads)], env=ENVIRONMENT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        said = self.process.stdout.readline()
        self.name = json.loads(said)["peer"] if said else None
        if self.name is None:
            why = self.why_it_ended()
            if self.process.returncode != NOT_POSSIBLE:
                sys.exit(f"{kind} failed ({self.process.returncode}): {why}")
            print(f"left out: {kind}: {why.splitlines()[-1]}", file=sys.stderr)

    def why_it_ended(self):
        self.process.communicate()
        self.errors.seek(0)
        return self.errors.read().strip()

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline()
        if not said:
            sys.exit(f"{self.name} failed: {self.why_it_ended()}")
        return json.loads(said)

    def turn(self, seconds):
        return self.ask(f"turn {seconds}")

    def stop(self):
        """Ends with its input."""
        self.process.communicate()
        self.errors.close()


class BlasWalk:
    """One process per turn."""

    def __init__(self, options, network, rows):
        self.name = None
        layer = network.layers[0]
        if len(network.layers) > 1 or layer.get("convention") not in ("sap-fff",
                                                                     "ultrafastbert-bmm"):
            return
        x, y = case_file.path_names(layer)
        nodes, width = network.tensors[x][0]
        self.command = [options.bin / "peer_blas_walk", width, network.tensors[y][0][1],
                        (nodes + 1).bit_length() - 1,
                        "identity" if x == "X" else "gelu", rows]
        self.name = "OpenBLAS walk"
        try:
            self.turn(0.001)
        except (FileNotFoundError, RuntimeError) as error:
            print(f"left out: OpenBLAS walk: {error}", file=sys.stderr)
            self.name = None

    def turn(self, seconds):
        done = subprocess.run([str(word) for word in (*self.command, seconds)], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return json.loads(done.stdout)

    def stop(self):
        pass


def rows_that_agree(got, wanted):
    width = wanted.shape[-1]
    got, wanted = got.reshape(-1, width), wanted.reshape(-1, width)
    scale = np.sqrt(np.mean(wanted.astype(np.float64) ** 2)) or 1
    return float(np.mean(np.abs(got - wanted).max(1) <= TOLERANCE * scale))


def check(workers, server, model, network, folder, rows):
    """That all answer the same. Returns what share of rows did, by name."""
    batch = network.inputs(rows, 3)
    asked = 1 if network.sequence else min(rows, CHECK_ROWS)
    np.save(folder / "all.npy", batch)
    np.save(folder / "some.npy", batch[:asked])
    server.check(model, folder / "some.npy", folder / "ours.npy")
    wanted, shares = np.load(folder / "ours.npy"), {}
    for worker in workers:
        worker.ask(f"check {folder / 'all.npy'} {folder / 'peer.npy'}")
        got = np.load(folder / "peer.npy")[:asked].reshape(wanted.shape)
        shares[worker.name] = rows_that_agree(got, wanted)
        least = ROWS_THAT_AGREE if model == "fff" else 1
        if shares[worker.name] < least:
            sys.exit(f"{worker.name} computes something else: of {model}, "
                     f"{shares[worker.name]:.3f} of the rows are as ours, at least "
                     f"{least} wanted")
    return shares


def figures(turns, base):
    medians = [turn["median_s"] for turn in turns]
    return {"median_s": statistics.median(medians), "min_s": min(medians),
            "max_s": max(medians), "least_s": min(turn["min_s"] for turn in turns),
            "samples": sum(turn["samples"] for turn in turns),
            "against_fff": statistics.median(
                turn["median_s"] / other["median_s"] for turn, other in zip(turns, base))}


def started(options, kind, rows):
    """The peers that are there; who is not is not asked again."""
    workers = []
    for peer in [peer for peer in options.peers if peer != "openblas"]:
        worker = Worker(peer, options, kind, rows)
        if worker.name:
            workers.append(worker)
        else:
            worker.stop()
            options.peers = [other for other in options.peers if other != peer]
    return workers


def measure(options, server, kind, rows, folder):
    """One network at one batch size: a list of results, ours first."""
    network = case_file.network(options.case, kind)
    model = kind.replace(" ", "_")
    workers = started(options, kind, rows)
    try:
        shares = check(workers, server, model, network, folder, rows)
        sides = [Ours(server, model, rows)]
        if model != "fff":
            sides.insert(0, Ours(server, "fff", rows))
        sides += workers
        if "openblas" in options.peers:
            sides += [side for side in [BlasWalk(options, network, rows)] if side.name]
        turns = [[] for _ in sides]
        for _ in range(options.rounds):
            for side, found in zip(sides, turns):
                found.append(side.turn(options.seconds))
    finally:
        for worker in workers:
            worker.stop()
    results = []
    for side, found in zip(sides, turns):
        if getattr(side, "model", model) == model:
            results.append({"case": options.case, "network": kind, "rows": rows,
                            "threads": options.threads, "peer": side.name,
                            **figures(found, turns[0]),
                            "rows_that_agree": shares.get(side.name)})
    for result in results:
        result["against_ours"] = result["against_fff"] / results[0]["against_fff"]
        result["least_against_ours"] = result["least_s"] / results[0]["least_s"]
    return results


def text(result):
    scale, unit = (1e3, "ms") if result["median_s"] >= 1e-3 else (1e6, "µs")
    low, middle, high, least = (scale * result[key] for key in
                                ("min_s", "median_s", "max_s", "least_s"))
    return (f"{result['network']:>10} {result['rows']:>6} {middle:>9.4g} {unit} "
            f"({low:.4g} to {high:.4g}) {result['against_fff']:>8.2f}x of our FFF "
            f"{result['against_ours']:>6.2f}x of ours, least {least:.4g} {unit} "
            f"{result['least_against_ours']:.2f}x  {result['peer']}")


def numbers(words):
    try:
        return [int(word) for word in words.split(",")]
    except ValueError:
        sys.exit(f"--rows: '{words}' is no list of numbers like 1,256")


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--case", default="path-768-l12")
    parser.add_argument("--rows", type=numbers, default=[1, 256])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", type=lambda words: words.split(","))
    parser.add_argument("--peers", type=lambda words: words.split(","), default=PEERS)
    parser.add_argument("--python", default=sys.executable,
                        help="the interpreter that has the peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    unknown = set(options.peers) - set(PEERS)
    if unknown:
        sys.exit(f"--peers: no {', '.join(sorted(unknown))}, there are: {', '.join(PEERS)}")
    if not (options.bin / "fffctl").is_file():
        sys.exit(f"--bin: no fffctl in {options.bin}")
    return options


def write_models(options, folder):
    """Which of the wanted networks the case has; the server's models of them."""
    kinds = []
    for kind in options.networks or ["fff", "neurons", "none"]:
        try:
            case_file.network(options.case, kind).write(folder / kind.replace(" ", "_"))
            kinds.append(kind)
        except case_file.NotPossible as error:
            print(f"left out: {kind}: {error}", file=sys.stderr)
    if "fff" not in kinds:
        case_file.network(options.case, "fff").write(folder / "fff")
    return kinds


def main():
    options = parse()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        kinds = write_models(options, folder / "models")
        with ours.Server(options.bin, folder / "models", options.threads) as server:
            for rows in options.rows:
                for kind in kinds:
                    for result in measure(options, server, kind, rows, folder):
                        print(json.dumps(result) if options.json else text(result),
                              flush=True)


if __name__ == "__main__":
    main()
