"""`fffctl claims`: published claims, run again in the program itself."""

import gzip
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

FFFCTL = os.environ["FFF_CTL_BINARY"]
# Small layers alone; the second is measured once for both of its claims.
SMALL = "sap-layer-128-64,table1-mnist-w16-l8,table1-fashionmnist-w16-l8"
SMALL_RUNS = ["leaf-784-8-10-d1, 2048 rows, 1 thread, warm",
              "sap-128-64-d7, 1 row, 1 thread, warm"]


def claims(*words):
    return subprocess.run([FFFCTL, "claims", *words], capture_output=True, text=True,
                          timeout=200)


def report(*words):
    done = claims("--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def disturbed(measured):
    return [line["run"] for line in measured if line["waited_share"] > 0.1]


def test_one_claim_is_measured_in_seconds():
    found = report("--quick", "--claim=table1-mnist-w16-l8")
    assert found["quick"] and found["cpu_model"] and found["date"]
    [claim] = found["claims"]
    assert claim["id"] == "table1-mnist-w16-l8" and claim["published"] == 1.13
    assert "2308.14711" in claim["url"] and "A100" in claim["conditions"] and claim["flaws"]
    [point] = claim["points"]
    assert point["rows"] == 2048 and point["threads"] == 1 and not point["cold"]
    assert point["neurons"] == 16 and point["distinct_leaves"] == 2
    assert point["speedup"] == pytest.approx(point["dense_s"] / point["fff_s"])
    assert point["bound_s"] > 0 and point["dense_strength"] > 0
    assert [base["kind"] for base in point["baselines"]] == ["inference_width"]
    assert claim["verdict"] in ("holds", "holds partly", "does not hold")
    assert claim["sentence"].lower().startswith(claim["verdict"])
    assert sum(found["counts"].values()) == 1


def test_full_runs_are_warm_and_cold_on_one_thread_and_all():
    found = report("--claim=sap-layer-128-64")
    points = found["claims"][0]["points"]
    threads = sorted({1, found["threads_all"]})
    assert sorted((point["threads"], point["cold"]) for point in points) == [
        (count, cold) for count in threads for cold in (False, True)]


def test_claims_of_a_gpu_are_said_not_to_run():
    done = claims("--claim=paper2-cuda-118x")
    assert done.returncode == 0, done.stderr
    assert "Not run here: it is a figure of a GPU" in done.stdout
    assert "not run here 1" in done.stdout


def test_every_figure_is_in_a_line_of_the_file(tmp_path):
    path = tmp_path / "runs.jsonl"
    found = report("--quick", f"--claim={SMALL}", f"--resume={path}")
    first = lines(path)
    kept = {line["run"]: line["report"]["cases"][0] for line in first}
    assert sorted(kept) == SMALL_RUNS
    for claim in found["claims"]:
        for point in claim["points"]:
            times = "min_s" if point["disturbed"] else "median_s"
            assert point["fff_s"] == kept[point["run"]]["fff"][times]
            assert point["dense_s"] == kept[point["run"]]["dense"][times]
    report("--quick", f"--claim={SMALL}", f"--resume={path}")
    assert [line["run"] for line in lines(path)[2:]] == disturbed(first), \
        "what other processes disturbed is measured again, and nothing else"


def test_a_killed_run_goes_on_without_repeating(tmp_path):
    path = tmp_path / "runs.jsonl"
    words = ["claims", "--quick", "--json", f"--resume={path}",
             "--claim=table1-mnist-w16-l8,table1-mnist-w16-l4,table1-mnist-w16-l2,"
             "table1-mnist-w16-l1,table3-vit-l1,table3-vit-l2,table3-vit-l4"]
    with subprocess.Popen([FFFCTL, *words], stdout=subprocess.DEVNULL) as killed:
        deadline = time.monotonic() + 100
        while not path.exists() or b"\n" not in path.read_bytes():
            assert time.monotonic() < deadline and killed.poll() is None
            time.sleep(0.005)  # between two looks; the deadline decides
        killed.send_signal(signal.SIGKILL)
    before = path.read_bytes()
    whole = before[:before.rindex(b"\n") + 1]
    assert whole.count(b"\n") < 7, "it was to be killed before its end"
    path.write_bytes(whole + b'{"run": "leaf-128-4')  # as a kill within a write leaves it
    found = report(*words[1:2], *words[3:])
    after = path.read_bytes()
    assert after.startswith(whole), "what was measured stands"
    first = [json.loads(line) for line in whole.splitlines()]
    runs = [line["run"] for line in lines(path)]
    assert len(set(runs)) == 7 and len(runs) == 7 + len(disturbed(first))
    assert all(claim["points"] for claim in found["claims"])


@pytest.mark.parametrize("text, says", [
    ("no JSON\n", "line 1: got no run"),
    ('{"run": "x", "waited_share": 1, "report": {}}\n', "measured with version null"),
])
def test_a_file_of_something_else_is_left_as_it_is(tmp_path, text, says):
    path = tmp_path / "runs.jsonl"
    path.write_text(text)
    done = claims("--quick", "--claim=sap-layer-128-64", f"--resume={path}")
    assert done.returncode == 1
    assert str(path) in done.stderr and says in done.stderr
    assert path.read_text() == text


def test_a_compressed_file_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_bytes(gzip.compress(b""))
    before = path.read_bytes()
    done = claims("--quick", "--claim=sap-layer-128-64", f"--resume={path}")
    assert done.returncode == 1 and "compressed" in done.stderr
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_written_is_an_error_before_anything_is_measured(tmp_path):
    path = tmp_path / "missing" / "runs.jsonl"
    done = claims("--quick", f"--resume={path}")
    assert done.returncode == 1 and str(path) in done.stderr and not done.stdout


def test_an_unknown_claim_lists_those_there_are():
    done = claims("--claim=42x")
    assert done.returncode == 1
    assert "no claim '42x'" in done.stderr and "paper2-cpu-78x" in done.stderr


def test_list_measures_nothing():
    done = claims("--list-claims")
    assert done.returncode == 0, done.stderr
    assert "paper2-cpu-78x" in done.stdout and "78.0x" in done.stdout


def test_the_page_holds_the_report(tmp_path):
    path = tmp_path / "claims.html"
    done = claims("--quick", "--claim=sap-layer-128-64", f"--html={path}")
    assert done.returncode == 0, done.stderr
    page = path.read_text(encoding="utf-8")
    assert "sap-layer-128-64" in page and "Chart.js v" in page and "MIT License" in page
    for reference in ('src="http', 'href="http', "@import", "url(http"):
        assert reference not in page
    done = claims("--quick", "--claim=paper2-cuda-118x", f"--html={tmp_path}")
    assert done.returncode == 1 and str(tmp_path) in done.stderr
    assert "Not run here" in done.stdout, "what was found is not lost"


def test_the_document_shows_every_claim_and_the_kept_report():
    bench = pathlib.Path(__file__).resolve().parents[1] / "bench"
    sys.path.insert(0, str(bench))
    import claims_document  # pylint: disable=import-outside-toplevel
    kept = claims_document.kept()
    assert claims_document.PAGE.read_text(encoding="utf-8").endswith(
        claims_document.section(kept)), "tests/bench/claims_document.py writes it"
    listed = [line.split()[0] for line in claims("--list-claims").stdout.splitlines()[2:]]
    assert [claim["id"] for claim in kept["claims"]] == listed
