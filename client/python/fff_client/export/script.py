"""The module that a user's script makes, with errors of one line."""

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
from typing import Optional

from .errors import ExportError

_OWN = os.path.dirname(os.path.abspath(__file__))
# In paths of code that is not the user's.
_OTHERS = ("importlib", "site-packages", "dist-packages")


def made_module(text: str):
    """The module that "file.py:name" or "package.module:name" means.

    Raises ExportError, also for what the script raises; ImportError where torch
    is missing.
    """
    where, colon, name = text.rpartition(":")
    if not colon or not name or not where:
        raise ExportError(f"--module {text}: wanted FILE.py:NAME")
    try:
        code = _loaded(where)
    except (Exception, SystemExit) as error:  # whatever the script does
        if _misses_torch(error):
            raise
        raise ExportError(f"--module {text}: {told(error)}") from error
    if not hasattr(code, name):
        raise ExportError(f"--module {text}: {where} has no {name}")
    made = getattr(code, name)
    if not _is_module(made):
        made = _called(made, text, name)
    if not _is_module(made):
        raise ExportError(
            f"--module {text}: {name} gives a {type(made).__name__}, wanted a torch "
            "module"
        )
    return made


@contextlib.contextmanager
def classes_of(script: Optional[str]):
    """While it lasts, pickle finds the classes of a script that was run as __main__.

    Runs the script, but for what it does only under its own name __main__. None
    changes nothing. Raises ExportError for what the script raises.
    """
    if script is None:
        yield
        return
    try:
        names = vars(_loaded(script))
    except (Exception, SystemExit) as error:  # whatever the script does
        if _misses_torch(error):
            raise
        raise ExportError(f"{script}: {told(error)}") from error
    main = vars(sys.modules["__main__"])
    before = dict(main)
    main.update({name: value for name, value in names.items() if name[:2] != "__"})
    try:
        yield
    finally:
        main.clear()
        main.update(before)


def told(error: BaseException) -> str:
    """An error in one line, with the last line of the user's code."""
    lines = str(error).strip().splitlines()
    kind = type(error).__name__
    words = f"{kind}: {lines[0]}" if lines else kind
    if isinstance(error, SystemExit):
        words += '; the script ended: what it runs belongs under if __name__ == "__main__"'
    place = _place(error)
    return words + (f" ({place})" if place and place not in words else "")


def _loaded(where: str):
    if not where.endswith(".py"):
        sys.path.insert(0, os.getcwd())
        return importlib.import_module(where)
    folder = os.path.dirname(os.path.abspath(where))
    sys.path.insert(0, folder)  # what the script imports from beside it
    stem = os.path.splitext(os.path.basename(where))[0]
    spec = importlib.util.spec_from_file_location(stem, where)
    code = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(stem, code)
    spec.loader.exec_module(code)
    return code


def _called(function, text: str, name: str):
    if not callable(function):
        raise ExportError(
            f"--module {text}: {name} is a {type(function).__name__}, wanted a torch "
            "module, or a function without arguments that makes one"
        )
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise ExportError(
            f"--module {text}: {name} wants arguments ({error}); wanted a function "
            "without"
        ) from error
    except ValueError:  # a function that does not tell
        pass
    try:
        return function()
    except (Exception, SystemExit) as error:  # the user's code
        raise ExportError(f"--module {text}: {told(error)}") from error


def _is_module(made) -> bool:
    return hasattr(made, "state_dict") and not isinstance(made, type)


def _misses_torch(error) -> bool:
    return isinstance(error, ImportError) and error.name == "torch"


def _place(error: BaseException) -> str:
    """The last line of code of the user's own."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    found, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        others = file.startswith((_OWN, "<")) or any(each in file for each in _OTHERS)
        if not others:
            found = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found
