"""Limits that the kernel holds a process to: a cgroup of version 1 or 2."""

import pathlib
import re

MOUNT = pathlib.Path("/sys/fs/cgroup")


class Cgroup:
    """A child of this process's own group for `controller`, removed when left.
    `files` maps version 1 and 2 to what is written into it, in order. `reason` says
    why there is none, where this machine or user cannot make one."""

    def __init__(self, name, controller, files):
        self.path = self.reason = None
        for parent, version in self._parents(controller):
            try:
                self.path = self._make(parent / name, files[version])
                return
            except OSError as error:
                self.reason = f"no {controller} cgroup of our own: {error}"

    @staticmethod
    def _parents(controller):
        text = pathlib.Path("/proc/self/cgroup").read_text(encoding="ascii")
        for controllers, own in re.findall(r"^\d+:(.*?):/(.*)$", text, re.M):
            if controller in controllers.split(","):
                yield MOUNT / controller / own, 1
            elif not controllers:
                yield MOUNT / own, 2

    @staticmethod
    def _make(path, files):
        path.mkdir()
        try:
            for name, value in files.items():
                (path / name).write_text(str(value), encoding="ascii")
        except OSError:
            path.rmdir()
            raise
        return path

    def command(self, words):
        """Runs `words` inside."""
        if self.path is None:
            return words
        return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"',
                str(self.path / "cgroup.procs"), *words]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if self.path is not None:
            self.path.rmdir()


def memory_cgroup(name, limit_bytes):
    """Bounded memory and no swap."""
    return Cgroup(name, "memory", {
        1: {"memory.limit_in_bytes": limit_bytes, "memory.swappiness": 0},
        2: {"memory.max": limit_bytes, "memory.swap.max": 0}})


def cpu_cgroup(name, cpus):
    """A quota of so many CPUs."""
    period = 100000
    quota = int(cpus * period)
    return Cgroup(name, "cpu", {
        1: {"cpu.cfs_period_us": period, "cpu.cfs_quota_us": quota},
        2: {"cpu.max": f"{quota} {period}"}})
