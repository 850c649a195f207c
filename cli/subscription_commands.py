"""The verbs `billing subscription …`: an operator changes customers' subscriptions, by the API."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Final

import httpx2
import typer

from billing.core.money import show_money
from cli.operator_client import Json, content, new_key, operator, post_page, segment
from cli.stack_commands import Account, Data, Key, reporting_errors

Reason = Annotated[str, typer.Option(help="For the audit.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the effect, and change nothing.")]

_SENT_AGAIN: Final = (
    "A page had no answer in time and was sent again: who had moved by then is not listed (each has"
    " an event subscription.price_changes), and what it had given back counts as done before"
)

app = typer.Typer(help="Change subscriptions.", no_args_is_help=True)


@app.command()
def extend(
    account: Account,
    days: Annotated[int, typer.Option(min=1, max=366)],
    reason: Reason,
    dry_run: DryRun = False,
    key: Key = "",
    data: Data = None,
) -> None:
    """Extend the current period by days, free of charge."""
    key = key or new_key()
    with reporting_errors(), operator(data, "" if dry_run else key) as client:
        shown = content(
            client.post(
                f"/admin/accounts/{segment(account)}/subscription/extend",
                params={"dry_run": dry_run},
                json={"days": days, "reason": reason},
            )
        )
    ends = shown["upcoming"]["at"] if dry_run else shown["current_period_end"]
    typer.echo(f"the period {'would end' if dry_run else 'ends'} at {ends}")


@app.command()
def move_prices(
    plan: Annotated[str, typer.Argument(help="The key of the plan.")],
    reason: Reason,
    dry_run: DryRun = False,
    data: Data = None,
) -> None:
    """Move subscribers of an old price to the current one. It applies from their next period."""
    moved, is_whole = 0, True
    with reporting_errors(), operator(data) as client:
        place: Json | None = {}
        while place is not None:
            shown, is_repeat = post_page(
                client,
                f"/admin/plans/{segment(plan)}/move-subscribers",
                params={"dry_run": dry_run} | place,
                body={"reason": reason},
            )
            for one in shown["moves"]:
                typer.echo(_move(one))
            moved, is_whole = moved + len(shown["moves"]), is_whole and not is_repeat
            place = {"cursor": shown["next_cursor"]} if shown["next_cursor"] else None
    would = "would move" if dry_run else "move"
    _sum_up(f"{moved} {would} to the current price", is_whole=is_whole or dry_run)


@app.command()
def undo_price(
    plan: Annotated[str, typer.Argument(help="The key of the plan.")],
    currency: Annotated[str, typer.Option()],
    wrong_version: Annotated[int, typer.Option(help="The version published by mistake.", min=1)],
    right_version: Annotated[int, typer.Option(help="The correct version.", min=1)],
    reason: Reason,
    interval: Annotated[str, typer.Option(help="Such as month, or 3 months.")] = "month",
    to: Annotated[str, typer.Option(help="Where paid money goes: balance or payer.")] = "balance",
    dry_run: DryRun = False,
    key: Key = "",
    data: Data = None,
) -> None:
    """Undo a wrong price for everyone who bought at it.

    Sells the right version again, moves the buyers to it, and credits or refunds the difference.
    Exit code 1: an invoice was refused.
    """
    body = {
        "interval": interval, "currency": currency, "wrong_version": wrong_version,
        "right_version": right_version, "reason": reason, "to": to,
    }  # fmt: skip
    sums, key, is_whole = Counter[str](), key or new_key(), True
    with reporting_errors(), operator(data, "" if dry_run else key) as client:
        for page, is_repeat in _undone(client, plan, body, key, dry_run=dry_run):
            is_whole = is_whole and not is_repeat
            for one in page["moves"]:
                typer.echo(_move(one))
            for one in page["data"]:
                said = "refused" if one["refused"] else "again" if one["is_repeated"] else "given"
                sums[said] += one["given_back_cents"] if said == "given" else 1
                typer.echo(_given_back(one))
    money = show_money(sums["given"], currency)
    would = "would be given" if dry_run else "given"
    said = f"{money} {would} back; {sums['again']} done before, {sums['refused']} refused"
    _sum_up(said, is_whole=is_whole or dry_run)
    if sums["refused"]:
        raise typer.Exit(1)


def _undone(
    client: httpx2.Client, plan: str, body: Json, key: str, *, dry_run: bool
) -> Iterator[tuple[Json, bool]]:
    """Undo page by page; yield each, and whether it was sent again. Each page has its own key,
    which a repeat derives again.
    """
    number, cursor, only_moves = 0, None, False
    place: Json = {}
    while True:
        asked = {"dry_run": dry_run} | place | ({"cursor": cursor} if cursor else {})
        page, is_repeat = post_page(
            client,
            f"/admin/plans/{segment(plan)}/undo-price",
            params=asked | ({"limit": 1} if only_moves else {}),
            body=body,
            key=f"{key}/{number}",
        )
        yield page | ({"data": []} if only_moves else {}), is_repeat
        number, cursor = number + 1, page["pagination"]["next_cursor"]
        place = {"moves_cursor": page["moves_cursor"]}
        only_moves = only_moves or cursor is None
        if only_moves and not page["moves_left"]:
            return


def _sum_up(words: str, *, is_whole: bool) -> None:
    """Print the sum. A page that was sent again does not tell what its first try did."""
    typer.echo(words if is_whole else f"at least {words}. {_SENT_AGAIN}")


def _move(one: Json) -> str:
    prices = f"{one['price_cents_before']} to {one['price_cents']} {one['currency']}"
    return f"{one['subscription_id']}: {prices} from {one['effective_at']}"


def _given_back(one: Json) -> str:
    name = f"{one['invoice_number']} of {one['account_id']}"
    if one["refused"]:
        return f"{name}: refused, {one['refused']}: {one['detail']}"
    back, all_of_it = (
        show_money(one[n], one["currency"]) for n in ("given_back_cents", "charged_cents")
    )
    return f"{name}: {back} of {all_of_it}{', before' if one['is_repeated'] else ''}"
