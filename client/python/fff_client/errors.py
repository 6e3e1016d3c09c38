"""What the clients raise."""

import grpc

__all__ = ["InputError", "ServingError", "serving_error"]


class ServingError(RuntimeError):
    """The server refused or could not answer a call, or was not reached.

    code: grpc.StatusCode, e.g. INVALID_ARGUMENT (shape, NaN), NOT_FOUND (model
        or version), RESOURCE_EXHAUSTED (queue full, another benchmark runs),
        DEADLINE_EXCEEDED, UNAVAILABLE (draining, not loaded, not reachable).
    details: the server's message: what was wrong, got, wanted, and the model.
    """

    def __init__(self, code: grpc.StatusCode, details: str):
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


class InputError(TypeError, ValueError):
    """An input cannot be sent, or the model takes no such bytes; nothing was computed.

    The message names the input, says what was got and wanted, and what to do.
    It is a TypeError and a ValueError, so that either clause catches it.
    """


def serving_error(error: grpc.RpcError) -> ServingError:
    """The ServingError of a call that ended badly."""
    return ServingError(error.code(), error.details())
