"""The verbs `billing invoice …`: an operator corrects an invoice or records money, by the API."""

from pathlib import Path
from typing import Annotated

import typer

from cli.operator_client import Json, content, new_key, operator, segment
from cli.stack_commands import Data, Key, reporting_errors

Invoice = Annotated[str, typer.Argument(help="The invoice: inv_…")]
Reason = Annotated[str, typer.Option(help="For the audit and the credit note.")]
Cents = Annotated[int, typer.Option(help="In minor units.", min=1)]

app = typer.Typer(help="Correct an invoice, or record money for it.", no_args_is_help=True)


@app.command()
def void(invoice: Invoice, reason: Reason, key: Key = "", data: Data = None) -> None:
    """Void an unpaid invoice by a credit note."""
    _command(data, invoice, "void", {"reason": reason}, key)


@app.command()
def uncollectible(invoice: Invoice, reason: Reason, key: Key = "", data: Data = None) -> None:
    """Mark an open invoice uncollectible; it can still be paid."""
    _command(data, invoice, "mark-uncollectible", {"reason": reason}, key)


@app.command()
def record_payment(
    invoice: Invoice,
    amount_cents: Cents,
    reference: Annotated[str, typer.Option(help="The transfer's reference.")],
    received_on: Annotated[str | None, typer.Option(help="Such as 2027-01-31.")] = None,
    key: Key = "",
    data: Data = None,
) -> None:
    """Record a payment received outside the service."""
    body = {"amount_cents": amount_cents, "reference": reference, "received_on": received_on}
    _command(data, invoice, "record-payment", body, key)


@app.command()
def credit(
    invoice: Invoice,
    amount_cents: Cents,
    reason: Reason,
    to: Annotated[str, typer.Option(help="debt or balance")] = "debt",
    key: Key = "",
    data: Data = None,
) -> None:
    """Credit part of an invoice by a credit note."""
    body = {"amount_cents": amount_cents, "reason": reason, "to": to}
    _command(data, invoice, "credit-note", body, key)


def _command(data: Path | None, invoice: str, verb: str, body: Json, key: str) -> None:
    key = key or new_key()
    with reporting_errors(), operator(data, key) as client:
        path = f"/admin/invoices/{segment(invoice)}/{verb}"
        answer = client.post(path, json=body)
        shown = content(answer)
    left = f"{shown['amount_remaining']} minor units of {shown['currency']} to be paid"
    name = shown["invoice_number"] or shown["invoice_id"]
    waits = "; the money is not booked yet" if answer.status_code == 202 else ""
    typer.echo(f"{name}: {shown['status']}, {left}{waits}")
