"""A build directory: its version, and what `cmake --install` takes from it."""

import os
import pathlib
import platform
import re
import shutil
import subprocess

PROGRAMS = ("fff-server", "fffctl")


class PackagingError(Exception):
    """Why an archive cannot be made, in words for the one who asked."""


def run(*command, codes=(0,), **options):
    """Standard output of a command, or its message as an error."""
    words = [str(word) for word in command]
    if shutil.which(words[0]) is None:
        raise PackagingError(f"{words[0]} is missing: run deploy/setup package")
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    if done.returncode not in codes:
        raise PackagingError(f"{' '.join(words)}:\n{done.stdout}{done.stderr}")
    return done.stdout


class Build:
    """Reads `directory`, a configured and built tree of the checkout `source`;
    writes below `scratch` alone."""

    def __init__(self, source, directory, scratch):
        self.source, self.directory, self.scratch = source, directory, scratch
        for program in PROGRAMS:
            if not (directory / "bin" / program).exists():
                raise PackagingError(
                    f"{directory}/bin/{program} is not there: build first, as in\n"
                    "  cmake --preset release && cmake --build --preset release")
        cache = (directory / "CMakeCache.txt").read_text(encoding="utf-8")
        sanitizers = re.search(r"^FFF_SANITIZE:STRING=(\S+)$", cache, re.M)
        if sanitizers:
            raise PackagingError(f"{directory} is built with sanitizers ({sanitizers[1]})")
        found = re.search(r"^CMAKE_PROJECT_VERSION:STATIC=(\S+)$", cache, re.M)
        if not found:
            raise PackagingError(f"{directory}/CMakeCache.txt names no version")
        self.version = found[1]
        self.machine = os.uname().machine
        self.system = platform.freedesktop_os_release()

    def install(self, name, prefix, *components):
        """Runs the install rules into a folder `name` of scratch; returns it. The files
        believe that they will lie below `prefix`."""
        root = self.scratch / name
        for component in components:
            run("cmake", "--install", self.directory, "--prefix", prefix, "--strip",
                "--component", component, env={**os.environ, "DESTDIR": str(root)})
        said = run(root / prefix.lstrip("/") / "bin/fff-server", "--version").strip()
        if said != f"fff-server {self.version}":
            raise PackagingError(f"the binary says {said!r}, CMake says {self.version}:"
                                 " build again")
        return root

    def epoch(self):
        """The time that files in archives carry."""
        told = os.environ.get("SOURCE_DATE_EPOCH")
        if told:
            return int(told)
        try:
            return int(run("git", "-C", self.source, "log", "-1", "--format=%ct"))
        except PackagingError:  # a source archive, or another user's checkout
            return int((self.source / "CMakeLists.txt").stat().st_mtime)

    def text(self, *parts):
        """The text of a file below deploy/packaging."""
        return (self.source / "deploy/packaging").joinpath(*parts).read_text(
            encoding="utf-8")


def files_below(folder):
    """Files and links in a fixed order."""
    return sorted(pathlib.Path(folder, name) for folder, _, names in os.walk(folder)
                  for name in names)
