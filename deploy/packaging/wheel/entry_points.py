"""FFF Serving's programs, in a wheel: `fff-server --demo`, `fffctl status`.

`root()` is the folder that holds them: bin/, lib/, share/, licenses/.
"""

import os
import pathlib
import sys

__version__ = "@VERSION@"


def root():
    return pathlib.Path(__file__).resolve().parent / "root"


def _become(program):
    """Replaces this process, so that signals and the exit code are the program's."""
    path = str(root() / "bin" / program)
    try:
        os.execv(path, [program, *sys.argv[1:]])
    except OSError as error:
        sys.exit(f"{program}: {path}: {error.strerror}")


def fff_server():
    _become("fff-server")


def fffctl():
    _become("fffctl")
