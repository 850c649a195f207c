"""The verbs `billing subscription …`: what an operator does with a customer's plan, by the API."""

from typing import Annotated
from uuid import uuid4

import typer

from cli.operator_client import content, operator
from cli.stack_commands import DEFAULT_DATA, Data, reporting_errors

Account = Annotated[str, typer.Argument(help="The account: acc_… or its external id")]
Reason = Annotated[str, typer.Option(help="For the audit.")]
DryRun = Annotated[bool, typer.Option(help="Say what it would do, and do nothing.")]
Key = Annotated[str, typer.Option(help="The Idempotency-Key: the same one again repeats nothing.")]

app = typer.Typer(help="Care for a subscription.", no_args_is_help=True)


@app.command()
def extend(
    account: Account,
    days: Annotated[int, typer.Option(min=1, max=366)],
    reason: Reason,
    dry_run: DryRun = False,
    key: Key = "",
    data: Data = DEFAULT_DATA,
) -> None:
    """Have the running period end so many days later, at no cost."""
    with reporting_errors(), operator(data) as client:
        shown = content(
            client.post(
                f"/admin/accounts/{account}/subscription/extend",
                params={"dry_run": dry_run},
                json={"days": days, "reason": reason},
                headers={"Idempotency-Key": key or str(uuid4())},
            )
        )
    ends = shown["upcoming"]["at"] if dry_run else shown["current_period_end"]
    typer.echo(f"the period {'would end' if dry_run else 'ends'} at {ends}")


@app.command()
def move_prices(
    plan: Annotated[str, typer.Argument(help="The key of the plan.")],
    reason: Reason,
    dry_run: DryRun = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Move subscribers of an old price to that of now, with the next period of each."""
    with reporting_errors(), operator(data) as client:
        left = True
        while left:
            answer = client.post(
                f"/admin/plans/{plan}/move-subscribers",
                params={"dry_run": dry_run},
                json={"reason": reason},
            )
            shown = content(answer)
            for one in shown["moves"]:
                prices = f"{one['price_cents_before']} to {one['price_cents']} {one['currency']}"
                typer.echo(f"{one['subscription_id']}: {prices} from {one['effective_at']}")
            left = shown["left"] and not dry_run
