"""A bare Debian, as a user's machine has it, to install packages on: a file system
of its own (chroot, from a base image of container.py) on a host of its own (network
namespace). No compiler, no library beyond the base system."""

import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import threading

import container

START_SECONDS_MAX = 120
# With the system's own /proc and /dev, which nothing here changes.
ENTER = 'mount --rbind /proc "$1/proc" && mount --rbind /dev "$1/dev" && shift && exec "$@"'


def make_python_base(suite):
    """The base and what Debian calls Python with venv; kept. Its name."""
    image = f"localhost/debian:{suite}-python"
    if not container.exists(image):
        with CleanRoot(None, container.make_base(suite)) as root:
            root.apt_install("python3", "python3-venv")
            container.buildah("commit", "--quiet", root.container, image,
                              stdout=subprocess.DEVNULL)
    return image


class CleanRoot:
    """A copy of an image that is written to and thrown away. `host` is a network
    namespace (network.Host) that the programs run in.

    Use as a context manager; leaving it removes the copy.
    """

    def __init__(self, host, image):
        self.host, self.image = host, image

    def __enter__(self):
        self.container = container.buildah(
            "from", "--pull-never", self.image, stdout=subprocess.PIPE).stdout.strip()
        self.path = pathlib.Path(container.buildah(
            "mount", self.container, stdout=subprocess.PIPE).stdout.strip())
        return self

    def __exit__(self, *_):
        container.buildah("umount", self.container, stdout=subprocess.DEVNULL)
        container.buildah("rm", self.container, stdout=subprocess.DEVNULL)

    def command(self, *words, user=None, on_host=True):
        """The command line that runs `words` in here; the process is the last one's."""
        enter = ["unshare", "--mount", "sh", "-c", ENTER, "sh", str(self.path),
                 "chroot", *([f"--userspec={user}"] if user else []), str(self.path),
                 "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
                 "HOME=/root", "DEBIAN_FRONTEND=noninteractive", *map(str, words)]
        return self.host.command(*enter) if on_host else enter

    def run(self, *words, check=True, **where):
        done = subprocess.run(self.command(*words, **where), text=True, check=False,
                              capture_output=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0 or not check, \
            f"{shlex.join(map(str, words))}:\n{done.stdout}{done.stderr}"
        return done

    def apt_install(self, *packages):
        """From the mirror that the base was made from; the machine's network."""
        shutil.copyfile("/etc/resolv.conf", self.path / "etc/resolv.conf")
        self.run("apt-get", "--quiet=2", "update", on_host=False)
        self.run("apt-get", "--quiet=2", "--yes", "--no-install-recommends", "install",
                 *packages, on_host=False)

    def bring(self, file):
        """A file of the test's into /root; its path there."""
        shutil.copy(file, self.path / "root")
        return f"/root/{pathlib.Path(file).name}"

    def has(self, path):
        return (self.path / path.lstrip("/")).exists()


class Server:
    """A server in a clean root, ready when the constructor returns. `demo` is the
    command that its log names to ask the demo model."""

    def __init__(self, root, *words, user=None):
        self.log = []
        self.demo = None
        self._ready, self._ended = threading.Event(), threading.Event()
        self.process = subprocess.Popen(root.command(*words, user=user), text=True,
                                        stderr=subprocess.PIPE,
                                        stdout=subprocess.DEVNULL)
        threading.Thread(target=self._read, daemon=True).start()
        assert self._ready.wait(START_SECONDS_MAX), self.text()
        assert not self._ended.is_set(), f"did not start:\n{self.text()}"

    def _read(self):
        demo = False
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))
            demo = demo or "--demo" in " ".join(self.process.args)
            found = re.search(r"demo: (fffctl .*)$", line)
            if found:
                self.demo = shlex.split(found[1])
            if self.demo or (not demo and "listening grpc=" in line):
                self._ready.set()
        self._ended.set()
        self._ready.set()

    def text(self):
        return "\n".join(self.log)

    def libraries(self):
        """Files of machine code that the process has mapped, as it names them."""
        maps = pathlib.Path(f"/proc/{self.process.pid}/maps").read_text()
        return {line.split(maxsplit=5)[5] for line in maps.splitlines()
                if " r-xp " in line and ".so" in line}

    def stop(self):
        """Ends it as systemd does; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self._ended.wait(60)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
