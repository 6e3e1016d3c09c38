"""A headless Chromium, driven by its debugging protocol over a pipe."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time

ANSWER_SECONDS_MAX = 60
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
         "--hide-scrollbars", "--remote-debugging-pipe"]


class Browser:
    """One page. `errors` holds console errors and uncaught exceptions, `requests`
    the URL of everything the page asked for. Use as a context manager."""

    def __init__(self):
        self.errors = []
        self.requests = []
        self._next_id = 0
        self._profile = tempfile.mkdtemp(prefix="fff-chromium-")
        from_us, self._write = os.pipe()
        self._read, to_us = os.pipe()
        # The protocol wants descriptors 3 and 4.
        command = " ".join(["exec chromium", *FLAGS, f"--user-data-dir={self._profile}",
                            f"about:blank 3<&{from_us} 4>&{to_us}"])
        self._process = subprocess.Popen(
            ["bash", "-c", command], pass_fds=(from_us, to_us),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(from_us)
        os.close(to_us)
        self._buffer = b""
        self._session = None
        pages = self.call("Target.getTargets")["targetInfos"]
        page = next(info for info in pages if info["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page["targetId"],
                             flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """The result of one protocol call; events that come meanwhile are kept."""
        self._next_id += 1
        message = {"id": self._next_id, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while time.monotonic() < deadline:
            answer = self._receive()
            if answer.get("id") == self._next_id:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)
        raise AssertionError(f"{method}: no answer in {ANSWER_SECONDS_MAX} s")

    def _receive(self):
        while b"\0" not in self._buffer:
            part = os.read(self._read, 1 << 20)
            assert part, "chromium ended"
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event):
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(parameters["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded":
            if parameters["entry"]["level"] == "error":
                self.errors.append(json.dumps(parameters["entry"]))
        elif event.get("method") == "Runtime.consoleAPICalled":
            if parameters["type"] in ("error", "assert", "warning"):
                self.errors.append(json.dumps(parameters["args"]))
        elif event.get("method") == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])

    def open(self, url):
        self.call("Page.navigate", url=url)

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression,
                           returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def await_true(self, expression, seconds=60):
        """Returns the expression's value as soon as it is true."""
        deadline = time.monotonic() + seconds
        while True:
            value = self.evaluate(expression)
            if value:
                return value
            assert time.monotonic() < deadline, f"not in {seconds} s: {expression}"
            time.sleep(0.05)  # between two looks; the deadline decides

    def set_screen(self, width, height, *, dark=False, phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2 if phone else 1, mobile=phone)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def screenshot(self, path):
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._write)  # the browser ends when its pipe does
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        shutil.rmtree(self._profile, ignore_errors=True)
