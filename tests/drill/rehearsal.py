"""One incident after the other, on a stack with the delivered settings: found, explained, mended.

The doctor is asked as an operator would ask it; what mends is in the runbook and is no SQL.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from rich.console import Console

from billing.core.settings import Settings
from billing.insight.health.schemas import Sign
from cli import doctor
from devstack.stack import StackInfo
from tests.integration.actors import Actors, open_actors
from tests.integration.api_app import stack_settings

WITHIN_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 1.0
Act = Callable[[Actors], Awaitable[None]]
Look = Callable[[Actors], Awaitable[str]]


@dataclass(frozen=True)
class Incident:
    """Something that goes wrong; `by` tells how it is mended, in words."""

    name: str
    sign: str | None
    """The doctor's sign that finds it; None: it mends itself before anybody has to know."""
    words: str
    """Part of what the sign says, or the look."""
    plant: Act
    mend: Act
    by: str
    look: Look | None = None
    """The words that somebody reads who was told, where no sign knows; `sign` names the place."""


@dataclass(frozen=True)
class Done:
    """The course of an incident; `fault` is what did not go as it must."""

    incident: Incident
    found_seconds: float | None = None
    said: str = ""
    mended_seconds: float | None = None
    fault: str | None = None


async def rehearse(stack: StackInfo, incidents: Sequence[Incident], console: Console) -> list[Done]:
    """Each in turn; the product is well before each of them and at the end."""
    settings = stack_settings(stack)
    done = []
    async with open_actors(stack) as actors:
        for incident in incidents:
            console.print(f"… {incident.name}", markup=False)
            done.append(await _go_through(actors, settings, incident))
    return done


async def _go_through(actors: Actors, settings: Settings, incident: Incident) -> Done:
    before = await _until(actors, settings, lambda seen: not _unhealthy(seen))
    if before is None:
        return Done(incident, fault="the product was not well before it")
    began = monotonic()
    await incident.plant(actors)
    found, said = None, ""
    if incident.sign is not None:
        heard = await _found(actors, settings, incident, incident.sign)
        if heard is None:
            await incident.mend(actors)
            return Done(incident, fault=f"no sign of it within {WITHIN_SECONDS:.0f} s")
        found, said = monotonic() - began, heard
        if incident.words not in said:
            await incident.mend(actors)
            return Done(incident, found, said, fault=f"{incident.words!r} is not said")
    began = monotonic()
    await incident.mend(actors)
    well = await _until(actors, settings, lambda seen: not _unhealthy(seen))
    fault = None if well is not None else f"not well again within {WITHIN_SECONDS:.0f} s"
    return Done(incident, found, said, monotonic() - began, fault)


async def _found(actors: Actors, settings: Settings, incident: Incident, sign: str) -> str | None:
    """The words by which it is found; None: nothing told of it in time."""
    if incident.look is not None:
        return await incident.look(actors)
    seen = await _until(actors, settings, lambda seen: sign in _unhealthy(seen))
    return None if seen is None else _unhealthy(seen)[sign]


def _unhealthy(seen: Sequence[Sign]) -> dict[str, str]:
    return {sign.name: sign.words for sign in seen if sign.state != "healthy"}


async def _until(
    actors: Actors, settings: Settings, wanted: Callable[[Sequence[Sign]], bool]
) -> Sequence[Sign] | None:
    """The first look that is as wanted; None: there was none in time."""
    deadline = monotonic() + WITHIN_SECONDS
    while monotonic() < deadline:
        seen = await doctor.signs(settings, actors.stack)
        if wanted(seen):
            return seen
        await asyncio.sleep(LOOK_SECONDS)
    return None


def show(done: Sequence[Done]) -> str:
    """The table of docs/drill.md."""
    lines = [
        "| incident | found by | after | says | mended by | well after |",
        "|---|---|---|---|---|---|",
    ]
    for one in done:
        sign = one.incident.sign or "nothing: it mends itself"
        cells = [
            one.incident.name, sign, _seconds(one.found_seconds), one.incident.words,
            one.incident.by, one.fault or _seconds(one.mended_seconds),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f} s"
