"""What a cluster does when pods come and go, on network namespaces: every new pod has
a new address, names are cached, and things happen in the kubelet's order. What the
pods are told and how fast they are replaced stands in deploy/kubernetes/base.

Times are those of a cluster as it is installed, all multiplied by TIME_SCALE.
"""

import os
import subprocess
import threading
import time
import urllib.error
import urllib.request

import yaml

import paths
from scale import HTTP_PORT, PORT, DnsCache, NameServer, Replica

TIME_SCALE = float(os.environ.get("FFF_DEPLOY_TIME_SCALE", "0.2"))
DNS_TTL = 30  # CoreDNS's of a service, which its cache keeps as long
RESOLVER_PAUSE = 30  # gRPC's, between two look-ups of a name
PROXY_LAG = 1  # until kube-proxy follows
EVICTION_RETRY = 5  # kubectl drain, where a budget refuses
NODE_GRACE = 50  # until a silent node's pods are no endpoints any more
SCALED_FLAGS = ("--drain-delay", "--max-connection-age")
SERVICE_ADDRESS = "10.96.0.10"
BASE = paths.DEPLOY / "kubernetes" / "base"


def emulated_sleep(seconds):
    time.sleep(seconds * TIME_SCALE)


class Manifest:
    """The numbers of deployment.yaml and disruption-budget.yaml."""

    def __init__(self):
        spec = yaml.safe_load((BASE / "deployment.yaml").read_text())["spec"]
        pod = spec["template"]["spec"]
        container = pod["containers"][0]
        rolling = spec["strategy"]["rollingUpdate"]
        budget = yaml.safe_load((BASE / "disruption-budget.yaml").read_text())["spec"]
        hook = container.get("lifecycle", {}).get("preStop", {})
        self.replicas = spec["replicas"]
        self.min_ready_seconds = spec.get("minReadySeconds", 0)
        self.surge_max = rolling["maxSurge"]
        self.unavailable_max = rolling["maxUnavailable"]
        self.disrupted_max = budget["maxUnavailable"]
        self.pre_stop_seconds = hook.get("sleep", {}).get("seconds", 0)
        self.grace_seconds = pod["terminationGracePeriodSeconds"]
        self.startup_path = container["startupProbe"]["httpGet"]["path"]
        variables = {one["name"]: one["value"] for one in container["env"]}
        self.connection_age = float(variables.get("FFF_MAX_CONNECTION_AGE", 300))
        self.flags = [self._flag(*pair) for pair in variables.items()]

    @staticmethod
    def _flag(variable, value):
        name = "--" + variable.removeprefix("FFF_").lower().replace("_", "-")
        if name in SCALED_FLAGS:
            value = f"{round(float(value) * TIME_SCALE * 1000)}ms"
        return f"{name}={value}"


class ServiceProxy:
    """kube-proxy on a client's host: a new connection to the service's address goes
    to one of its pods, at random. Connections that stand stay where they are."""

    CHAIN = "SERVICE"

    def __init__(self, host):
        self._host = host
        subprocess.run(host.command("ip", "route", "add", f"{SERVICE_ADDRESS}/32", "dev",
                                    host.device), check=True)
        rule = f"-A OUTPUT -d {SERVICE_ADDRESS}/32 -p tcp --dport {PORT} -j {self.CHAIN}"
        # Without a rule that asks for it the kernel follows no connection.
        follow = "-A OUTPUT -m conntrack --ctstate INVALID -j DROP"
        self._change({"nat": [rule], "filter": [follow, rule]})
        self.publish([])

    def _change(self, rules):
        lines = []
        for table, added in rules.items():
            # To name a chain is to make or to empty it.
            lines += [f"*{table}", f":{self.CHAIN} - [0:0]", *added, "COMMIT"]
        subprocess.run(self._host.command("iptables-restore", "--noflush"), check=True,
                       text=True, input="\n".join([*lines, ""]), capture_output=True)

    def publish(self, addresses):
        refuse = [] if addresses else [f"-A {self.CHAIN} -j REJECT"]
        choose = [f"-A {self.CHAIN} -p tcp -m statistic --mode random "
                  f"--probability {1 / (len(addresses) - i):.8f} "
                  f"-j DNAT --to-destination {address}:{PORT}"
                  for i, address in enumerate(addresses)]
        self._change({"nat": choose, "filter": refuse})


class Pod(Replica):
    """A server on a host of its own, on one of the nodes; Ready once it listens, if
    its models are good."""

    def __init__(self, host, node, flags, models=paths.DEMO_MODELS):
        super().__init__(host, *flags, models=models)
        self.node = node
        self.ready_at = time.monotonic()

    def answers(self, path):
        """Whether a probe of that path succeeds."""
        try:
            urllib.request.urlopen(f"http://{self.host.address}:{HTTP_PORT}{path}").close()
        except urllib.error.HTTPError:
            return False
        return True


class Cluster:
    """Two nodes, one deployment, its services. Actions return when they have been
    carried out, `settle` when their consequences have, too."""

    NODES = ("node-1", "node-2")

    def __init__(self, network, directory):
        self.manifest = Manifest()
        self._network = network
        self._names = NameServer(network.add_host(), directory, [],
                                 ttl=round(DNS_TTL * TIME_SCALE))
        self._cache = DnsCache(network.add_host(), self._names)
        self._proxies = []
        self._publishing = threading.Lock()
        self._changes = self._told = 0  # of the endpoints
        self._cordoned = None
        self.pods = []  # without those that are going
        self._endings = []
        self.exit_codes = []
        self.scale(self.manifest.replicas)

    @property
    def headless_target(self):
        return self._cache.target

    @property
    def uncached_target(self):
        """The same names, of a cluster whose DNS keeps no answers of its own zone."""
        return self._names.target

    @property
    def service_target(self):
        return f"ipv4:{SERVICE_ADDRESS}:{PORT}"

    def add_client_host(self):
        """One where the service's address leads to the pods."""
        host = self._network.add_host()
        proxy = ServiceProxy(host)
        proxy.publish([pod.host.address for pod in self.pods])
        self._proxies.append(proxy)
        return host

    # What the controllers do.

    def _new_pod(self):
        free = [node for node in self.NODES if node != self._cordoned]
        node = min(free, key=lambda name: sum(pod.node == name for pod in self.pods))
        return Pod(self._network.add_host(), node, self.manifest.flags)

    def _add_pod(self):
        self.pods.append(self._new_pod())
        self._publish()

    def _publish(self):
        """The endpoints: names at once, kube-proxies a moment later."""
        ready = list(self.pods)
        self._names.publish(ready)
        self._changes += 1
        timer = threading.Timer(PROXY_LAG * TIME_SCALE, self._tell_proxies,
                                [self._changes, [pod.host.address for pod in ready]])
        timer.start()
        self._endings.append(timer)

    def _tell_proxies(self, change, addresses):
        with self._publishing:
            if change < self._told:
                return  # its timer was late
            self._told = change
            for proxy in self._proxies:
                proxy.publish(addresses)

    def _delete(self, pod):
        """Its endpoints go; then preStop, SIGTERM, and SIGKILL where it takes longer."""
        self.pods.remove(pod)
        ending = threading.Thread(target=self._end, args=[pod])
        ending.start()
        self._endings.append(ending)
        self._publish()

    def _end(self, pod):
        emulated_sleep(self.manifest.pre_stop_seconds)
        pod.process.terminate()
        left = self.manifest.grace_seconds - self.manifest.pre_stop_seconds
        try:
            pod.process.wait(timeout=left)
        except subprocess.TimeoutExpired:
            pod.process.kill()
        self.exit_codes.append(pod.process.wait())
        pod.host.remove()

    # What people do.

    def scale(self, replicas):
        while len(self.pods) < replicas:
            self._add_pod()
        while len(self.pods) > replicas:
            self._delete(self.pods[-1])

    def scale_up_after_a_look(self, address):
        """One more pod, ready the moment after that host (the DNS cache, where there
        is none) has looked the name up: so it must wait longest for the next look."""
        pod = self._new_pod()
        self._names.await_question(address or self._cache.address)
        pod.ready_at = time.monotonic()
        self.pods.append(pod)
        self._publish()
        return pod

    def rolling_update(self):
        """As the deployment's controller does it."""
        old, wanted = list(self.pods), len(self.pods)
        while old:
            while (len(self.pods) < wanted + self.manifest.surge_max
                   and len(self.pods) - len(old) < wanted):
                self._add_pod()
            available_at = [pod.ready_at + self.manifest.min_ready_seconds * TIME_SCALE
                            for pod in self.pods if pod not in old]
            now = time.monotonic()
            available = len(old) + sum(at <= now for at in available_at)
            spare = available - (wanted - self.manifest.unavailable_max)
            for pod in old[:max(0, spare)]:
                old.remove(pod)
                self._delete(pod)
            if spare <= 0:
                time.sleep(max(0.0, min(at for at in available_at if at > now) - now))

    def try_update(self, models, seconds):
        """Begins a rolling update to pods with other models, and undoes it unless its
        first pod passes the startup probe in time; says whether it did. Until then the
        pod is no endpoint, and no old one may go."""
        assert self.manifest.unavailable_max == 0 and self.manifest.surge_max > 0
        first = Pod(self._network.add_host(), self.NODES[0], self.manifest.flags, models)
        deadline = time.monotonic() + seconds
        passed = False
        while not passed and time.monotonic() < deadline:
            time.sleep(0.1)  # between two probes
            passed = first.answers(self.manifest.startup_path)
        self.exit_codes.append(first.stop())
        first.host.remove()
        return passed

    def delete_all(self):
        for pod in list(self.pods):
            self._delete(pod)
        self.scale(self.manifest.replicas)

    def drain(self, node):
        """Evicts what runs there, as the budget allows; others may come back to it."""
        self._cordoned = node
        wanted = len(self.pods)
        for pod in [one for one in self.pods if one.node == node]:
            while len(self.pods) - 1 < wanted - self.manifest.disrupted_max:
                emulated_sleep(EVICTION_RETRY)
            self._delete(pod)
            self.scale(wanted)
        self._cordoned = None

    def lose(self, pod):
        """Its machine dies; the cluster sees that late and replaces it."""
        pod.host.cut()
        emulated_sleep(NODE_GRACE)
        self.pods.remove(pod)
        self._publish()
        self.scale(len(self.pods) + 1)
        pod.process.kill()
        pod.process.wait()

    def settle(self):
        """Returns when all that were told to go have gone."""
        while self._endings:
            self._endings.pop().join()

    def stop(self):
        self.settle()
        for pod in self.pods:
            pod.process.terminate()
        self.exit_codes += [pod.process.wait(timeout=60) for pod in self.pods]
        self._cache.stop()
        self._names.stop()
