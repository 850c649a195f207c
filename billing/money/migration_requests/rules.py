"""The limits of migration requests, and the part of their notes that answers repeat. Pure."""

from typing import Final

MIN_NOTES: Final = 20
MAX_NOTES: Final = 5_000
MAX_QUEUED: Final = 5
"""Requests of one account that may wait for an operator."""
PREVIEW: Final = 80
CHANNEL: Final = "operators"
"""The people whom a request reaches."""


def preview(notes: str) -> str:
    """Return the beginning of the notes on one line, with an ellipsis if they go on."""
    line = " ".join(notes.split())
    return line if len(line) <= PREVIEW else line[: PREVIEW - 1].rstrip() + "…"
