"""Promises that the product does not keep yet, each with the reason; in the end there are none."""

from typing import Final

KNOWN: Final[dict[str, str]] = {
    "a cancel that was answered stands": "a first payment that comes after it activates",
    "no charge follows a cancel but for what was served": "and then it renews",
    "the named card is the one charged": "renewals take the account's default card",
    "no day is paid twice": "paying a debt while unpaid begins a new period at once",
    "nothing is charged that nobody asked for or planned": "and charges it in the same second",
    "a change up that was not paid is not given": "add-ons are recovered like any other debt",
    "money in is what is paid, kept or given back": "nor is money for it looked for",
    "the product's own checks are green": "a debt given up before a cancel has no collector",
}
