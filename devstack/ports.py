"""The ports of a stack: fixed and settable for people, free ones for tests, demo and benchmarks.

Every port is bound on 127.0.0.1 only and given explicitly to the child that serves it.
"""

import os
import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Final

from billing.core.frozen import Frozen
from cli.errors import StackError
from devstack.options import ChildName

HOST: Final = "127.0.0.1"

# Below the range that systems hand out to outgoing connections: a client that reconnects to a
# port whose server just died could otherwise be given that very port as its own.
FREE_FROM: Final = 20_000
FREE_TO: Final = 32_000
BLOCK: Final = 16
PORT_LIMIT: Final = 65_536


class Ports(Frozen):
    """One port per listener."""

    postgres: int
    temporal: int
    temporal_http: int
    temporal_ui: int
    temporal_metrics: int
    sandbox: int
    api: int
    api_metrics: int
    worker_metrics: int


FIXED: Final[dict[str, tuple[str, int]]] = {
    "postgres": ("STACK_POSTGRES_PORT", 5433),
    "temporal": ("STACK_TEMPORAL_PORT", 7233),
    "temporal_http": ("STACK_TEMPORAL_HTTP_PORT", 7243),
    "temporal_ui": ("STACK_TEMPORAL_UI_PORT", 8233),
    "temporal_metrics": ("STACK_TEMPORAL_METRICS_PORT", 9466),
    "sandbox": ("STACK_SANDBOX_PORT", 12111),
    "api": ("BILLING_SERVICE_PORT", 8080),
    "api_metrics": ("BILLING_API_METRICS_PORT", 9464),
    "worker_metrics": ("BILLING_WORKER_METRICS_PORT", 9465),
}
"""The setting that moves each port, and where it is without."""

LISTENERS: Final[dict[ChildName, tuple[str, ...]]] = {
    "postgres": ("postgres",),
    "temporal": ("temporal", "temporal_http", "temporal_ui", "temporal_metrics"),
    "sandbox": ("sandbox",),
    "worker": ("worker_metrics",),
    "api": ("api", "api_metrics"),
}


def fixed_ports(environment: Mapping[str, str]) -> Ports:
    """Return the ports of `make up`. Errors: StackError when a setting is not a port number."""
    found = {}
    for name, (setting, usual) in FIXED.items():
        value = environment.get(setting) or str(usual)
        if not value.isdigit() or not 0 < int(value) < PORT_LIMIT:
            raise StackError(f"{setting}={value} is not a port: use a number from 1 to 65535")
        found[name] = int(value)
    return Ports(**found)


def free_ports() -> Ports:
    """Return free ports, all bound at once before any is released.

    Each process starts its search elsewhere, so that stacks starting in parallel do not collide.
    Errors: StackError when the whole range is taken.
    """
    span = FREE_TO - FREE_FROM
    start = os.getpid() * BLOCK % span
    found: list[int] = []
    with ExitStack() as held:
        for step in range(span):
            if len(found) == len(FIXED):
                break
            port = FREE_FROM + (start + step) % span
            if (listener := _bind(port)) is not None:
                held.enter_context(listener)
                found.append(port)
    if len(found) < len(FIXED):
        raise StackError(f"no free ports between {FREE_FROM} and {FREE_TO}: end what uses them")
    return Ports(**dict(zip(FIXED, found, strict=True)))


def refuse_taken(ports: Ports, children: Iterable[ChildName]) -> None:
    """Raise StackError naming every port that another program listens on."""
    names = [name for child in children for name in LISTENERS[child]]
    taken = [name for name in names if not _is_free(getattr(ports, name))]
    if not taken:
        return
    found = ", ".join(f"{getattr(ports, name)} ({name.replace('_', ' ')})" for name in taken)
    settings = ", ".join(FIXED[name][0] for name in taken)
    raise StackError(
        f"port {found} is taken: end the program that uses it, or set {settings} to another port"
        if len(taken) == 1
        else f"ports {found} are taken: end the programs that use them, or set {settings}"
        " to other ports"
    )


def _is_free(port: int) -> bool:
    listener = _bind(port)
    if listener is None:
        return False
    listener.close()
    return True


def _bind(port: int) -> socket.socket | None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError:
        listener.close()
        return None
    return listener
