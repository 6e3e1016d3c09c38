"""Bare root file systems of Debian, made by debootstrap as a registry has them."""

import pathlib
import re
import subprocess

SUITES = ("bookworm", "trixie")  # Debian 12 and 13


def mirror():
    """The Debian mirror of this machine's own apt sources."""
    sources = [pathlib.Path("/etc/apt/sources.list"),
               *pathlib.Path("/etc/apt/sources.list.d").glob("*")]
    for source in sources:
        if not source.exists():
            continue
        for url in re.findall(r"^(?:URIs:|deb)\s+(?:\[.*?\]\s+)?(\S+)",
                              source.read_text(), re.M):
            if url.rstrip("/").endswith("/debian"):
                return url
    raise AssertionError("no Debian mirror in /etc/apt")


def make_root(suite, folder):
    """A new root file system in `folder`; what lay there is gone."""
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["debootstrap", "--variant=minbase", suite, str(folder), mirror()],
                   check=True, stdout=subprocess.DEVNULL)
