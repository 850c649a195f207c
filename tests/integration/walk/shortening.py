"""The shortest list of commands that still breaks a promise, found by leaving commands out."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from tests.integration.walk.diary import Command

Breaks = Callable[[list[Command]], Awaitable[bool]]
AT_ONCE: Final = 6


async def shortest(commands: list[Command], breaks: Breaks, seconds: float) -> list[Command]:
    """Leave out halves, then quarters, down to single commands, as long as there is time."""
    until, parts = time.monotonic() + seconds, 2
    while len(commands) > 1:
        found = await _shorter(commands, parts, breaks, until)
        if found is not None:
            commands, parts = found, max(parts - 1, 2)
        elif parts >= len(commands):
            return commands
        else:
            parts = min(parts * 2, len(commands))
        if time.monotonic() > until:
            return commands
    return commands


async def _shorter(
    commands: list[Command], parts: int, breaks: Breaks, until: float
) -> list[Command] | None:
    size = -(-len(commands) // parts)
    tries = [commands[:at] + commands[at + size :] for at in range(0, len(commands), size)]
    for first in range(0, len(tries), AT_ONCE):
        if time.monotonic() > until:
            return None
        some = tries[first : first + AT_ONCE]
        for candidate, broke in zip(some, await asyncio.gather(*map(breaks, some)), strict=True):
            if broke:
                return candidate
    return None
