"""The verb `billing steer`: one action on many subscriptions, by the API, page by page."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, get_args

import httpx2
import typer

from billing.core.money import show_money
from billing.money.bulk_acts.schemas import Act
from cli.operator_client import Json, new_key, operator, post_page
from cli.stack_commands import Data, reporting_errors

ACTS: Final = " or ".join(", ".join(get_args(Act)).replace("_", "-").rsplit(", ", 1))
_ENDS: Final[dict[str | None, str]] = {
    "succeeded": "paid", "pending": "still waiting", "processing": "still waiting",
    None: "not tried yet",
}  # fmt: skip
Many = Annotated[list[str] | None, typer.Option(help="Repeatable.")]
Maybe = Annotated[str | None, typer.Option()]
Instant = Annotated[str | None, typer.Option(help="Such as 2027-01-31T09:00:00Z.")]


def _known(act: str) -> str:
    name = act.replace("-", "_")
    if name not in get_args(Act):
        raise typer.BadParameter(f"{act} is none of {ACTS}")
    return name


def steer(
    act: Annotated[str, typer.Argument(help=ACTS, callback=_known)],
    reason: Annotated[str, typer.Option(help="For the audit, and the credit notes of forgive.")],
    days: Annotated[int | None, typer.Option(help="For acts that extend.", min=1)] = None,
    subscription: Many = None,
    account: Many = None,
    plan: Maybe = None,
    price_cents: Annotated[int | None, typer.Option(help="Per seat.", min=0)] = None,
    currency: Maybe = None,
    status: Maybe = None,
    past_due_from: Instant = None,
    past_due_until: Instant = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the effect, and change nothing.")
    ] = False,
    key: Annotated[
        str,
        typer.Option(help="A repeat with the same key continues, and does nothing twice."),
    ] = "",
    data: Data = None,
) -> None:
    """Run one action on many subscriptions or their dunning. Try --dry-run first. Exit code 1:
    some were refused.
    """
    said = {
        "act": act, "reason": reason, "days": days,
        "subscription_ids": subscription, "account_ids": account, "plan": plan,
        "price_cents": price_cents, "currency": currency, "status": status,
        "past_due_from": past_due_from, "past_due_until": past_due_until,
    }  # fmt: skip
    body = {name: value for name, value in said.items() if value is not None}
    _steer(data, body, dry_run=dry_run, key=key or new_key())


def _steer(data: Path | None, body: Json, *, dry_run: bool, key: str) -> None:
    sums, refused, number = Counter[str](), 0, 0
    with reporting_errors(), operator(data, "" if dry_run else key) as client:
        for one in _all(client, body, dry_run=dry_run, key=key):
            number += 1
            refused += one["refused"] is not None
            sums[one["currency"]] += sum(part["amount_cents"] for part in one["invoices"])
            for line in _words(one, body["act"], dry_run=dry_run):
                typer.echo(line)
    money = ", ".join(show_money(minor, currency) for currency, minor in sorted(sums.items()))
    would = "would be steered" if dry_run else "steered"
    owed = "overdue of them" if dry_run else "overdue of them before"
    typer.echo(f"{number - refused} {would}, {refused} refused; {owed}: {money or 'nothing'}")
    if refused:
        raise typer.Exit(1)


def _all(client: httpx2.Client, body: Json, *, dry_run: bool, key: str) -> Iterator[Json]:
    """Run it page by page. Each page has its own key, which a repeat derives again."""
    cursor: str | None = ""
    while cursor is not None:
        asked: dict[str, Any] = {"dry_run": dry_run} | ({"cursor": cursor} if cursor else {})
        page, _ = post_page(
            client, "/admin/subscriptions/steer", params=asked, body=body, key=f"{key}/{cursor}"
        )
        yield from page["data"]
        cursor = page["pagination"]["next_cursor"]


def _words(one: Json, act: str, *, dry_run: bool) -> Iterator[str]:
    name = f"{one['subscription_id']} of {one['account_id']}"
    if one["refused"] is not None:
        yield f"{name}: refused, {one['refused']}: {one['detail']}"
        return
    then = "it pauses" if act == "pause" else "its period ends"
    until = f", {then} at {one['effective_at']}" if one["effective_at"] else ""
    tries = act == "retry" and not dry_run
    yield f"{name}: {'done before, ' if one['is_repeated'] else ''}{one['status']}{until}"
    for part in one["invoices"]:
        money = show_money(part["amount_cents"], one["currency"])
        step = f", {part['next_step']} at {part['next_at']}" if part["next_at"] else ""
        result = f", its card: {_ENDS.get(part['result'], part['result'])}" if tries else ""
        recovery = f"recovery {part['dunning_status']}" if part["dunning_status"] else "held"
        yield (
            f"  {part['invoice_number'] or part['invoice_id']}: {money}, {part['status']},"
            f" {recovery}{step}{result}"
        )
