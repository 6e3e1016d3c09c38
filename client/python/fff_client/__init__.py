"""Python client and exporter of FFF Serving.

    from fff_client import Client
    with Client("127.0.0.1:8001") as client:
        prediction = client.predict("fashion-mnist", images)

AsyncClient is the same for asyncio.

`fff_client.export` turns PyTorch networks into files the server loads; it needs
numpy only (and torch to read torch files), neither gRPC nor generated code.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .aio import AsyncClient
    from .client import Client
    from .errors import InputError, ServingError
    from .predictions import LayerRouting, Prediction

__all__ = [
    "AsyncClient", "Client", "InputError", "LayerRouting", "Prediction",
    "ServingError",
]
__version__ = "0.1.0"

_MODULES = ("aio", "client", "errors", "export", "text")


def __getattr__(name):
    # Loaded on first use, so that the exporter works without gRPC.
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "AsyncClient":
        from .aio import AsyncClient

        return AsyncClient
    if name in __all__:
        from . import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__, *_MODULES})
