"""The page of `fffctl claims` in a real browser."""

import json
import subprocess

import pytest

import paths
from browser import Browser

PICTURES = paths.WORK / "screenshots"
# Five batches of one claim fill the chart of rows.
CLAIMS = "table1-mnist-w16-l8,paper2-torch-40x,paper2-cuda-118x,sap-layer-128-64"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("claims") / "claims.html"
    subprocess.run([str(paths.CTL), "claims", "--quick", f"--claim={CLAIMS}",
                    f"--html={path}"], check=True, stdout=subprocess.DEVNULL, timeout=300)
    return path


@pytest.fixture(scope="module")
def browser(page):
    PICTURES.mkdir(exist_ok=True)
    with Browser() as started:
        started.set_screen(1280, 900)
        started.open(page.as_uri())
        started.await_true("typeof charts === 'object' && Boolean(charts.batches)")
        yield started


def test_it_asks_for_nothing_and_fails_nowhere(browser, page):
    assert browser.requests == [page.as_uri()]
    assert browser.errors == []


def test_it_shows_every_claim_with_source_flaws_and_verdict(browser):
    text = browser.evaluate("document.body.innerText")
    for claim in CLAIMS.split(","):
        assert claim in text
    assert "Fast Feedforward Networks, table 1" in text
    assert "Known flaws: benchmark_cpu" not in text, "no claim of that source was run"
    assert "Known flaws: the dense baseline copies its weights" in text
    assert "Not run here: it is a figure of a GPU" in text
    assert browser.evaluate("document.querySelectorAll('tbody .sentence').length") == 4
    assert browser.evaluate("document.querySelectorAll('.tile').length") == 5


def test_its_charts_hold_the_figures_of_the_report(browser):
    report = json.loads(browser.evaluate("document.getElementById('report').textContent"))
    points = {claim["id"]: claim["points"] for claim in report["claims"]}
    judged = [claim for claim in CLAIMS.split(",")
              if any(point["judged"] for point in points[claim])]
    assert sorted(browser.evaluate("charts.speedups.data.labels")) == sorted(judged)
    for claim, value in zip(browser.evaluate("charts.speedups.data.labels"),
                            browser.evaluate("charts.speedups.data.datasets[0].data")):
        assert value == next(one["published"] for one in report["claims"]
                             if one["id"] == claim)
    for i, key in enumerate(("fff_s", "dense_s")):
        assert browser.evaluate(f"charts.batches.data.datasets[{i}].data.map((p) => p.y)") == [
            point[key] for point in points["paper2-torch-40x"]]
    assert browser.evaluate("document.getElementById('blocks-figure').hidden"), \
        "no claim of leaves was run"


def test_canvases_are_drawn(browser):
    drawn = ("[...document.querySelectorAll('canvas')].filter((c) => c.width > 0 && "
             "c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
             ".some((byte) => byte > 0)).length")
    assert browser.evaluate(drawn) == 2


@pytest.mark.parametrize("name, width, dark", [("light", 1280, False), ("phone", 390, True)])
def test_it_fits_its_screen(browser, page, name, width, dark):
    browser.set_screen(width, 844, dark=dark, phone=name == "phone")
    browser.open(page.as_uri())
    browser.await_true("typeof charts === 'object' && Boolean(charts.batches)")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    browser.screenshot(PICTURES / f"claims-{name}.png")
