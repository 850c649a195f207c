"""Evidence on a life: the stand-in's journal, and plain SQL through a connection of its own.

Nothing here, or in the judge, comes from the product: ids are read and money is added up anew.
"""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from sandbox.control import SandboxControl
from tests.integration.walk.diary import Entry, Json, Life

CROCKFORD: Final = "0123456789abcdefghjkmnpqrstvwxyz"
TABLES: Final = (
    "subscriptions", "subscription_changes", "invoices", "invoice_lines", "payments",
    "payment_attempts", "payment_methods", "credit_notes", "balance_entries", "dunning_cases",
    "purchases", "refunds", "disputes", "credit_lots", "credit_transactions", "credit_balances",
    "billing_records", "events", "matters",
)  # fmt: skip
TRIES: Final = frozenset({"charge.succeeded", "charge.failed", "charge.pending"})


@dataclass(frozen=True)
class Charge:
    """One try of a card as the journal has it: who tried, for which invoice, and how it ended."""

    seq: int
    id: str
    name: str
    amount: int
    invoice: UUID | None
    matter: str
    key: str | None
    actor: str
    """api (the product), client (a browser) or person."""
    method: str | None
    """The card that the product named."""
    failure: str | None

    @property
    def took_money(self) -> bool:
        return self.name == "charge.succeeded"

    @property
    def was_declined(self) -> bool:
        return self.name == "charge.failed"

    @property
    def by_product(self) -> bool:
        return self.actor == "api"


@dataclass(frozen=True)
class Order:
    """One order at PayPal: the payment it is of, and the money that came and went back."""

    id: str
    payment: Json | None
    captures: int
    taken: int
    returned: int

    @property
    def invoice(self) -> UUID | None:
        return self.payment["invoice_id"] if self.payment else None


@dataclass
class Case:
    """All there is about one life."""

    life: Life
    tables: dict[str, list[Json]]
    charges: list[Charge]
    refunds: dict[UUID | None, int]
    """Money that went back, by invoice."""
    orders: list["Order"]
    recomputed: list[str]
    """Sums that differ when they are added up anew."""
    plans: dict[UUID, Json]
    asked: Counter[str] = field(default_factory=Counter)
    """The times that a promise which many lives escape was held against something."""

    @property
    def entries(self) -> list[Entry]:
        return self.life.entries

    @property
    def zones(self) -> list[str]:
        """Those in which the customer has lived, the first one first."""
        moves = [one for one in self.entries if one.name == "move" and one.done]
        return [self.life.zone, *(one.command.terms["zone"] for one in moves)]

    def rows(self, table: str, **wanted: Any) -> list[Json]:
        """Rows of a table with these values."""
        return [row for row in self.tables[table] if all(row[key] == wanted[key] for key in wanted)]

    def invoice(self, number: UUID | None) -> Json | None:
        found = [row for row in self.tables["invoices"] if row["id"] == number]
        return found[0] if found else None

    def lines(self, invoice: Json) -> list[Json]:
        return self.rows("invoice_lines", invoice_id=invoice["id"])

    def charges_in(self, entry: Entry) -> list[Charge]:
        return [one for one in self.charges if entry.began < one.seq <= entry.ended]

    def received(self, invoice: Json) -> int:
        """Money in for an invoice, by card, PayPal and by hand, without what went back."""
        cards = sum(
            one.amount for one in self.charges if one.took_money and one.invoice == invoice["id"]
        )
        hands = sum(
            row["received_minor"]
            for row in self.rows("payments", invoice_id=invoice["id"], flow="manual")
            if row["status"] == "completed"
        )
        paypal = sum(one.taken for one in self.orders if one.invoice == invoice["id"])
        return cards + paypal + int(hands) - self.refunds.get(invoice["id"], 0)

    def subscription(self, name: str) -> Json:
        return self.rows("subscriptions", id=uuid_of(name))[0]


def gross(line: Json) -> int:
    """The cents of an invoice line, its discount and its tax with it."""
    net = int(line["amount_minor"]) - int(line["discount_minor"])
    return net + int(line["tax_minor"]) - int(line["tax_included_minor"])


def uuid_of(name: str) -> UUID:
    """`inv_01h…` as the UUID in it: 26 characters of Crockford's base32."""
    number = 0
    for letter in name.rpartition("_")[2]:
        number = number * 32 + CROCKFORD.index(letter)
    return UUID(int=number)


async def gather(life: Life, url: str, sandbox: SandboxControl) -> Case:
    """Everything that is written about the account of a life; the URL is that of a superuser."""
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        query = "SELECT id, stripe_customer_id FROM accounts WHERE external_id = %s"
        await cursor.execute(query, (life.account,))
        account = (await cursor.fetchone()) or {}
        tables = {}
        for table in TABLES:
            query = f"SELECT * FROM {table} WHERE account_id = %s"
            await cursor.execute(query.encode(), (account["id"],))
            tables[table] = await cursor.fetchall()
        await cursor.execute(b"SELECT * FROM plans")
        plans = {row["id"]: row for row in await cursor.fetchall()}
        recomputed = await _recomputed(cursor, account["id"])
    customer = account["stripe_customer_id"]
    journal = await sandbox.journal(customer=customer) if customer else []
    charges, refunds = _money(journal)
    orders = await _orders(sandbox, tables["payments"])
    for one in orders:
        refunds[one.invoice] = refunds.get(one.invoice, 0) + one.returned
    return Case(life, tables, charges, refunds, orders, recomputed, plans)


async def _orders(sandbox: SandboxControl, payments: list[Json]) -> list[Order]:
    """Every order that was made for the account, as PayPal tells of it."""
    of_order = {row["stripe_checkout_session_id"]: row for row in payments}
    matters = sorted({row["workflow_id"] for row in payments if row["flow"] == "paypal"})
    return [_order(one, of_order) for name in matters for one in await sandbox.paypal(name)]


def _order(seen: Json, of_order: dict[str, Json]) -> Order:
    (unit,) = seen["purchase_units"]
    money = unit.get("payments", {})
    kept = ("COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED")
    came = [one for one in money.get("captures", []) if one["status"] in kept]
    back = money.get("refunds", [])
    return Order(
        id=seen["id"],
        payment=of_order.get(seen["id"]),
        captures=len(came),
        taken=sum(map(_cents, came)),
        returned=sum(map(_cents, back)),
    )


def _cents(money: Json) -> int:
    return int(Decimal(money["amount"]["value"]) * 100)


async def _recomputed(cursor: psycopg.AsyncCursor[Json], account: UUID) -> list[str]:
    from tests.integration.recomputed_sums import QUERIES

    found = []
    for what, query in QUERIES.items():
        await cursor.execute(query.encode(), {"mine": [account]})
        rows = await cursor.fetchall()
        if rows:
            found.append(f"{what}: {rows[0]}")
    return found


def _money(journal: list[Json]) -> tuple[list[Charge], dict[UUID | None, int]]:
    asked = {row["request"]: row for row in journal if row["entry"] == "request"}
    charges, refunds = [], dict[UUID | None, int]()
    for row in journal:
        if row["entry"] != "effect":
            continue
        invoice = row["metadata"].get("invoice")
        named = uuid_of(invoice) if invoice else None
        if row["name"] in TRIES:
            charges.append(_charge(row, named, asked.get(row["request"], {})))
        if row["name"] in ("refund.succeeded", "dispute.lost"):
            refunds[named] = refunds.get(named, 0) + int(row["amount"])
    return charges, refunds


def _charge(row: Json, invoice: UUID | None, request: Json) -> Charge:
    return Charge(
        seq=int(row["seq"]),
        id=str(row["object"]),
        name=row["name"],
        amount=int(row["amount"]),
        invoice=invoice,
        matter=row["metadata"].get("matter", ""),
        key=row["key"],
        actor=request.get("actor") or "api",
        method=(request.get("params") or {}).get("payment_method"),
        failure=row.get("failure"),
    )
