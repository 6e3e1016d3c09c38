"""What deploy/package makes, each from nothing to a prediction on a bare Debian. The
.deb is for the release that it was made on; the wheel and the tarball go on to later
ones.

FFF_PACKAGES is a folder of archives that were made elsewhere; FFF_PACKAGES_SUITE then
names the release there, where this machine's is not it.
"""

import functools
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import time

import pytest

import bootstrap
import clean_root
import container
import paths
from clean_root import CleanRoot, Server

BUILD = paths.SERVER.parents[1]
PACKAGES = paths.WORK / "packages"
MADE = os.environ.get("FFF_PACKAGES")
SUITE = (os.environ.get("FFF_PACKAGES_SUITE") or
         platform.freedesktop_os_release()["VERSION_CODENAME"])
if SUITE not in bootstrap.SUITES:
    pytest.skip(f"no bare {SUITE} to install on", allow_module_level=True)
LATER = bootstrap.SUITES[bootstrap.SUITES.index(SUITE):]
RIGHT_MIN = 40  # of the 50 sample images; 43 is what the demo model does
# What every Linux system has; the rest comes along, or from Debian's packages.
C_LIBRARY = re.compile(r"^(lib(c|m|dl|rt|pthread|resolv)\.so|ld-linux)")
# A maintainer is who makes the package: nobody, in a test.
LINTIAN = ["lintian", "--fail-on=error,warning", "--allow-root",
           "--suppress-tags=bogus-mail-host,bogus-mail-host-in-debian-changelog,"
           "root-in-contact"]


@functools.cache
def package(kind, output=PACKAGES):
    """Path of an archive of that kind, a new one unless it was made elsewhere."""
    if MADE:
        ending = {"tarball": "tar.gz", "wheel": "whl", "deb": "deb"}[kind]
        found, = pathlib.Path(MADE).glob(f"fff*serving[-_]*.{ending}")
        return found
    started = time.monotonic()
    done = subprocess.run(
        [paths.DEPLOY / "package", f"--build={BUILD}", f"--output={output}", kind],
        check=False, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"{done.stdout.strip()}, made in {time.monotonic() - started:.1f} s")
    return pathlib.Path(done.stdout.split()[0])


@pytest.fixture(scope="module")
def host(network):
    return network.add_host()


@pytest.fixture
def bare(host, request):
    """Of the release that the archives were made on, or of the test's parameter."""
    with CleanRoot(host, container.make_base(getattr(request, "param", SUITE))) as root:
        assert not root.has("/usr/bin/cc") and not root.has("/usr/bin/gcc")
        yield root


def assert_predicts(root, *fffctl):
    """Asks the demo model about the sample images."""
    text = root.run(*fffctl, "--show=1").stdout
    right = re.search(r"accuracy .* \((\d+) of 50\)", text)
    assert right and int(right[1]) >= RIGHT_MIN, text


def tell(kind, root, started):
    """Prints how long it took; no time is asserted."""
    version = (root.path / "etc/debian_version").read_text().strip()
    print(f"{kind}: {time.monotonic() - started:.1f} s from nothing to a prediction"
          f" on a bare Debian {version}")


def assert_carries_its_libraries(server, folder):
    """Nothing of the system but the C library."""
    outside = {name for name in server.libraries() if f"{folder}/lib/" not in name}
    assert any("libgrpc.so" in name for name in server.libraries())
    assert outside, "the C library is the system's"
    assert all(C_LIBRARY.match(pathlib.Path(name).name) for name in outside), outside


@pytest.mark.parametrize("bare", LATER, indirect=True)
def test_tarball_serves_from_wherever_it_lies(bare):
    archive = bare.bring(package("tarball"))
    started = time.monotonic()
    bare.run("mkdir", "/srv/first", "/srv/then moved")
    bare.run("tar", "--extract", "--file", archive, "--directory", "/srv/first",
             "--strip-components=1")
    with Server(bare, "/srv/first/bin/fff-server", "--demo") as server:
        assert_predicts(bare, "/srv/first/bin/fffctl", *server.demo[1:])
        tell("tarball", bare, started)
    bare.run("sh", "-c", "mv /srv/first/* '/srv/then moved' && rmdir /srv/first")
    with Server(bare, "/srv/then moved/bin/fff-server", "--demo",
                "--drain-delay=0") as server:
        assert_carries_its_libraries(server, "/srv/then moved")
        assert_predicts(bare, "/srv/then moved/bin/fffctl", *server.demo[1:])
        assert server.stop() == 0


def test_tarball_has_a_licence_for_each_library(bare):
    archive = bare.bring(package("tarball"))
    names = bare.run("tar", "--list", "--file", archive).stdout.split()
    below = {name.partition("/")[2] for name in names}
    assert "licenses/fff-serving/LICENSE" in below and "README.txt" in below
    packages = {name.split("/")[1] for name in below if name.startswith("licenses/")}
    for wanted in (r"libgrpc\d+", r"libssl3", r"libdnnl[\d.]+", r"libstdc\+\+6"):
        # Debian 13's end in t64: their time_t has 64 bits on every machine.
        assert [name for name in packages if re.fullmatch(f"{wanted}(t64)?", name)]
    assert not [name for name in below if re.search(r"/lib(c|m)\.so|/ld-linux", name)]


@pytest.mark.parametrize("suite", LATER)
def test_wheel_serves_from_an_environment(host, suite):
    with CleanRoot(host, clean_root.make_python_base(suite)) as root:
        wheel = root.bring(package("wheel"))
        started = time.monotonic()
        root.run("python3", "-m", "venv", "/opt/env")
        # On a host without any network: nothing is fetched.
        root.run("/opt/env/bin/pip", "install", "--no-cache-dir", wheel)
        with Server(root, "/opt/env/bin/fff-server", "--demo",
                    "--drain-delay=0") as server:
            assert_predicts(root, "/opt/env/bin/fffctl", *server.demo[1:])
            tell("wheel, its environment included", root, started)
            assert_carries_its_libraries(server, "/fff_serving/root")
            assert server.stop() == 0, "the process is the server's own"
        assert_tag_is_honest(root, wheel)
        root.run("/opt/env/bin/pip", "uninstall", "--yes", "fff-serving")
        left = root.run("find", "/opt/env", "-iname", "*fff*").stdout
        assert left == ""


def assert_tag_is_honest(root, wheel):
    """manylinux_2_N says that glibc 2.N is enough, and no less."""
    told = int(re.search(r"manylinux_2_(\d+)_", wheel)[1])
    folder = next(root.path.glob("opt/env/lib/python3*/site-packages/fff_serving/root"))
    wanted = set()
    for file in [*(folder / "lib").iterdir(), *(folder / "bin").iterdir()]:
        text = subprocess.run(["readelf", "--version-info", "--wide", str(file)],
                              capture_output=True, text=True, check=True).stdout
        wanted |= {int(minor) for minor in re.findall(r"Name: GLIBC_2\.(\d+)", text)}
    assert max(wanted) == told


def unit_command(root):
    unit = (root.path / "usr/lib/systemd/system/fff-server.service").read_text()
    return re.search(r"^ExecStart=(.*)$", unit, re.M)[1].split()


def predict_command(root):
    samples = "/usr/share/fff-serving/samples/fashion-mnist"
    assert root.has(samples)
    return ["fffctl", "predict", "--model=fashion-mnist",
            f"--input={samples}/images.idx3-ubyte", f"--truth={samples}/labels.idx1-ubyte"]


def test_deb_installs_serves_and_leaves_nothing(bare):
    deb = bare.bring(package("deb"))
    started = time.monotonic()
    bare.apt_install(deb, "logrotate")
    with Server(bare, *unit_command(bare), user="fff:fff") as server:
        assert_predicts(bare, *predict_command(bare))
        tell("deb, downloads included", bare, started)
        uid = bare.run("id", "--user", "fff").stdout.strip()
        assert os.stat(f"/proc/{server.process.pid}").st_uid == int(uid) != 0
    assert_unit_is_sound(bare)
    assert_log_is_turned(bare)
    assert_upgrade_keeps_what_was_edited(bare, deb)
    bare.run("apt-get", "--quiet=2", "--yes", "purge", "fff-serving", on_host=False)
    bare.run("rm", deb)
    assert bare.run("find", "/", "-xdev", "-iname", "*fff*", "-not", "-path",
                    "/var/log/*", "-not", "-name", "*0xffffffff*").stdout == ""
    assert not bare.has("/var/log/fff-serving")
    for database in ("passwd", "group"):
        assert bare.run("getent", database, "fff", check=False).stdout == ""


@pytest.mark.parametrize("bare", LATER[1:], indirect=True)
def test_deb_is_refused_by_a_later_release(bare):
    # apt of Debian 13 names the first library that the release has not.
    with pytest.raises(AssertionError, match=r"Depends:? lib[a-z+.]+\d+"):
        bare.apt_install(bare.bring(package("deb")))
    assert not bare.has("/usr/bin/fff-server")


def assert_unit_is_sound(root):
    """As systemd reads it, and how much it exposes: 0 nothing, 10 everything."""
    unit = "fff-server.service"
    for target in pathlib.Path("/usr/lib/systemd/system").glob("*.target"):
        shutil.copy(target, root.path / "usr/lib/systemd/system")  # it orders itself
    said = subprocess.run(["systemd-analyze", f"--root={root.path}", "--man=no",
                           "verify", unit], capture_output=True, text=True, check=False)
    assert unit not in said.stdout + said.stderr, said.stdout + said.stderr
    said = subprocess.run(["systemd-analyze", f"--root={root.path}", "--offline=true",
                           "--threshold=20", "security", unit], capture_output=True,
                          text=True, check=False)
    exposure = re.search(r"Overall exposure level .*: (\S+)", said.stdout)
    assert exposure, said.stdout + said.stderr
    print(exposure[0].strip("→ "))
    assert said.returncode == 0, "exposure of at most 2.0"


def assert_log_is_turned(root):
    """logrotate moves the access log; SIGHUP, which the unit sends, opens a new one."""
    log = "/var/log/fff-serving/access.log"
    with Server(root, *unit_command(root), f"--access-log={log}", "--drain-delay=0",
                user="fff:fff") as server:
        assert_predicts(root, *predict_command(root))
        root.run("logrotate", "--force", "/etc/logrotate.d/fff-serving")
        assert root.has(f"{log}.1") and not root.has(log)
        server.process.send_signal(signal.SIGHUP)
        for _ in range(100):  # the signal is on its way
            assert_predicts(root, *predict_command(root))
            if root.has(log):
                break
        assert server.stop() == 0
    for file in (log, f"{log}.1"):
        first = (root.path / file.lstrip("/")).read_text().splitlines()[0]
        assert json.loads(first)["model"] == "fashion-mnist"


def assert_upgrade_keeps_what_was_edited(root, deb):
    options = root.path / "etc/fff-serving/fff-server.toml"
    edited = options.read_text().replace("grpc-port = 8001", "grpc-port = 9001")
    assert "9001" in edited
    options.write_text(edited)
    root.run("dpkg", "--install", deb)
    assert options.read_text() == edited
    with Server(root, *unit_command(root), user="fff:fff") as server:
        assert "listening grpc=127.0.0.1:9001" in server.text()


def test_deb_has_no_findings_of_lintian():
    done = subprocess.run([*LINTIAN, str(package("deb"))], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_packages_repeat(tmp_path):
    """Equal binaries make equal archives."""
    assert package("wheel", tmp_path).read_bytes() == package("wheel").read_bytes()


def test_a_build_that_is_not_there_is_named(tmp_path):
    done = subprocess.run([paths.DEPLOY / "package", f"--build={tmp_path}", "wheel"],
                          check=False, text=True, capture_output=True)
    assert done.returncode != 0
    assert f"{tmp_path}/bin/fff-server is not there: build first" in done.stderr


def test_a_build_with_sanitizers_is_refused(tmp_path):
    (tmp_path / "bin").mkdir()
    for program in (paths.SERVER, paths.CTL):
        (tmp_path / "bin" / program.name).symlink_to(program)
    (tmp_path / "CMakeCache.txt").write_text("FFF_SANITIZE:STRING=address,undefined\n")
    done = subprocess.run([paths.DEPLOY / "package", f"--build={tmp_path}", "wheel"],
                          check=False, text=True, capture_output=True)
    assert done.returncode != 0
    assert "is built with sanitizers (address,undefined)" in done.stderr
