"""The verb `billing refund`: an operator gives money of a payment back, by the API."""

from typing import Annotated

import typer

from cli.invoice_commands import Key, Reason
from cli.operator_client import Json, content, new_key, operator
from cli.stack_commands import DEFAULT_DATA, Data, reporting_errors


def refund(
    payment: Annotated[str, typer.Argument(help="The payment: pay_…")],
    reason: Reason,
    amount_cents: Annotated[
        int | None, typer.Option(help="In minor units; all that is left if left out.", min=1)
    ] = None,
    to: Annotated[str, typer.Option(help="payer or balance")] = "payer",
    reference: Annotated[
        str | None, typer.Option(help="Of the transfer, for money that came by hand.")
    ] = None,
    keep_subscription: Annotated[
        bool,
        typer.Option("--keep-subscription", help="It runs on, paid or not."),
    ] = False,
    keep_credits: Annotated[
        bool, typer.Option("--keep-credits", help="They stay: the price alone was too high.")
    ] = False,
    key: Key = "",
    data: Data = DEFAULT_DATA,
) -> None:
    """Give money of a payment back. Its credits go, by a credit note."""
    body: Json = {
        "amount_cents": amount_cents, "reason": reason, "to": to, "reference": reference,
        "keep_subscription": keep_subscription, "keep_credits": keep_credits,
    }  # fmt: skip
    key = key or new_key()
    with reporting_errors(), operator(data, key) as client:
        made = content(
            client.post(
                f"/admin/payments/{payment}/refund",
                json=body,
                headers={"Idempotency-Key": key},
            )
        )
    why = f" ({made['failure']})" if made["failure"] else ""
    money = f"{made['amount']} minor units of {made['currency']}"
    typer.echo(f"{made['refund_id']}: {made['status']}{why}, {money}")
