"""Our side of compare.py: a server with a model for each network."""

import json
import pathlib
import re
import subprocess
import sys
import threading


class Server:
    """Ends with the `with` block."""

    def __init__(self, bin_dir, models, threads):
        self.ctl, self.threads = bin_dir / "fffctl", threads
        self.process = subprocess.Popen(
            [bin_dir / "fff-server", f"--model-repository={models}", "--grpc-port=0",
             "--http-port=0", "--device=cpu", f"--threads={threads}", "--drain-delay=0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.target, log = None, ""
        for line in self.process.stdout:
            found = re.search(r"grpc=(\S+)", line)
            if "listening" in line and found:
                self.target = found.group(1)
                break
            log += line
        if self.target is None:
            sys.exit(f"the server ended: {log}")
        # A pipe that nobody reads would stop the server's log, and with it the server.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def resident_bytes(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", text).group(1))

    def ask(self, *words):
        done = subprocess.run([self.ctl, f"--server={self.target}", *words],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr.strip())
        return done.stdout

    def turn(self, model, rows, seconds):
        fff = json.loads(self.ask(
            "benchmark", f"--model={model}", f"--rows={rows}", f"--threads={self.threads}",
            f"--seconds={seconds}", "--twin-only", "--json"))["fff"]
        return {key: fff[key] for key in ("median_s", "min_s", "samples")}

    def check(self, model, read, write):
        self.ask("predict", f"--model={model}", f"--input={read}", f"--output={write}",
                 "--show=0")
