"""The package for the system that it is made on: the service, its user, and that
system's own libraries. So it is for that release alone, and its version names it."""

import gzip
import hashlib
import os
import re
import time

from build import PROGRAMS, files_below, run

DOC = "usr/share/doc/fff-serving"
SCRIPTS = ("postinst", "prerm", "postrm")


def version_of(build):
    """0.1.0+deb12 is less than 0.1.0+deb13: a new release of Debian upgrades it."""
    system = build.system["ID"].replace("debian", "deb")
    return f"{build.version}+{system}{build.system['VERSION_ID']}"


def make(build, output):
    root = build.install("debian", "/usr", "serving", "system")
    architecture = run("dpkg", "--print-architecture").strip()
    documents(build, root)
    compress(build, root)
    control = root / "DEBIAN"
    control.mkdir()
    for script in SCRIPTS:
        (control / script).write_text(build.text("debian", script), encoding="utf-8")
        (control / script).chmod(0o755)
    conffiles = [f"/{file.relative_to(root)}" for file in files_below(root / "etc")]
    (control / "conffiles").write_text("\n".join([*conffiles, ""]), encoding="utf-8")
    installed = [file for file in files_below(root) if control not in file.parents]
    (control / "md5sums").write_text("".join(
        f"{hashlib.md5(file.read_bytes()).hexdigest()}  {file.relative_to(root)}\n"
        for file in installed if f"/{file.relative_to(root)}" not in conffiles))
    size = sum(file.stat().st_size for file in installed) // 1024 + 1
    (control / "control").write_text(build.text("debian", "control").format(
        version=version_of(build), architecture=architecture, size=size,
        maintainer=maintainer(),
        depends=dependencies(build, root)), encoding="utf-8")
    plain_modes(root)
    path = output / f"fff-serving_{version_of(build)}_{architecture}.deb"
    run("dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, path,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(build.epoch())})
    return path


def dependencies(build, root):
    """What dpkg-shlibdeps finds in the binaries; it wants a source package around."""
    source = build.scratch / "source"
    (source / "debian").mkdir(parents=True)
    (source / "debian/control").write_text(
        "Source: fff-serving\n\nPackage: fff-serving\nArchitecture: any\n")
    said = run("dpkg-shlibdeps", "-O",
               *[root / "usr/bin" / program for program in PROGRAMS],
               cwd=source)
    return re.search(r"^shlibs:Depends=(.*)$", said, re.M)[1]


def documents(build, root):
    """Debian wants the licence as `copyright`, and a changelog of the package."""
    (root / DOC / "LICENSE").unlink()
    licence = (build.source / "LICENSE").read_text(encoding="utf-8")
    (root / DOC / "copyright").write_text(
        build.text("debian", "copyright").format(licence=licence.strip().replace(
            "\n\n", "\n.\n").replace("\n", "\n ")), encoding="utf-8")
    when = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(build.epoch()))
    (root / DOC / "changelog").write_text(build.text("debian", "changelog").format(
        version=version_of(build), maintainer=maintainer(), date=when), encoding="utf-8")


def maintainer():
    """Who makes the package, as Debian's own tools are told."""
    return "{} <{}>".format(os.environ.get("DEBFULLNAME", "FFF Serving maintainers"),
                            os.environ.get("DEBEMAIL", "root@localhost"))


def compress(build, root):
    for file in [*files_below(root / "usr/share/man"), root / DOC / "changelog"]:
        with open(f"{file}.gz", "wb") as raw, \
                gzip.GzipFile("", "wb", 9, raw, mtime=build.epoch()) as packed:
            packed.write(file.read_bytes())
        file.unlink()


def plain_modes(root):
    """As Debian has them, whatever the umask and the checkout's were."""
    for folder, _, names in os.walk(root):
        os.chmod(folder, 0o755)
        for name in names:
            path = os.path.join(folder, name)
            os.chmod(path, 0o755 if os.stat(path).st_mode & 0o100 else 0o644)
