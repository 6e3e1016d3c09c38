"""/metrics in OpenMetrics, as the parser of the Prometheus client reads it."""

import time
import urllib.request

import numpy as np
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as read_plain_text

import fff_api

MODEL = "sapient-128x64"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# What Prometheus 2.42 sends.
PROMETHEUS = ("application/openmetrics-text;version=1.0.0,"
              "application/openmetrics-text;version=0.0.1;q=0.75,"
              "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")


def scrape(server, accept):
    request = urllib.request.Request(f"http://127.0.0.1:{server.http_port}/metrics",
                                     headers={"Accept": accept})
    with urllib.request.urlopen(request) as reply:
        assert reply.headers["Vary"] == "Accept"
        return reply.headers["Content-Type"], reply.read().decode()


def families(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


def ask(server, *metadata):
    api = fff_api.Api(server.target)
    api.own.Predict(fff_api.predict_request(MODEL, np.ones((1, 128), np.float32)),
                    metadata=metadata)
    api.close()


def test_only_who_asks_for_it_gets_it(server):
    kind, text = scrape(server, PROMETHEUS)
    assert kind == OPEN_METRICS and text.endswith("\n# EOF\n")
    for accept in ("*/*", "text/plain", "text/html,*/*;q=0.8"):
        kind, text = scrape(server, accept)
        assert kind == "text/plain; version=0.0.4" and "# EOF" not in text


def test_both_texts_have_the_same_series(server):
    ask(server)

    def series(parsed):
        return {(sample.name, frozenset(sample.labels.items()))
                for family in parsed for sample in family.samples}

    plain = series(read_plain_text(scrape(server, "text/plain")[1]))
    assert len(plain) > 300
    assert series(families(scrape(server, PROMETHEUS)[1]).values()) == plain


def test_types_and_units_are_told(server):
    parsed = families(scrape(server, PROMETHEUS)[1])
    assert parsed["fff_requests"].type == "counter"
    assert parsed["fff_request_duration_seconds"].type == "histogram"
    assert parsed["fff_request_duration_seconds"].unit == "seconds"
    assert parsed["process_cpu_seconds"].unit == "seconds"
    assert parsed["fff_model_weights_bytes"].unit == "bytes"
    assert parsed["fff_model_info"].type == "gauge"


def test_a_traced_request_is_an_exemplar_on_its_bucket(server):
    ask(server, ("traceparent", f"00-{TRACE}-{PARENT}-00"))
    ask(server)

    def exemplars():
        parsed = families(scrape(server, PROMETHEUS)[1])
        return [sample for family in parsed.values() for sample in family.samples
                if sample.exemplar]

    assert exemplars() == []  # nobody records these
    ask(server, ("traceparent", f"00-{TRACE}-{PARENT}-01"))
    sample, = exemplars()
    assert sample.name == "fff_request_duration_seconds_bucket"
    assert sample.labels["model"] == MODEL and sample.labels["method"] == "Predict"
    assert sample.exemplar.labels == {"trace_id": TRACE, "span_id": PARENT}
    assert 0 < sample.exemplar.value <= float(sample.labels["le"])
    assert abs(float(sample.exemplar.timestamp) - time.time()) < 3600
