#!/usr/bin/env python3
"""Measures the trained networks of the frontier on this machine.

    python3 deploy/models/frontier/measure.py --bin build/release/bin \
        --networks FOLDER --output deploy/models/frontier/results.jsonl

FOLDER is that of train.py, local.py, cnn.py or seed_comparison.py. All networks are
served by one server of one thread; each is measured with the test pictures as its rows,
by `fffctl benchmark --data`, in turns: every network once per round. A time is the
median over the rounds of their medians; `low` and `high` are the least and the greatest
of those. Writes one line per network: its accuracies, its times in seconds and the
command that took them.
"""

import argparse
import datetime
import gzip
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

ROWS = (1, 16, 256, 2048)
READY = re.compile(r"listening grpc=(\S+)")


def serve(options, folder):
    """A server of the networks alone; returns its process and address."""
    repository = folder / "models"
    shutil.copytree(options.networks, repository,
                    ignore=shutil.ignore_patterns("*.jsonl"))
    log = open(folder / "log", "w")
    server = subprocess.Popen(
        [options.bin / "fff-server", f"--model-repository={repository}",
         "--grpc-port=0", "--http-port=0", "--threads=1", f"--device={options.device}"],
        stderr=subprocess.PIPE, text=True)
    for line in server.stderr:
        log.write(line)
        found = READY.search(line)
        if found:
            return server, found.group(1)
    sys.exit(f"the server ended: {(folder / 'log').read_text()[-2000:]}")


def unpacked(options, folder, name):
    path = folder / name
    path.write_bytes(gzip.open(pathlib.Path(options.data) / f"{name}.gz").read())
    return path


def takes_bytes(folder) -> bool:
    """Whether the network scales pixels itself; others take them in -1 .. 1."""
    ports = json.loads((folder / "config.json").read_text())["input"]
    port = ports[0] if isinstance(ports, list) else ports
    return port.get("datatype") == "UINT8"


def measured(options, address, name, pictures, labels):
    """The report of one network; with accuracy where there are labels."""
    scaling = [] if takes_bytes(options.networks / name) else ["--normalize=0.5,0.5"]
    done = subprocess.run(
        [options.bin / "fffctl", "benchmark", f"--server={address}", f"--model={name}",
         f"--data={pictures}", *scaling, *([f"--truth={labels}"] if labels else []),
         f"--rows={','.join(map(str, ROWS))}", f"--seconds={options.seconds}",
         "--twin-only", "--json"], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def checked(report, line):
    """The server must answer as the network did where it was trained."""
    accuracy = 100 * report["candidates"][0]["accuracy"]["value"]
    if abs(accuracy - line["served_test"]) > 0.05:
        sys.exit(f"{line['name']}: {accuracy:.2f} % of the test pictures right, "
                 f"{line['served_test']} % in training")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--networks", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--device", default="cpu",
                        help="of the server; a network without kernels for it is left out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1)
    options = parser.parse_args()
    text = (options.networks / "accuracy.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    taken = {line["name"]: [] for line in lines}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        pictures = unpacked(options, folder, "t10k-images-idx3-ubyte")
        labels = unpacked(options, folder, "t10k-labels-idx1-ubyte")
        server, address = serve(options, folder)
        try:
            for number in range(options.rounds):
                print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
                for line in lines:
                    report = measured(options, address, line["name"], pictures,
                                      labels if number == 0 else None)
                    if number == 0:
                        checked(report, line)
                    taken[line["name"]].append(report["latency"])
        finally:
            server.terminate()
            server.wait()
    with open(options.output, "w") as output:
        for line in lines:
            reports = taken[line["name"]]
            if options.device != "cpu" and reports[0]["device"] == "cpu":
                continue
            times = {}
            for at, rows in enumerate(ROWS):
                medians = [r["cases"][at]["fff"]["median_s"] for r in reports]
                times[rows] = {"seconds": statistics.median(medians),
                               "low": min(medians), "high": max(medians)}
            output.write(json.dumps({
                **line, "times": times, "cpu": reports[0]["cpu_model"],
                "device": reports[0]["device"],
                "server_version": reports[0]["server_version"],
                "date": datetime.date.today().isoformat(),
                "rounds": options.rounds, "seconds": options.seconds}) + "\n")


if __name__ == "__main__":
    main()
