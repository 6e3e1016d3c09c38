"""The relocatable archive: unpack it anywhere and run bin/fff-server."""

import functools
import gzip
import tarfile

import libraries
from build import PROGRAMS, files_below

PREFIX = "/fff-serving"


@functools.cache  # the wheel has the same
def lay_out(build):
    """A folder with bin/, lib/, share/, licenses/; returns it and (major, minor) of
    the C library that it needs."""
    root = build.install("relocatable", PREFIX, "serving") / PREFIX.lstrip("/")
    libraries.carry(root, [root / "bin" / program for program in PROGRAMS])
    (root / "licenses/fff-serving").mkdir()
    (root / "share/doc/fff-serving/LICENSE").rename(root / "licenses/fff-serving/LICENSE")
    glibc = libraries.glibc_needed(root)
    (root / "README.txt").write_text(build.text("tarball", "README.txt").format(
        version=build.version, machine=build.machine, glibc="%d.%d" % glibc,
        system=build.system["PRETTY_NAME"]), encoding="utf-8")
    return root, glibc


def make(build, output):
    root, _ = lay_out(build)
    name = f"fff-serving-{build.version}-linux-{build.machine}"
    path = output / f"{name}.tar.gz"
    epoch = build.epoch()

    def owned_by_nobody_here(member):
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        member.mtime = epoch
        member.mode = 0o755 if member.mode & 0o111 else 0o644
        return member

    with open(path, "wb") as raw, \
            gzip.GzipFile("", "wb", 6, raw, mtime=epoch) as packed, \
            tarfile.open(fileobj=packed, mode="w") as archive:
        for file in files_below(root):
            archive.add(file, f"{name}/{file.relative_to(root)}",
                        filter=owned_by_nobody_here)
    return path
