"""Writes a translated network where a server looks for it."""

import json
import os
import shutil
import tempfile

from ..safetensors import write_safetensors
from .errors import ExportError

CONFIG = "config.json"


def check_folder(folder: str) -> None:
    """Raises ExportError unless `folder` can become a version of a model."""
    if not isinstance(folder, (str, os.PathLike)):
        raise ExportError(f"the folder is a {type(folder).__name__}, wanted a path")
    name = os.path.basename(os.path.abspath(folder))
    if not (name.isascii() and name.isdigit() and int(name) > 0):
        raise ExportError(
            f"{folder}: a version's folder is named by a number above 0, like "
            "models/my-network/1"
        )
    if os.path.lexists(folder) and (
        not os.path.isdir(folder) or os.listdir(folder)
    ):
        raise ExportError(
            f"{folder}: is there already; export to the next version's folder"
        )


def write(folder: str, made) -> str:
    """Writes a translate.Translation; returns the path of its config.json.

    The version appears in one step, complete. Raises ExportError where
    config.json describes other layers.
    """
    folder = os.path.abspath(folder)
    model = os.path.dirname(folder)
    path = os.path.join(model, CONFIG)
    os.makedirs(model, exist_ok=True)
    kept = _check_config(path, made.config)
    partial = tempfile.mkdtemp(prefix=".exporting-", dir=model)
    try:
        os.chmod(partial, 0o755)
        metadata = {"format": "pt"}
        write_safetensors(
            os.path.join(partial, "model.safetensors"), made.tensors, metadata
        )
        write_safetensors(os.path.join(partial, "example.safetensors"), made.example)
        if not kept:
            _write_config(path, made.config)
        os.replace(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return path


def _check_config(path: str, config: dict) -> bool:
    """Whether there is a config.json already, which then fits."""
    if not os.path.exists(path):
        return False
    with open(path, encoding="utf-8") as file:
        try:
            there = json.load(file)
        except ValueError as error:
            raise ExportError(f"{path}: is no JSON: {error}") from error
    if not isinstance(there, dict):
        raise ExportError(f"{path}: is no object of JSON")
    for key in ("input", "layers"):
        if there.get(key) != config[key]:
            raise ExportError(
                f"{path}: its {key!r} are of another network; export to a model of "
                "its own"
            )
    return True


def _write_config(path: str, config: dict) -> None:
    partial = path + ".partial"
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1)
        file.write("\n")
    os.replace(partial, path)
