"""The verbs `billing invoice …`: an operator corrects an invoice or records money, by the API."""

from pathlib import Path
from typing import Annotated

import httpx2
import typer

from billing.core.money import show_money
from cli.errors import StackError
from cli.operator_client import Json, content, new_key, operator, segment
from cli.stack_commands import Data, Key, reporting_errors

Invoice = Annotated[str, typer.Argument(help="The invoice: inv_… or its number.")]
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
    shown = _command(data, invoice, "credit-note", body, key)
    typer.echo(_credited(shown))


def _command(data: Path | None, invoice: str, verb: str, body: Json, key: str) -> Json:
    """Carry it out, print the state of the invoice, and return it."""
    key = key or new_key()
    with reporting_errors(), operator(data, key) as client:
        path = f"/admin/invoices/{_invoice_id(client, invoice)}/{verb}"
        answer = client.post(path, json=body)
        shown = content(answer)
    left = f"{shown['amount_remaining']} minor units of {shown['currency']} to be paid"
    name = shown["invoice_number"] or shown["invoice_id"]
    waits = "; the money is not booked yet" if answer.status_code == 202 else ""
    typer.echo(f"{name}: {shown['status']}, {left}{waits}")
    return shown


def _credited(shown: Json) -> str:
    """Return what the newest credit note credited, and where the money of all of them went."""
    note, off = shown["credit_notes"][-1], shown["amount_credited"]
    parts = (note["amount"], off, shown["credit_notes_total"] - off)
    credited, lowered, back = (show_money(minor, shown["currency"]) for minor in parts)
    notes = "" if len(shown["credit_notes"]) == 1 else "; with the notes before it"
    return (
        f"{note['number']}: {credited} credited{notes}: {lowered} off what was owed, {back} to the"
        " money balance or the payer"
    )


def _invoice_id(client: httpx2.Client, name: str) -> str:
    """Return the invoice's id as a path segment. Errors: StackError if no invoice, or more than
    one, has the number.
    """
    if name.startswith("inv_"):
        return segment(name)
    found = content(client.get("/admin/invoices", params={"number": name}))["data"]
    if not found:
        raise StackError(f"INVOICE_NOT_FOUND: no invoice has the id or number {name}")
    if len(found) > 1:
        several = ", ".join(one["invoice_id"] for one in found)
        raise StackError(f"several invoices have the number {name}, name one: {several}")
    return segment(found[0]["invoice_id"])
