"""Promises that the product does not keep yet, each with the reason; in the end there are none."""

from typing import Final

KNOWN: Final[dict[str, str]] = {
    "no day is paid twice": "paying a debt while unpaid begins a new period at once",
    "nothing is charged that nobody asked for or planned": "and charges it in the same second",
    "a change up that was not paid is not given": "add-ons are recovered like any other debt",
}
