"""The shared libraries that programs load, copied beside them with licences."""

import os
import pathlib
import re
import shutil

from build import PackagingError, files_below, run

# The C library's own, which belong to the kernel and loader of each system; and
# the name that the kernel itself provides.
SYSTEM = re.compile(r"^(?:ld-linux.*|lib(?:c|m|dl|rt|pthread|util|resolv|nsl|mvec|"
                    r"anl|BrokenLocale|thread_db|nss_\w+))\.so\.\d+$|^linux-vdso")


def resolved(programs):
    """Name -> path of every library that the loader finds, system's left out."""
    found = {}
    for program in programs:
        for line in run("ldd", program).splitlines():
            words = line.split()
            if "not found" in line:
                raise PackagingError(f"{program} misses {words[0]}")
            if len(words) >= 3 and words[1] == "=>" and not SYSTEM.match(words[0]):
                found[words[0]] = pathlib.Path(words[2])
    return found


def carry(root, programs):
    """Copies what `programs` load into root/lib, points every file there first, and
    puts the licence of each Debian package it came from into root/licenses. Returns
    the names of these packages."""
    libraries = resolved(programs)
    (root / "lib").mkdir()
    for name, path in sorted(libraries.items()):
        copy = root / "lib" / name
        shutil.copyfile(path, copy)
        copy.chmod(0o755)
        set_path(copy, "$ORIGIN")
    for program in programs:
        set_path(program, "$ORIGIN/../lib")
    packages = sorted(owners(libraries.values()))
    for package in packages:
        folder = root / "licenses" / package
        folder.mkdir(parents=True)
        shutil.copyfile(f"/usr/share/doc/{package}/copyright", folder / "copyright")
    return packages


def set_path(file, path):
    # DT_RPATH, not DT_RUNPATH: LD_LIBRARY_PATH of the caller must not put other
    # versions of the same names in front.
    run("patchelf", "--force-rpath", "--set-rpath", path, file)


def owners(paths):
    """The Debian packages of files. dpkg knows a file by its real path or by the one
    from before /lib was merged into /usr, so that half of what is asked is unknown."""
    real = [os.path.realpath(path) for path in paths]
    asked = [*real, *(path.removeprefix("/usr") for path in real)]
    found = {}
    for line in run("dpkg-query", "--search", *asked, codes=(0, 1)).splitlines():
        package, _, path = line.partition(": ")
        found[path] = package.split(":")[0]
    for path in real:
        if path not in found and path.removeprefix("/usr") not in found:
            raise PackagingError(f"no package owns {path}: its licence is not known")
    return set(found.values())


def glibc_needed(folder):
    """(major, minor) of the newest symbol version that any file below asks the C
    library for."""
    newest = (0, 0)
    for file in files_below(folder):
        with file.open("rb") as opened:
            if opened.read(4) != b"\x7fELF":
                continue
        for version in re.findall(r"\(?GLIBC_(\d+\.\d+)", run("objdump", "-T", file)):
            newest = max(newest, tuple(map(int, version.split("."))))
    if newest == (0, 0):
        raise PackagingError(f"nothing below {folder} asks for a C library")
    return newest
