"""The diary of a life: each command, its answer, and the state around it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Command:
    """One act of a customer, an operator, a bank or time; it is nothing where nothing fits."""

    name: str
    terms: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        said = ", ".join(f"{key}={value}" for key, value in self.terms.items())
        return f"{self.name}({said})"


def written(commands: list[Command]) -> str:
    """Commands as one line of JSON, to be lived again."""
    return json.dumps([[one.name, dict(one.terms)] for one in commands], separators=(",", ":"))


def read(line: str) -> list[Command]:
    """The commands of such a line."""
    return [Command(name, terms) for name, terms in json.loads(line)]


@dataclass
class Entry:
    """One command of a life: the answer, and what was so before and after it."""

    number: int
    command: Command
    clock_from: datetime
    clock_to: datetime
    began: int
    """The last row of the provider's journal when it began."""
    answered: int
    """The last row when it was answered."""
    ended: int
    """The last row when nothing was left to do."""
    before: Json
    """The subscription as it was shown; empty when there was none."""
    after: Json
    status: int = 0
    """The status of the answer; 0: there was nothing to ask for."""
    body: Json = field(default_factory=dict)
    sent: Json = field(default_factory=dict)
    """The request, with the names that it was about."""
    foretold: list[Json] = field(default_factory=list)
    """The future on the timeline, before time went by."""

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def done(self) -> bool:
        """True if it was answered as done, or as under way."""
        return 200 <= self.status < 300

    def __str__(self) -> str:
        code = self.body.get("code", "")
        return f"{self.clock_to:%Y-%m-%d %H:%M} {self.command} -> {self.status} {code}".rstrip()


@dataclass
class Life:
    """A life that was lived: whose, by which commands, and its diary."""

    seed: int
    account: str
    """Its external id."""
    commands: list[Command]
    weather: str
    zone: str
    tax: int
    """The percent of tax on all that it is charged."""
    entries: list[Entry] = field(default_factory=list)
    verified: Json = field(default_factory=dict)
    """The product's own checks at the end."""
