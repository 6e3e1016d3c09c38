"""The wheel: `pip install` puts both programs, their libraries and the demo model
into an environment of Python."""

import base64
import hashlib
import time
import zipfile

import tar_archive
from build import files_below

# pip's names of the processors that Debian builds for.
MACHINES = {"x86_64": "x86_64", "aarch64": "aarch64"}


def make(build, output):
    root, glibc = tar_archive.lay_out(build)
    # PEP 600: runs where the C library is at least this one, and needs no other
    # library of the system.
    tag = f"py3-none-manylinux_{glibc[0]}_{glibc[1]}_{MACHINES[build.machine]}"
    name = f"fff_serving-{build.version}"
    contents = {f"fff_serving/root/{file.relative_to(root)}":
                (file.read_bytes(), bool(file.stat().st_mode & 0o111))
                for file in files_below(root)}
    module = build.text("wheel", "entry_points.py").replace("@VERSION@", build.version)
    contents["fff_serving/__init__.py"] = (module.encode(), False)
    for file, text in {
            "METADATA": metadata(build),
            "WHEEL": f"Wheel-Version: 1.0\nGenerator: deploy/package\n"
                     f"Root-Is-Purelib: false\nTag: {tag}\n",
            "entry_points.txt": "[console_scripts]\n"
                                "fff-server = fff_serving:fff_server\n"
                                "fffctl = fff_serving:fffctl\n",
            "LICENSE": (build.source / "LICENSE").read_text(encoding="utf-8")}.items():
        contents[f"{name}.dist-info/{file}"] = (text.encode(), False)
    path = output / f"{name}-{tag}.whl"
    write(path, contents, f"{name}.dist-info/RECORD", build.epoch())
    return path


def metadata(build):
    return (f"Metadata-Version: 2.1\nName: fff-serving\nVersion: {build.version}\n"
            "Summary: Inference server for fast feedforward networks\n"
            "License: MIT\nRequires-Python: >=3.8\n"
            "Classifier: Operating System :: POSIX :: Linux\n"
            "Description-Content-Type: text/markdown\n\n"
            + build.text("wheel", "DESCRIPTION.md"))


def write(path, contents, record, epoch):
    """A wheel with `contents`, name -> (bytes, whether it is a program), and the
    table of their hashes."""
    lines = [f"{name},sha256={digest(data)},{len(data)}"
             for name, (data, _) in contents.items()]
    table = "\n".join([*lines, f"{record},,", ""]).encode()
    when = time.gmtime(max(epoch, 315532800))[:6]  # zip knows nothing before 1980
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, (data, program) in {**contents, record: (table, False)}.items():
            info = zipfile.ZipInfo(name, when)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o100755 if program else 0o100644) << 16
            archive.writestr(info, data)


def digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
