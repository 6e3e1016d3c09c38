"""A real Prometheus over servers of the test, and the API it answers."""

import json
import pathlib
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

START_SECONDS_MAX = 120


class Prometheus:
    """Scrapes `targets` (job -> list of addresses) and evaluates `rules` twice per
    second. Use as a context manager."""

    def __init__(self, directory, targets, rules, *flags):
        self.directory = pathlib.Path(directory)
        config = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms",
                       "evaluation_interval": "500ms"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": addresses}]}
                for job, addresses in targets.items()]}
        path = self.directory / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        self.log = self.directory / "prometheus.log"
        with open(self.log, "w", encoding="utf-8") as output:
            self._process = subprocess.Popen(
                ["prometheus", f"--config.file={path}", "--web.listen-address=127.0.0.1:0",
                 f"--storage.tsdb.path={self.directory / 'data'}", "--log.level=info", *flags],
                stdout=output, stderr=subprocess.STDOUT)
        self.port = self._await_port()
        self._await_ready()

    def _await_port(self):
        """Prometheus logs the port it was given, or the kernel tells it."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self.log.read_text()
            found = subprocess.run(
                ["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
            for line in found.splitlines():
                if f"pid={self._process.pid}," in line:
                    return int(re.search(r":(\d+)\s", line).group(1))
            time.sleep(0.05)  # between two looks; the deadline decides
        raise AssertionError(self.log.read_text())

    def _await_ready(self):
        """It answers 503 while it opens its storage."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready").close()
            except urllib.error.HTTPError as error:
                assert error.code == 503 and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)  # between two looks; the deadline decides

    def get(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?" \
            f"{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def query(self, expression):
        """[(labels, value)], NaN left out."""
        result = self.get("query", query=expression)["result"]
        samples = [(one["metric"], float(one["value"][1])) for one in result]
        return [(labels, value) for labels, value in samples if value == value]

    def rules(self):
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def await_data(self, expression, seconds=60):
        """The samples of an expression, as soon as there are any."""
        deadline = time.monotonic() + seconds
        while True:
            samples = self.query(expression)
            if samples or time.monotonic() > deadline:
                return samples
            time.sleep(0.2)  # a scrape or an evaluation away

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(timeout=60)
