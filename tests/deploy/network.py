"""Hosts of their own on one machine: network namespaces on a bridge."""

import os
import pathlib
import subprocess


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Network:
    """A bridge with the test itself at `.1`, and hosts at `.2` and on.

    Use as a context manager; leaving it removes everything. Names and addresses
    carry the process number, so that two runs do not meet.
    """

    def __init__(self):
        self.tag = f"f{os.getpid() % 100000}"
        self.prefix = f"10.{200 + os.getpid() // 250 % 50}.{os.getpid() % 250}"
        self.hosts = []

    def __enter__(self):
        ip("link", "add", self.bridge, "type", "bridge")
        ip("addr", "add", f"{self.address}/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")
        return self

    def __exit__(self, *_):
        for host in self.hosts:
            host.remove()
        subprocess.run(["ip", "link", "del", self.bridge], check=False)

    @property
    def bridge(self):
        return f"{self.tag}br"

    @property
    def address(self):
        return f"{self.prefix}.1"

    def add_host(self):
        host = Host(self, len(self.hosts) + 2)
        self.hosts.append(host)
        host.create()
        return host


class Host:
    """One network namespace with an address on the bridge."""

    def __init__(self, network, number):
        self.network = network
        self.name = f"{network.tag}h{number}"
        self.address = f"{network.prefix}.{number}"

    @property
    def device(self):
        """The name of its network device, seen from inside."""
        return f"{self.name}i"

    def create(self):
        outside, inside = f"{self.name}o", self.device
        ip("netns", "add", self.name)
        ip("link", "add", outside, "type", "veth", "peer", "name", inside)
        ip("link", "set", outside, "master", self.network.bridge, "up")
        ip("link", "set", inside, "netns", self.name)
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", inside)
        ip("-n", self.name, "link", "set", inside, "up")
        ip("-n", self.name, "link", "set", "lo", "up")

    def cut(self):
        """As a machine that dies: nothing of it reaches anybody, no goodbye either."""
        ip("link", "set", f"{self.name}o", "down")

    def remove(self):
        """May be called twice. What still runs there has no network any more."""
        if pathlib.Path(self.path).exists():
            ip("netns", "del", self.name)

    @property
    def path(self):
        return f"/run/netns/{self.name}"

    def command(self, *arguments):
        """The command line that runs `arguments` on this host."""
        return ["ip", "netns", "exec", self.name, *map(str, arguments)]
