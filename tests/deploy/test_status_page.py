"""The status page in a real browser, over a real server under load."""

import json
import re
import shutil
import urllib.request

import pytest

import paths
from browser import Browser
from load import Load
from server_process import ServerProcess

PICTURES = paths.WORK / "screenshots"
SUBTREES = 16
BROKEN = "broken"
NETWORK, LAYER = "network", "layer"
REDUCED = "fashion-mnist-int8"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The demo model, the same in int8, a network of three layers, a layer alone, and
    one that cannot be loaded."""
    repository = tmp_path_factory.mktemp("models")
    shutil.copytree(paths.DEMO_MODELS / "fashion-mnist", repository / "fashion-mnist")
    shutil.copytree(paths.DEMO_MODELS / "fashion-mnist", repository / REDUCED)
    config = json.loads((repository / REDUCED / "config.json").read_text())
    (repository / REDUCED / "config.json").write_text(
        json.dumps({**config, "precision": "int8"}))
    paths.add_network(repository, NETWORK)
    paths.add_layer(repository, LAYER)
    (repository / BROKEN / "1").mkdir(parents=True)
    (repository / BROKEN / "1" / "model.safetensors").write_bytes(b"not a checkpoint")
    with ServerProcess(repository) as running:
        yield running


@pytest.fixture(scope="module")
def origin(server):
    return f"http://127.0.0.1:{server.http_port}"


@pytest.fixture(scope="module")
def load(server):
    rows = {"rows": (1, 64, 7, 300), "pause": 0.01}
    with Load(server.target, threads=3, **rows) as running, \
            Load(server.target, model=NETWORK, threads=1, **rows):
        yield running


@pytest.fixture(scope="module")
def browser(origin, load):
    PICTURES.mkdir(exist_ok=True)
    with Browser() as started:
        started.set_screen(1280, 900)
        started.open(f"{origin}/?poll=300&model=fashion-mnist")
        started.await_true("typeof page === 'object' && page.scrapes.length > 4")
        yield started


def text_of(browser, element):
    return browser.evaluate(f"document.getElementById('{element}').innerText")


def number_in(text):
    return float("".join(c for c in text.split("/")[0] if c in "0123456789."))


def test_page_is_one_document_that_may_ask_only_its_own_server(origin):
    with urllib.request.urlopen(origin) as reply:
        page = reply.read().decode()
        policy = reply.headers["Content-Security-Policy"]
        assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert "Chart.js v" in page and "MIT License" in page, "the library with its licence"
    for reference in ('src="http', "src='http", 'href="http', "@import", "url(http"):
        assert reference not in page


def test_unknown_path_is_not_found(origin):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{origin}/index.php")


def test_page_lists_models_versions_states_and_kernels(browser, origin):
    models = text_of(browser, "models")
    assert "fashion-mnist" in models and "1 (default)" in models
    assert BROKEN in models and "failed" in models
    with urllib.request.urlopen(f"{origin}/status.json") as reply:
        status = json.load(reply)
    kernels = text_of(browser, "kernels")
    named = {step["kernel"] for model in status["models"]
             for one in model["implementations"] for layer in one["layers"]
             for step in layer["kernels"]}
    assert named and all(name in kernels for name in named), f"{named} in {kernels}"
    reasons = [model["reason"] for model in status["models"] if model["name"] == BROKEN]
    assert reasons[0] and reasons[0] in models
    assert "failed to load" in text_of(browser, "state")


def test_page_says_what_reduced_precision_changed(browser, origin):
    with urllib.request.urlopen(f"{origin}/status.json") as reply:
        models = {model["name"]: model for model in json.load(reply)["models"]}
    told = {name: {one["name"]: one["precision"] for one in models[name]["implementations"]}
            for name in (REDUCED, "fashion-mnist")}
    report = told[REDUCED]["fff"]
    assert re.fullmatch(r"int8: \d+ of \d+ routes changed against fp32 on .*", report), report
    assert report in text_of(browser, "models")
    assert told[REDUCED]["dense"] == "" and told["fashion-mnist"] == {"fff": "", "dense": ""}


def test_page_that_is_opened_shows_the_last_minute_at_once(server, origin, load):
    """Which the server remembers: this page has asked once."""
    load.await_calls(200)
    counted = "(window) => window.increase('fff_requests_total', {model: 'fashion-mnist'})"
    with urllib.request.urlopen(f"{origin}/history.json") as reply:
        history = json.load(reply)
    assert {series["model"] for series in history["series"]} >= {"fashion-mnist", NETWORK}
    with Browser() as second:
        second.open(f"{origin}/?poll=600000&model=fashion-mnist")
        second.await_true("typeof page === 'object' && page.charts && page.scrapes.length > 1"
                          " && page.charts.rate.data.labels.length > 0")
        # The poll after the first comes in ten minutes.
        ages = second.evaluate("page.scrapes.map((one) => page.scrapes.at(-1).time - one.time)")
        assert ages == sorted(ages, reverse=True) and ages[0] <= 61000
        steps = second.evaluate(
            f"page.scrapes.slice(1).map((one, i) => ({counted})(new Window(page.scrapes[i], one)))")
        assert min(steps) >= 0 and sum(steps) > 0
        # No more than there ever were, and buckets that never shrink with their bound.
        assert sum(steps) <= second.evaluate(
            f"({counted})(new Window(null, page.scrapes.at(-1)))")
        for name in ("fff_request_duration_seconds", "fff_batch_rows"):
            assert second.evaluate(
                f"recentWindow().buckets('{name}', {{model: 'fashion-mnist'}})"
                ".every(({count}) => count >= 0)"), name
        assert text_of(second, "speedup").endswith("×")
        assert "last minute" in text_of(second, "speedup-note")
        assert number_in(text_of(second, "requests")) > 0
        for chart in ("rate", "latency", "compute", "batch"):
            assert second.evaluate(
                f"page.charts.{chart}.data.datasets.every("
                "(set) => set.data.some((v) => v > 0))"), chart
        assert second.errors == []


def test_page_shows_rates_latency_and_speedup_of_the_traffic(browser, load):
    load.await_calls(50)
    browser.await_true("document.getElementById('speedup').innerText.endsWith('×')")
    browser.await_true("parseFloat(document.getElementById('requests').innerText) > 0")
    assert number_in(text_of(browser, "speedup")) > 0
    assert text_of(browser, "p99").split()[-1] in ("µs", "ms", "s")
    assert text_of(browser, "errors") == "0 %"
    for chart, series in (("rate", "some"), ("latency", "every"), ("compute", "some"),
                          ("batch", "some")):
        assert browser.evaluate(
            f"page.charts.{chart}.data.datasets.every("
            f"(set) => set.data.length > 0 && set.data.{series}((v) => v > 0))"), chart


def test_page_is_live(browser, load):
    before = browser.evaluate(
        "page.scrapes[page.scrapes.length - 1].sum('fff_requests_total')")
    points = browser.evaluate("page.charts.rate.data.labels.length")
    load.await_calls(20)
    browser.await_true(
        f"page.scrapes[page.scrapes.length - 1].sum('fff_requests_total') >= {before} + 20")
    browser.await_true(f"page.charts.rate.data.labels.length > {points}")


def test_routing_is_a_heat_map_of_every_level(browser):
    rows = browser.evaluate(
        "[...document.querySelectorAll('#routing tr')].map("
        "(tr) => [...tr.cells].map((td) => parseFloat(td.title.split(': ')[1])))")
    assert [len(row) for row in rows] == [1, 2, 4, 8, SUBTREES]
    for row in rows:
        assert sum(row) == pytest.approx(100, abs=0.1)
    for above, below in zip(rows, rows[1:]):
        for i, share in enumerate(above):
            assert share == pytest.approx(below[2 * i] + below[2 * i + 1], abs=0.05)
    colors = browser.evaluate(
        "new Set([...document.querySelectorAll('#routing td')].map("
        "(td) => td.style.background)).size")
    assert colors > 4, "heat differs between subtrees"


def test_where_the_time_of_a_network_goes_stands_side_by_side(browser):
    """And of a layer alone, nothing."""
    hidden = "document.getElementById('layers-section').hidden"
    choose = "(name) => { page.model = name; draw(); }"
    browser.evaluate(f"({choose})('{LAYER}')")
    assert browser.evaluate(hidden)
    assert "128 -> 64" in text_of(browser, "models")
    browser.evaluate(f"({choose})('{NETWORK}')")
    browser.await_true(f"!{hidden} && document.querySelectorAll('.layer-bar').length === 2")
    words = text_of(browser, "layers")
    for needed in ("The feedforward takes", "of the FFF network's time",
                   "of the dense network's time", "as fast as dense ones", "Amdahl",
                   "softmax: over 10", "dense: linear: 32 -> 2048, relu; linear: 2048 -> 10"):
        assert needed in words, f"{needed} in {words}"
    shares = browser.evaluate(
        "[3, 5].map((column) => [...document.querySelectorAll('.layers tbody tr')]"
        ".reduce((sum, tr) => sum + parseFloat(tr.cells[column].textContent), 0))")
    assert shares == [pytest.approx(100, abs=1.5)] * 2
    browser.screenshot(PICTURES / "status-page-network.png")
    browser.evaluate(f"({choose})('fashion-mnist')")


@pytest.mark.parametrize("implementations, said", [
    # Dense: 8 of 10 s in 10 rows; FFF: 1 of 3 s in 10 rows.
    ({"fff": (1, 2), "dense": (8, 2)},
     "33 % of the FFF network's time, 80 % of the dense network's time. Its layers are "
     "8.00× as fast as dense ones, the network 3.33× as fast, per token. A feedforward "
     "that took no time would make the dense network 5.00× as fast, and no more (Amdahl)."),
    ({"fff": (1, 3)}, "25 % of the FFF network's time. The speed-up needs requests"),
    ({}, None)])
def test_words_on_layers_are_those_of_the_sums(browser, implementations, said):
    version = {"name": "m", "version": 1, "implementations": [
        {"name": name, "layer_times": {"batches": 1, "rows": 5, "tokens": 10, "groups": [
            {"layer": "fff: a", "count": 1, "feedforward": True, "seconds": feedforward},
            {"layer": "linear: b", "count": 2, "feedforward": False, "seconds": rest}]}}
        for name, (feedforward, rest) in implementations.items()]
        + [{"name": "other", "layer_times": None}]}
    words = browser.evaluate(
        f"((box) => box && box.innerText)(layerBox({json.dumps(version)}, false))")
    assert words is said if said is None else said in words


def test_percentiles_are_those_of_promql(browser):
    """histogram_quantile of 10 in (0, 1], 10 in (1, 2]: half way at the bound."""
    text = "".join(
        f'h_bucket{{le="{le}"}} {count}\n' for le, count in
        (("1", 10), ("2", 20), ("+Inf", 20)))
    quantiles = browser.evaluate(
        f"[0.25, 0.5, 0.75].map((q) => new Window(null, new Scrape({json.dumps(text)}, 0))"
        ".quantile(q, 'h', {}))")
    assert quantiles == [0.5, 1, 1.5]


def costs(*cells):
    """Exposition of (implementation, batch size, seconds, rows)."""
    return "".join(
        f'fff_compute_{name}_total{{model="m",implementation="{one}",batch_rows="{size}"}} '
        f"{value}\n" for one, size, seconds, rows in cells
        for name, value in (("seconds", seconds), ("rows", rows)))


def speed_up(browser, *cells):
    return browser.evaluate(
        f"speedUp(new Window(null, new Scrape({json.dumps(costs(*cells))}, 0)), "
        "{model: 'm'})")


def test_speedup_compares_equal_batch_sizes_weighted_alike(browser):
    """200 calls of 256 rows beside 200 of one row are no speed-up of 115."""
    found = speed_up(browser, ("fff", "256", 0.1, 51200), ("dense", "1", 0.01, 200))
    assert found["ratio"] is None and found["both"]
    found = speed_up(browser, ("fff", "1", 1, 100), ("dense", "1", 1, 10),
                     ("fff", "256", 1, 1000), ("dense", "256", 10, 500),
                     ("fff", "64", 9, 100))
    assert found["ratio"] == pytest.approx(15)
    assert found["share"] == pytest.approx(1100 / 1200)
    assert found["sizes"] == ["1", "256"]


def test_speedup_says_how_it_was_compared_and_how_accurate_both_are(browser):
    browser.await_true("document.getElementById('speedup').innerText.endsWith('×')")
    note = text_of(browser, "speedup-note")
    assert "at the batch sizes that both answered" in note
    assert "accuracy 90.4 % against 90.8 % on Fashion-MNIST" in note


def test_labels_with_quotes_and_newlines_are_read(browser):
    text = 'm{a="x\\"y\\\\z\\n",b="}"} 3\n'
    labels = browser.evaluate(f"parseMetrics({json.dumps(text)})[0].labels")
    assert labels == {"a": 'x"y\\z\n', "b": "}"}


@pytest.mark.parametrize("name, width, height, dark, phone", [
    ("desktop-light", 1280, 900, False, False), ("desktop-dark", 1280, 900, True, False),
    ("phone-light", 390, 844, False, True), ("phone-dark", 390, 844, True, True)])
def test_page_fits_its_screen(browser, name, width, height, dark, phone):
    browser.set_screen(width, height, dark=dark, phone=phone)
    points = browser.evaluate("page.scrapes.length")
    browser.await_true(f"page.scrapes.length > {points}")
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(13, 13, 13)" if dark else "rgb(243, 242, 239)")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    browser.screenshot(PICTURES / f"status-page-{name}.png")
    print(f"screenshot: {PICTURES / f'status-page-{name}.png'}")


def test_browser_saw_no_error_and_asked_nobody_else(browser, origin):
    browser.evaluate("1")  # takes in the events that are waiting
    assert browser.errors == []
    strangers = {url for url in browser.requests
                 if not url.startswith((f"{origin}/", "data:"))}
    assert strangers == set()


def test_page_is_calm_about_folders_that_do_not_fit_and_models_without_twin(tmp_path):
    shutil.copytree(paths.DEMO_MODELS / "fashion-mnist", tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    del config["dense_layers"]  # which would contradict
    (tmp_path / "m" / "config.json").write_text(json.dumps({**config, "dense": "off"}))
    (tmp_path / "a-folder" / "v1").mkdir(parents=True)
    with ServerProcess(tmp_path) as server, Browser() as browser:
        browser.open(f"http://127.0.0.1:{server.http_port}/?poll=200")
        browser.await_true("document.getElementById('state')?.innerText === 'ready'")
        assert "got the folder 'v1'" in text_of(browser, "models")
        assert browser.evaluate("page.model") == "m"
        browser.await_true("document.getElementById('speedup-note').innerText === "
                           "'no dense twin is loaded'")


def test_page_without_traffic_says_how_to_send_some_and_keeps_a_failed_model(tmp_path):
    shutil.copytree(paths.DEMO_MODELS / "fashion-mnist", tmp_path / "m")
    (tmp_path / BROKEN / "1").mkdir(parents=True)
    (tmp_path / BROKEN / "1" / "model.safetensors").write_bytes(b"not a checkpoint")
    with ServerProcess(tmp_path) as server, Browser() as browser:
        browser.open(f"http://127.0.0.1:{server.http_port}/?poll=200")
        browser.await_true("document.getElementById('speedup-note')?.innerText.includes("
                           "'fffctl benchmark --model m')")
        browser.evaluate(f"page.model = '{BROKEN}'")
        points = browser.evaluate("page.scrapes.length")
        browser.await_true(f"page.scrapes.length > {points} + 1")
        assert browser.evaluate("page.model") == BROKEN


def test_page_says_when_the_server_is_gone(tmp_path):
    shutil.copytree(paths.DEMO_MODELS / "fashion-mnist", tmp_path / "fashion-mnist")
    with Browser() as browser:
        with ServerProcess(tmp_path) as server:
            browser.open(f"http://127.0.0.1:{server.http_port}/?poll=200")
            browser.await_true("document.getElementById('state')?.innerText === 'ready'")
        browser.await_true(
            "document.getElementById('state').innerText.startsWith('no answer')")
