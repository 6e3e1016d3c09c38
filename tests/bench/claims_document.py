#!/usr/bin/env python3
"""The figures of server/docs/claims.md, from a report of `fffctl claims --json`.

Usage: claims_document.py REPORT.json. Keeps the report beside the page and writes the
page's last section anew: machine and date, then a line per claim with the published
figure, ours with one thread and all, warm and cold, and the verdict.
"""

import gzip
import json
import pathlib
import sys

DOCUMENTS = pathlib.Path(__file__).resolve().parents[2] / "server" / "docs"
PAGE = DOCUMENTS / "claims.md"
KEPT = DOCUMENTS / "claims.json.gz"
TITLE = "## Figures\n"
HEADER = ["claim", "published", "1 thread", "1 thread, cold", "all threads",
          "all threads, cold", "same width", "verdict"]


def times(ratio):
    """As the program prints it: three digits."""
    digits = 2 if ratio < 9.995 else 1 if ratio < 99.95 else 0
    return f"{ratio:.{digits}f}x"


def figure(claim, ratios):
    """The best of "up to", else the range; a dash where nothing was judged."""
    if not ratios:
        return "–"
    if claim["kind"] == "up_to":
        return times(max(ratios))
    low, high = times(min(ratios)), times(max(ratios))
    return low if low == high else f"{low} to {high}"


def cells(claim):
    def judged(several, cold):
        return [point for point in claim["points"] if point["judged"]
                and (point["threads"] > 1) == several and point["cold"] == cold]

    same_width = [base["speedup"] for point in judged(False, False)
                  for base in point["baselines"] if base["kind"] == "inference_width"]
    return [f"`{claim['id']}`", times(claim["published"]),
            *(figure(claim, [point["speedup"] for point in judged(several, cold)])
              for several in (False, True) for cold in (False, True)),
            figure({"kind": "every"}, same_width), claim["verdict"]]


def row(words):
    return "| " + " | ".join(words) + " |"


def facts(report):
    """Machine, date and what was run, as a table."""
    runs = {point["run"] for claim in report["claims"] for point in claim["points"]}
    quick = " --quick" if report["quick"] else ""
    counts = ", ".join(f"{name} {count}" for name, count in report["counts"].items())
    return [("date", report["date"]),
            ("machine", f"{report['cpu_model']}, {report['isa']}, {report['threads_all']} "
                        "threads"),
            ("command", f"`fffctl claims{quick} --resume=runs.jsonl --json`, version "
                        f"{report['version']}, {report['seconds']} s per side and run"),
            ("runs", f"{len(runs)}, of which {report['disturbed_runs']} disturbed"),
            ("verdicts", counts)]


def section(report):
    lines = [TITLE, "| | |", "|---|---|", *(row(fact) for fact in facts(report)), "",
             "A range spans batch sizes. A dash stands where no run counts: not run, or "
             "disturbed. Times, spreads,", "bounds and kernels of every run are in "
             "`claims.json.gz`, beside this page.", "",
             row(HEADER), "|---" * len(HEADER) + "|",
             *(row(cells(claim)) for claim in report["claims"])]
    return "\n".join(lines) + "\n"


def kept():
    return json.loads(gzip.decompress(KEPT.read_bytes()))


def main(path):
    report = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    compact = json.dumps(report, separators=(",", ":"), ensure_ascii=False)
    KEPT.write_bytes(gzip.compress(compact.encode(), mtime=0))
    before = PAGE.read_text(encoding="utf-8").partition(TITLE)[0]
    PAGE.write_text(before + section(report), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
