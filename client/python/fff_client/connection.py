"""Which server a client means, and whether it is ready; no connection."""

import os
import re
from typing import Optional

import grpc

ENVIRONMENT = "FFF_SERVER"
TARGET = "127.0.0.1:8001"

# Of gRPC; what stands behind them is its own to check.
_SCHEMES = ("dns", "unix", "unix-abstract", "ipv4", "ipv6", "vsock", "xds", "passthrough")
_ENCRYPTED = ("https", "grpcs")
_HEALTH = "/grpc.health.v1.Health/Check"
ANY_SERVICE = b""
_SERVING = b"\x08\x01"
# What a server that is not ready answers, or that there is none.
_NOT_READY = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)


def target_of(target: Optional[str]) -> str:
    """The target that gRPC gets.

    target: "host:port" or a target of gRPC's own; None is the value of the
    environment variable FFF_SERVER, or else 127.0.0.1:8001.

    Raises ValueError for what is no such target: gRPC would take "http://host"
    for the name of a host, and port 443 where there is none.
    """
    what = "target"
    if target is None:
        what = f"the environment variable {ENVIRONMENT}"
        target = os.environ.get(ENVIRONMENT) or TARGET
    if not isinstance(target, str):
        raise ValueError(f"target: got a {type(target).__name__}, wanted 'host:port'")
    scheme, colon, rest = target.partition(":")
    if colon and scheme in _SCHEMES and not rest.isdecimal():
        return target
    address = target
    if "://" in target:
        scheme, _, address = target.partition("://")
        address = address.partition("/")[0]
        raise ValueError(
            f"{what}: got {target!r}, wanted 'host:port' without {scheme}://, as "
            f"{address!r}{_advice(scheme.lower())}"
        )
    port = re.search(r":([0-9]+)$", address)
    if port is None or not 0 < int(port[1]) < 65536 or port.start() == 0:
        raise ValueError(
            f"{what}: got {target!r}, wanted 'host:port', as {TARGET!r}, '[::1]:8001' "
            "or 'unix:PATH'"
        )
    return target


def health_check(channel):
    """The method of a channel that takes ANY_SERVICE and answers whether the server
    is ready."""
    return channel.unary_unary(
        _HEALTH, request_serializer=bytes, response_deserializer=_SERVING.__eq__
    )


def is_not_ready(error) -> bool:
    """Whether a ServingError says that somebody is not ready, not that the
    question was wrong."""
    return error.code in _NOT_READY


def _advice(scheme: str) -> str:
    if scheme in _ENCRYPTED:
        return " and credentials=grpc.ssl_channel_credentials() for TLS"
    if scheme == "http":
        return "; it speaks gRPC, so the port is that of --grpc-port, 8001 by default"
    return ""
