#!/usr/bin/env python3
"""Prints the tables of README.md from the measured lines.

    python3 deploy/models/frontier/tables.py KIND FILE

KIND: frontier (FILE is results.jsonl), cnn (cnn.jsonl), local (local.jsonl), search
(local_search.jsonl), seed (seed.jsonl), pruned (pruned.jsonl) or gpu (gpu.jsonl).
Accuracy is the mean over seeds of the test set; in a search, of held-out rows.
"""

import argparse
import json
import math
import pathlib
import statistics

SEED_NAMES = {
    "seed-linear": "linear", "seed-fff": "FFF",
    "seed-narrow": "linear, 8, 6 and 6 neurons inside",
    "seed-18": "one hidden layer of 18 neurons",
}


def read(path) -> list:
    return [json.loads(text) for text in pathlib.Path(path).read_text().splitlines()]


def accuracy(line) -> float:
    return statistics.mean(line["test"])


def time_of(line, rows) -> float:
    return line["times"][rows]["seconds"]


def in_words(seconds) -> str:
    return f"{seconds * 1e6:.3g} µs" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"


def mean_and_range(values) -> str:
    return f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def tie(lines) -> float:
    """Points that a network may have less and counts as equally accurate: the standard
    error of the difference of two means of seeds."""
    variance = statistics.mean(statistics.variance(line["test"]) for line in lines)
    return math.sqrt(2 * variance / len(lines[0]["test"]))


def front(lines, rows) -> list:
    """Those that no faster one of the family equals, fastest first."""
    best, kept = 0.0, []
    for line in sorted(lines, key=lambda line: time_of(line, rows)):
        if accuracy(line) > best:
            best = accuracy(line)
            kept.append(line)
    return kept


def equal_accuracy(lines, rows, fffs=front):
    """Per FFF of the front: the fastest dense network of equal accuracy or more, or
    None. fffs: takes the FFF networks and `rows`, answers those to list."""
    less = tie(lines)
    dense = [line for line in lines if line["family"] == "dense"]
    for line in fffs([line for line in lines if line["family"] == "fff"], rows):
        rivals = [d for d in dense if accuracy(d) >= accuracy(line) - less]
        yield line, min(rivals, key=lambda d: time_of(d, rows), default=None)


def print_head(*columns):
    print("\n|", " | ".join(columns), "|")
    print("|" + "---|" * len(columns))


def print_row(*cells):
    print("|", " | ".join(map(str, cells)), "|")


def rows_in_words(rows) -> str:
    return f"{rows} row{'s' if rows != '1' else ''}"


def print_pairs(lines, rows, fffs=front):
    print_head(f"{rows_in_words(rows)}: FFF", "accuracy", "time", "dense", "accuracy",
               "time", "dense/FFF")
    for line, rival in equal_accuracy(lines, rows, fffs):
        if rival is not None:
            mine, other = time_of(line, rows), time_of(rival, rows)
            print_row(f"`{line['name']}`", f"{accuracy(line):.2f}", in_words(mine),
                      f"`{rival['name']}`", f"{accuracy(rival):.2f}", in_words(other),
                      f"{other / mine:.2f}x")


def without_variants(lines) -> list:
    """Those of the recipe itself: a variant's name ends in an option."""
    return [line for line in lines if not line["name"].endswith("0")
            or line["name"].split("-")[-1].isdigit()]


def frontier(lines):
    lines = without_variants(lines)
    for rows in lines[0]["times"]:
        print_pairs(lines, rows)


def cnn(lines):
    shown = ("1", "16", "256")
    print(f"equal accuracy: at most {tie(lines):.2f} points less")
    print_head("network", "accuracy", "multiply-adds", *map(rows_in_words, shown))
    for line in lines:
        print_row(f"`{line['name']}`", mean_and_range(line["test"]),
                  f"{line['multiply_adds']:,}",
                  *(in_words(time_of(line, rows)) for rows in shown))
    print_head("FFF", "dense of equal accuracy",
               *(f"dense/FFF, {rows_in_words(rows)}" for rows in shown))
    pairs = {}
    for rows in shown:
        for line, rival in equal_accuracy(lines, rows, lambda fffs, _: fffs):
            names, ratios = pairs.setdefault(line["name"], ([], []))
            names.append(rival["name"] if rival else "none")
            ratios.append(f"{time_of(rival, rows) / time_of(line, rows):.2f}x"
                          if rival else "")
    for name, (names, ratios) in pairs.items():
        print_row(f"`{name}`", ", ".join(f"`{n}`" for n in dict.fromkeys(names)), *ratios)


def local(lines):
    shown = ("1", "16", "256", "2048")
    print_head("network", "accuracy", "multiply-adds", *map(rows_in_words, shown))
    for line in sorted(lines, key=accuracy):
        print_row(f"`{line['name']}`", mean_and_range(line["test"]),
                  f"{line['multiply_adds']:,}",
                  *(in_words(time_of(line, rows)) for rows in shown))


SEARCHED_LEVELS = (89.5, 90, 90.25, 90.5, 90.75, 91, 91.25, 91.5)


def search(lines):
    """Per accuracy the network of each family with the fewest multiply-adds."""
    print_head("at least", "FFF", "multiply-adds", "dense", "multiply-adds", "dense/FFF")
    for level in SEARCHED_LEVELS:
        least = [min((line for line in lines if line["family"] == family
                      and statistics.mean(line["held_out"]) >= level),
                     key=lambda line: line["multiply_adds"])
                 for family in ("fff", "dense")]
        cells = [cell for line in least
                 for cell in (f"`{line['name']}`", f"{line['multiply_adds']:,}")]
        fff, dense = (line["multiply_adds"] for line in least)
        print_row(f"{level:g} %", *cells, f"{dense / fff:.2f}x")


def seed(lines):
    """Without the columns of longer runs where there were none."""
    shown = ("1", "256")
    longer = any(line["epochs_max"] > line["equal_epochs"] for line in lines)
    print_head("layers", f"after {lines[0]['equal_epochs']} epochs",
               *(["best epoch", "which"] if longer else []), "multiply-adds",
               *map(rows_in_words, shown))
    for line in lines:
        epochs = line["epochs"]
        best = [mean_and_range(line["test"]), f"{min(epochs)} to {max(epochs)}"]
        print_row(SEED_NAMES[line["name"]], mean_and_range(line["equal_epochs_test"]),
                  *(best if longer else []), f"{line['multiply_adds']:,}",
                  *(in_words(time_of(line, rows)) for rows in shown))


def pruned(lines):
    """Per pruned network the fastest runtime's times, and the bound: the share of
    nonzeros times what our server takes for the network before it was pruned."""
    ours = {line["name"]: line for line in lines if line["runtime"] == "this project"}
    shown = list(next(iter(ours.values()))["seconds_by_rows"])
    print_head("network", "weights", "accuracy", *map(rows_in_words, shown),
               *(f"bound, {rows}" for rows in shown))
    for line in ours.values():
        print_row(f"`{line['name']}`", "", f"{line['accuracy']:.2f}",
                  *(in_words(line["seconds_by_rows"][rows]) for rows in shown),
                  *("" for _ in shown))
    for name in dict.fromkeys(line["name"] for line in lines):
        sides = [line for line in lines if line["name"] == name]
        if name in ours:
            continue
        first = sides[0]
        share = first["nonzeros"] / first["weights"]
        best = [min(line["seconds_by_rows"][rows] for line in sides) for rows in shown]
        bounds = [share * ours[first["start"]]["seconds_by_rows"][rows] for rows in shown]
        print_row(f"`{name}`", f"{first['nonzeros']:,}", f"{first['accuracy']:.2f}",
                  *map(in_words, best), *map(in_words, bounds))


GPU_NAMES = ("dense-64", "dense-128", "dense-256", "dense-l24-256", "dense-l32-256-64",
             "fff-d4-32", "fff-b24-d4-64", "fff-b32-d4-64", "fff-b32-d4-128")


def gpu(lines):
    """Times on a GPU beside those of PyTorch (gpu_peer.jsonl, of the same folder)."""
    by_name = {line["name"]: line for line in lines}
    peers = {line["name"]: line for line in
             read(pathlib.Path(__file__).with_name("gpu_peer.jsonl"))}
    shown = list(lines[0]["times"])
    print_head("network", "accuracy", *map(rows_in_words, shown),
               *(f"PyTorch, {rows}" for rows in shown))
    for name in GPU_NAMES:
        print_row(f"`{name}`", f"{accuracy(by_name[name]):.2f}",
                  *(in_words(time_of(by_name[name], rows)) for rows in shown),
                  *(in_words(time_of(peers[name], rows)) if name in peers else ""
                    for rows in shown))


def main():
    kinds = {kind.__name__: kind for kind in
             (frontier, cnn, local, search, seed, pruned, gpu)}
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("file")
    options = parser.parse_args()
    kinds[options.kind](read(options.file))


if __name__ == "__main__":
    main()
