#!/usr/bin/env python3
"""Draws accuracy against latency from results.jsonl, and prints its tables.

    python3 deploy/models/frontier/chart.py results.jsonl frontier.svg

Needs matplotlib (Debian: python3-matplotlib). A network is on the front of its
family if none of that family is both faster and at least as accurate. A family is
`dense` or `fff`; variants of the recipe (names that end in an option) are left out.
"""

import math
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter  # noqa: E402

from tables import (  # noqa: E402
    accuracy, front, frontier, in_words, read, rows_in_words, time_of, without_variants)

SHOWN_ROWS = ("1", "256")
COLOURS = {"dense": "#8a5a00", "fff": "#0b62a8"}
LABELS = {"dense": "dense", "fff": "FFF"}
ACCURACY_MIN = 88.0


def apart(lines, rows):
    """Those whose names have room beside each other."""
    shown = []
    for line in lines:
        place = math.log10(time_of(line, rows)), accuracy(line)
        if all(abs(place[0] - x) > 0.1 or abs(place[1] - y) > 0.12 for x, y in shown):
            shown.append(place)
            yield line


def draw(axes, lines, rows):
    for family, colour in COLOURS.items():
        members = [line for line in lines if line["family"] == family]
        x = [time_of(line, rows) for line in members]
        y = [accuracy(line) for line in members]
        spread = [[a - min(line["test"]) for a, line in zip(y, members)],
                  [max(line["test"]) - a for a, line in zip(y, members)]]
        axes.errorbar(x, y, yerr=spread, fmt="o", markersize=4, linewidth=0.8,
                      color=colour, alpha=0.55)
        best = front(members, rows)
        axes.plot([time_of(line, rows) for line in best],
                  [accuracy(line) for line in best], color=colour, linewidth=1.6,
                  label=f"{LABELS[family]}, front")
        for line in apart(best, rows):
            axes.annotate(line["name"].split("-", 1)[1],
                          (time_of(line, rows), accuracy(line)),
                          xytext=(-3, 5) if family == "fff" else (5, -9),
                          ha="right" if family == "fff" else "left",
                          textcoords="offset points", fontsize=6.5, color=colour)
    axes.set_xscale("log")
    axes.set_xlim(left=0.75 * min(time_of(line, rows) for line in lines))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda s, _: in_words(s)))
    axes.xaxis.set_minor_formatter(FuncFormatter(
        lambda s, _: in_words(s) if f"{s:e}"[0] in "25" else ""))
    axes.tick_params(which="both", labelsize=8)
    axes.set_xlabel(f"time of a call of {rows_in_words(rows)}", fontsize=9)
    axes.set_ylim(bottom=ACCURACY_MIN)
    axes.grid(alpha=0.25, linewidth=0.5)


def main():
    lines = without_variants(read(sys.argv[1]))
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True)
    for axes, rows in zip(panels, SHOWN_ROWS):
        draw(axes, lines, rows)
    panels[0].set_ylabel("test accuracy, %, mean and range of 3 seeds", fontsize=9)
    panels[0].legend(fontsize=8, loc="lower right", frameon=False)
    figure.tight_layout()
    matplotlib.rcParams["svg.hashsalt"] = "frontier"
    figure.savefig(sys.argv[2], metadata={"Date": None})
    frontier(lines)


if __name__ == "__main__":
    main()
