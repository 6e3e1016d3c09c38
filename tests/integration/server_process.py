"""A real fff-server process on free ports of the loopback interface."""

import os
import re
import signal
import subprocess
import tempfile
import threading

BINARY = os.environ["FFF_SERVER_BINARY"]
# A sanitizer's build on a busy machine; only what hangs takes as long.
SECONDS_MAX = 120


class ServerProcess:
    """Starts in the constructor and is ready when that returns.

    Use as a context manager; leaving it sends SIGTERM and expects exit code 0.
    `log` holds the lines of standard error that were read so far; what the server
    answers after a line may overtake it, so tests await lines. `within` makes another
    command of the server's, such as one that runs it in a cgroup.
    """

    def __init__(self, repository, *flags, wait=True, within=lambda words: words):
        self.log = []
        self._listening = threading.Event()
        self._line_came = threading.Condition()
        self.grpc_port = self.http_port = None
        self.grpc_address = self.http_address = None  # as the server's log has them
        command = [BINARY, f"--model-repository={repository}", "--grpc-port=0",
                   "--http-port=0", "--drain-delay=0", *flags]
        self.process = subprocess.Popen(within(command), stderr=subprocess.PIPE, text=True,
                                        cwd=tempfile.gettempdir())
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if wait:
            self.await_listening()

    def _read(self):
        for line in self.process.stderr:
            found = re.search(r"listening grpc=(\S+) http=([^\s\"]+)", line)
            if found:
                self.grpc_address, self.http_address = found.groups()
                self.http_port = int(self.http_address.rpartition(":")[2])
                if not self.grpc_address.startswith("unix:"):
                    self.grpc_port = int(self.grpc_address.rpartition(":")[2])
                self._listening.set()
            with self._line_came:
                self.log.append(line.rstrip("\n"))
                self._line_came.notify_all()
        self._listening.set()

    def await_listening(self):
        assert self._listening.wait(SECONDS_MAX), self.text()
        assert self.http_port is not None, f"did not start:\n{self.text()}"

    def starts(self):
        """Waits until it listens, or has ended; which of both."""
        assert self._listening.wait(SECONDS_MAX), self.text()
        return self.http_port is not None

    def await_line(self, text):
        """The first line of the log that holds `text`, as soon as it is there."""
        def found():
            return next((line for line in self.log if text in line), None)

        with self._line_came:
            line = self._line_came.wait_for(found, SECONDS_MAX)
        assert line, f"no line holds {text!r}:\n{self.text()}"
        return line

    def text(self):
        return "\n".join(self.log)

    @property
    def target(self):
        return f"127.0.0.1:{self.grpc_port}"

    def alive(self):
        return self.process.poll() is None

    def memory_bytes(self, field="VmRSS"):
        """VmRSS, what is resident, or VmHWM, the most that was."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
        raise AssertionError(f"no {field}")

    def exit_code(self):
        """Waits for the process to end by itself, and for the end of its log."""
        code = self.process.wait(timeout=SECONDS_MAX)
        self._reader.join(timeout=SECONDS_MAX)
        assert not self._reader.is_alive()
        return code

    def stop(self):
        """SIGTERM, then the exit code."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        return self.exit_code()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        code = self.stop()
        if kind is None:
            assert code == 0, f"exit code {code}:\n{self.text()}"
        elif code != 0:  # what failed may have failed for this
            print(f"exit code {code}:\n{self.text()[-20000:]}")
