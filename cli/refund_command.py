"""The verb `billing refund`: an operator refunds a payment, by the API."""

from typing import Annotated

import typer

from cli.invoice_commands import Reason
from cli.operator_client import Json, content, new_key, operator, segment
from cli.stack_commands import Data, Key, reporting_errors


def refund(
    payment: Annotated[str, typer.Argument(help="The payment: pay_…")],
    reason: Reason,
    amount_cents: Annotated[
        int | None, typer.Option(help="In minor units; default: the rest.", min=1)
    ] = None,
    to: Annotated[str, typer.Option(help="payer or balance")] = "payer",
    reference: Annotated[
        str | None, typer.Option(help="The transfer's reference, if paid by hand.")
    ] = None,
    keep_subscription: Annotated[
        bool,
        typer.Option("--keep-subscription", help="Do not end the subscription."),
    ] = False,
    keep_credits: Annotated[
        bool, typer.Option("--keep-credits", help="Keep them: only the price was too high.")
    ] = False,
    key: Key = "",
    data: Data = None,
) -> None:
    """Refund a payment. A credit note claws back its credits."""
    body: Json = {
        "amount_cents": amount_cents, "reason": reason, "to": to, "reference": reference,
        "keep_subscription": keep_subscription, "keep_credits": keep_credits,
    }  # fmt: skip
    key = key or new_key()
    with reporting_errors(), operator(data, key) as client:
        made = content(client.post(f"/admin/payments/{segment(payment)}/refund", json=body))
    why = f" ({made['failure']})" if made["failure"] else ""
    money = f"{made['amount_cents']} minor units of {made['currency']}"
    typer.echo(f"{made['refund_id']}: {made['status']}{why}, {money}")
