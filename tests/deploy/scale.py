"""Several servers on hosts of their own, and what spreads calls over them."""

import collections
import json
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

import yaml

import paths
import tools

PORT = 8001
HTTP_PORT = 8002
START_SECONDS_MAX = 120

# What deploy/README.md tells clients to set: calls go round all addresses of the
# name, a server that is not SERVING is left out, and a call that a stopping server
# refused is tried again elsewhere.
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": ""},
    "methodConfig": [{
        "name": [{"service": "fff.v1.InferenceService"},
                 {"service": "inference.GRPCInferenceService"}],
        "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.05s",
                        "maxBackoff": "1s", "backoffMultiplier": 2,
                        "retryableStatusCodes": ["UNAVAILABLE"]}}]}
LOOK_UP_PAUSE = "grpc.dns_min_time_between_resolutions_ms"
CLIENT_OPTIONS = [("grpc.service_config", json.dumps(SERVICE_CONFIG)),
                  ("grpc.enable_retries", 1), (LOOK_UP_PAUSE, 10000)]
# And against machines that die.
KEEPALIVE = [("grpc.keepalive_time_ms", 10000), ("grpc.keepalive_timeout_ms", 5000)]


class Replica:
    """fff-server on one host, on the usual ports."""

    def __init__(self, host, *flags, models=paths.DEMO_MODELS):
        self.host = host
        self._flags = flags
        self._models = models
        self.process = None
        self.start()

    def start(self):
        self._listening = threading.Event()
        self.log = []
        self.process = subprocess.Popen(
            self.host.command(
                paths.SERVER, f"--model-repository={self._models}", "--host=0.0.0.0",
                "--insecure",
                f"--grpc-port={PORT}", f"--http-port={HTTP_PORT}", "--threads=1",
                *self._flags),
            stderr=subprocess.PIPE, text=True, cwd=tempfile.gettempdir())
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        assert self._listening.wait(START_SECONDS_MAX), "\n".join(self.log)
        assert self.process.poll() is None, "\n".join(self.log)

    def _read(self, process):
        for line in process.stderr:
            self.log.append(line.rstrip("\n"))
            if "listening grpc=" in line:
                self._listening.set()
        self._listening.set()

    def stop(self):
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(timeout=60)

    def calls(self, method=""):
        """Requests (of one method) this replica has answered since it started."""
        url = f"http://{self.host.address}:{HTTP_PORT}/metrics"
        with urllib.request.urlopen(url) as reply:
            lines = reply.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines
                   if line.startswith("fff_requests_total{")
                   and (not method or f'method="{method}"' in line))


class NameServer:
    """dnsmasq on a host: one name, several addresses, changeable. Others may keep
    an answer for `ttl` seconds."""

    NAME = "fff-server.test"

    def __init__(self, host, directory, replicas, ttl=1):
        self.address = host.address
        self._hosts = directory / "hosts"
        self._write(replicas)
        self._read_again = threading.Event()
        self._asked = collections.defaultdict(threading.Event)
        self._process = subprocess.Popen(
            host.command("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts",
                         "--user=root", "--log-queries", "--conf-file=/dev/null", "--pid-file=",
                         f"--addn-hosts={self._hosts}", "--local=/test/",
                         f"--local-ttl={ttl}", f"--listen-address={host.address}",
                         "--bind-interfaces", "--log-facility=-"),
            stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self._follow, daemon=True).start()
        assert self._read_again.wait(60), "dnsmasq does not start"

    def _follow(self):
        for line in self._process.stderr:
            asked = re.search(rf"query\[A\] {self.NAME} from (\S+)", line)
            if asked:
                self._asked[asked[1]].set()
            elif f"read {self._hosts}" in line:
                self._read_again.set()

    def _write(self, replicas):
        self._hosts.write_text("".join(
            f"{replica.host.address} {self.NAME}\n" for replica in replicas))

    def publish(self, replicas):
        """Changes the addresses; returns when they are answered with."""
        self._read_again.clear()
        self._write(replicas)
        self._process.send_signal(signal.SIGHUP)
        assert self._read_again.wait(60), "dnsmasq does not read its hosts again"

    def await_question(self, address):
        """Returns when that host asks for the name the next time."""
        self._asked[address].clear()
        assert self._asked[address].wait(120), f"{address} does not ask"

    @property
    def target(self):
        return f"dns://{self.address}:53/{self.NAME}:{PORT}"

    def stop(self):
        self._process.terminate()
        self._process.wait(timeout=60)


class DnsCache:
    """dnsmasq on a host: asks a NameServer and keeps its answers while they may be."""

    def __init__(self, host, name_server):
        self.address = host.address
        self._process = subprocess.Popen(
            host.command("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts",
                         "--user=root", "--conf-file=/dev/null", "--pid-file=",
                         f"--server={name_server.address}",
                         f"--listen-address={host.address}", "--bind-interfaces",
                         "--log-facility=-"),
            stderr=subprocess.PIPE, text=True)
        for line in self._process.stderr:
            if "started" in line:
                break
        assert self._process.poll() is None, "dnsmasq does not start"
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    @property
    def target(self):
        return f"dns://{self.address}:53/{NameServer.NAME}:{PORT}"

    def stop(self):
        self._process.terminate()
        self._process.wait(timeout=60)


class Proxy:
    """A proxy on a host, before servers, with a configuration of deploy/."""

    # How fffctl, on the proxy's host, reaches it.
    CTL_FLAGS = (f"--server=localhost:{PORT}",)

    def __init__(self, host, replicas, directory):
        self.target = f"{host.address}:{PORT}"
        self._process = subprocess.Popen(
            host.command(*self.command(replicas, directory)),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._await_answer(host)

    def _await_answer(self, host):
        deadline = time.monotonic() + 30
        command = host.command(paths.CTL, *self.CTL_FLAGS, "status")
        while subprocess.run(command, capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, "the proxy does not pass calls on"
            time.sleep(0.1)  # between two tries; the deadline decides

    def stop(self):
        self._process.terminate()
        self._process.wait(timeout=60)


class Haproxy(Proxy):
    """haproxy with deploy/haproxy."""

    def command(self, replicas, directory):
        template = (paths.DEPLOY / "haproxy" / "haproxy.cfg").read_text()
        kept = [line for line in template.splitlines() if "server replica" not in line]
        kept += [f"    server replica{i} {replica.host.address}:{PORT}"
                 for i, replica in enumerate(replicas, 1)]
        path = directory / "haproxy.cfg"
        path.write_text("\n".join(kept) + "\n")
        return ["haproxy", "-db", "-f", path]


class Envoy(Proxy):
    """Envoy with deploy/gateways/envoy.yaml; addresses instead of the name."""

    def command(self, replicas, directory):
        config = yaml.safe_load((paths.DEPLOY / "gateways" / "envoy.yaml").read_text())
        cluster, = config["static_resources"]["clusters"]
        endpoints, = cluster["load_assignment"]["endpoints"]
        endpoints["lb_endpoints"] = [
            {"endpoint": {"address": {"socket_address": {
                "address": replica.host.address, "port_value": PORT}}}}
            for replica in replicas]
        self.change(config["static_resources"]["listeners"][0], cluster)
        path = directory / "envoy.json"
        path.write_text(json.dumps(config))
        return [tools.envoy(), "--disable-hot-restart", "--concurrency", "1", "-c", path]

    def change(self, listener, cluster):
        """What those who adapt the file would."""
