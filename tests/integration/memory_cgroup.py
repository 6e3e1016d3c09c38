"""A memory limit that the kernel holds a process to: a cgroup of version 1 or 2."""

import pathlib
import re

MOUNT = pathlib.Path("/sys/fs/cgroup")


class MemoryCgroup:
    """A child of this process's own group, removed when left. `reason` says why there
    is none, where this machine or user cannot make one."""

    def __init__(self, name, limit_bytes):
        self._limit = limit_bytes
        self.path = self.reason = None
        for parent, limit, swap in self._parents():
            try:
                self.path = self._make(parent / name, limit, swap)
                return
            except OSError as error:
                self.reason = f"no memory cgroup of our own: {error}"

    def _parents(self):
        text = pathlib.Path("/proc/self/cgroup").read_text(encoding="ascii")
        for controllers, own in re.findall(r"^\d+:(.*?):/(.*)$", text, re.M):
            if "memory" in controllers.split(","):
                yield (MOUNT / "memory" / own, "memory.limit_in_bytes",
                       "memory.swappiness")
            elif not controllers:
                yield MOUNT / own, "memory.max", "memory.swap.max"

    def _make(self, path, limit, swap):
        path.mkdir()
        try:
            (path / limit).write_text(str(self._limit), encoding="ascii")
            (path / swap).write_text("0", encoding="ascii")
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
