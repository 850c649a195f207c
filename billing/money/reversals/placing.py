"""Placement of money that was taken back outside: on the invoice, or on the balance. Pure.

Room reserved for something else may come free; then a credit note takes what found none before.
"""

from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from billing.matters.effects import Change, Remove, Rows, Work
from billing.money.disputes.schemas import Dispute
from billing.money.invoices import giving_back, note_shares, notes
from billing.money.invoices import transitions as invoices
from billing.money.invoices.notes import NewNote
from billing.money.invoices.schemas import PRORATION, CreditNote, Invoice, InvoiceLine
from billing.money.invoices.transitions import InvoiceFacts
from billing.money.payments.schemas import Payment
from billing.money.refunds import transitions as refunds
from billing.money.refunds.remaining import (
    all_reversals,
    booked_on,
    books_of,
    creditable,
    reversals,
)
from billing.money.refunds.rules import Books, Disputed, disputed, parted
from billing.money.refunds.schemas import Refund
from billing.money.reversals import booking
from billing.money.reversals.facts import ReversalFacts


def place(w: Work[ReversalFacts], row: Refund | Dispute) -> Refund | Dispute:
    """Place a refund or dispute in the books: on its invoice and on the money balance. Also note
    how much more a credit note could take of room that is reserved for something else
    (`wanted_minor`).

    Room on the money balance is never waited for. Before its payment is booked, a dispute is only
    noted: the books do not know the money yet.
    """
    payment = w.rows.get(Payment, row.payment_id)
    if payment.settled_at is None:
        return w.change(row, wanted_minor=row.amount_minor)
    # When it was heard, that was perhaps the void invoice of an expired purchase.
    row = w.change(row, invoice_id=booked_on(w.rows, payment).id)
    books = _books(w, w.rows, row)
    places = _places(books, row)
    placed = _change(w, row, places, _wanted(w, row, books, places.note_minor))
    booking.move_balance(w, placed, -placed.balance_minor, "refunded")
    if isinstance(placed, Refund):
        return _credit_later(w, placed, placed.balance_minor, booking.subject_of(placed))
    return placed


def _wanted(w: Work[InvoiceFacts], row: Refund | Dispute, books: Books, note_minor: int) -> int:
    """Return what a note could take if nothing else reserved room; 0 if it takes that already. A
    debt that others have taken stays with them, while their notes make room.
    """
    free = w.rows.copy()
    for one in _reserving(w.rows, row):
        free.take(Remove(type(one), one.id))
    kept = {"given_of_balance": books.given_of_balance, "debt": books.debt}
    wanted = _places(_books(w, free, row)._replace(**kept), row).note_minor
    return wanted if wanted > note_minor else 0


def _credit_later(w: Work[ReversalFacts], refund: Refund, most_minor: int, suffix: str) -> Refund:
    """Credit later charges that the refunded money has paid by their lines, for what the money
    balance lacks of it: whoever was given that back does not owe it. For the rest, the refund waits
    for drafts that become such charges, and for room that something else reserves.
    """
    credited = 0
    for one, amount in _later(w, refund, most_minor):
        credited += amount
        note = NewNote("refund", amount, refund.reason, suffix, was_served=True)
        notes.credit_note(w, one, note, to_balance=True)
    waits = max(
        _owed(w, most_minor - credited, refund), min(refund.short_minor, most_minor - credited)
    )
    wanted = refund.note_minor + waits if waits else 0
    return refund if wanted == refund.wanted_minor else w.change(refund, wanted_minor=wanted)


def _later(
    w: Work[ReversalFacts], refund: Refund, most_minor: int
) -> Iterator[tuple[Invoice, int]]:
    """Yield the later charges to credit, the newest first, each with the amount; whoever goes on
    has credited it.
    """
    lent, noted = (
        giving_back.lent(w.rows, w.rows.get(Invoice, refund.invoice_id)),
        _noted_on_later(w, refund),
    )
    short = min(lent.total_minor - noted.total(), _owed(w, most_minor, refund))
    numbered = [one for one in w.rows.of(Invoice) if one.finalized_at is not None]
    for one in sorted(numbered, key=lambda one: one.id, reverse=True):
        payers = {payer.id for payer in note_shares.payers(w.rows, one) if payer != one}
        drawn = sum(part.total_minor for part in giving_back.credited_by(w.rows, one).values())
        amount = min(short, drawn - noted[one.id], creditable(w.rows, one))
        if amount > 0 and refund.invoice_id in payers:
            short -= amount
            yield one, amount


def _noted_on_later(w: Work[ReversalFacts], refund: Refund) -> Counter[UUID]:
    """Return the sums of the notes that stand on later charges and were written for any refund or
    dispute of the refunded invoice, by charge. What notes on the invoice itself credit of later
    charges, `giving_back.lent` takes off.
    """
    invoice = w.rows.get(Invoice, refund.invoice_id)
    noted = Counter[UUID]()
    for note in booking.notes_of(w.rows, reversals(w.rows, invoice)):
        if note.invoice_id != invoice.id:
            noted[note.invoice_id] += note.amount_minor
    return noted


def _owed(w: Work[ReversalFacts], most_minor: int, refund: Refund) -> int:
    """Return what the money balance lacks, up to this part of a refund."""
    return max(0, min(most_minor, -invoices.money_balance(w, refund.currency)))


def take_room(w: Work[InvoiceFacts]) -> None:
    """Have credit notes take freed room first; each matter then claws back its credits."""
    _take_all_freed(w, all_reversals(w.rows))
    refunds.look_again(w)


def _take_all_freed(w: Work[InvoiceFacts], rows: list[Refund | Dispute]) -> None:
    """Have each take its freed room, the oldest first, as it stands after those before it."""
    for row in sorted(rows, key=lambda one: (one.created_at, one.id)):
        _take_freed(w, w.rows.get(type(row), row.id))


def take_returned(
    w: Work[ReversalFacts], back: Refund | Dispute, returned_minor: int, of: str = ""
) -> int:
    """Give the money of a failed refund, of a dispute that was won, or a part `of` one that is lost
    to refunds of its payment that took what another one had on its way, then to its disputes that
    are partly our loss, the oldest first. Return how much they take.
    """
    promised = _give_promised(w, back, returned_minor, of)
    taken, booked = _cover_losses(w, back, returned_minor - promised, of)
    # Only now: halfway the payment would seem no longer `refunded`, and be announced again.
    for row in booked:
        booking.count(w, row)
    return promised + taken


def _give_promised(w: Work[InvoiceFacts], back: Refund | Dispute, back_minor: int, of: str) -> int:
    """Have refunds take from the money balance what they took of money that was never booked and
    that another one had on its way: it is not here, unless that one fails. Return how much they
    take.
    """
    payment = w.rows.get(Payment, back.payment_id)
    if booked_on(w.rows, payment).status != "void":
        return 0
    promised = left = min(back_minor, max(0, -refunds.here_minor(w.rows, payment)))
    mine = [one for one in w.rows.of(Refund) if one.payment_id == payment.id and one.takes_room]
    for row in sorted(mine, key=lambda one: (one.created_at, one.id)):
        taken = min(left, row.loose_minor) if row.booked_at is not None else 0
        if taken > 0:
            left -= taken
            changed = w.change(row, balance_minor=row.balance_minor + taken)
            booking.move_balance(w, changed, -taken, "refunded", f"-{booking.subject_of(back)}{of}")
    return promised - left


def _cover_losses(
    w: Work[InvoiceFacts], back: Refund | Dispute, back_minor: int, of: str
) -> tuple[int, list[Dispute]]:
    """Have the disputes of a payment take their loss of money that is back. Return how much they
    take, and those of them that are booked.
    """
    left, booked = back_minor, list[Dispute]()
    for row in sorted(w.rows.of(Dispute), key=lambda one: (one.created_at, one.id)):
        if row.payment_id != back.payment_id or not row.takes_room:
            continue
        taken = min(left, row.loss_minor, _takable(w, row))
        if taken > 0:
            left -= taken
            balance, loss = row.balance_minor + taken, row.loss_minor - taken
            changed = w.change(row, balance_minor=balance, loss_minor=loss)
            named = f"-{booking.subject_of(back)}{of}"
            booking.move_balance(w, changed, -taken, "refunded", named)
            booked += [changed] if changed.booked_at is not None else []
        _want_again(w, w.rows.get(Dispute, row.id))
    return back_minor - left, booked


def _want_again(w: Work[InvoiceFacts], row: Dispute) -> None:
    """Have a dispute wait for the room that it needs now that money has come back: for more, as
    there is money to credit again, or for less, as a debt may have come free for it.
    """
    if row.short_minor or row.loss_minor:
        wanted = _wanted(w, row, _books(w, w.rows, row), row.note_minor)
        if wanted != row.wanted_minor and (wanted or row.short_minor):
            w.change(row, wanted_minor=wanted)


def _takable(w: Work[InvoiceFacts], row: Dispute) -> int:
    """Return the most that a dispute may still take from the money balance: all that is there. Of
    a debt, what it would take if it came now: a debt whose money it holds stays owed.
    """
    as_if_now = _places(_books(w, w.rows, row), row).balance_minor
    return max(invoices.money_balance(w, row.currency), as_if_now - row.balance_minor)


def unplaced(w: Work[ReversalFacts]) -> Refund | Dispute | None:
    """Return the payment's oldest refund or dispute that lacked room and must be placed again. One
    that has room comes first: its note may be what another one's credits seem to be due for.
    """
    behind = [one for one in _mine(w) if _lacks_note(w, one)]
    return min(behind, key=lambda one: (not _room(w, one), one.created_at, one.id), default=None)


def _mine(w: Work[ReversalFacts]) -> list[Refund | Dispute]:
    return [one for one in all_reversals(w.rows) if one.payment_id == w.facts.payment_id]


def place_again(w: Work[ReversalFacts], row: Refund | Dispute) -> None:
    """Write the credit note that found no room before, and claw back its credits. What the note
    credits, the customer no longer owes.
    """
    row = _place_rest(w, row) if row.is_placed else place(w, row)
    # Others take their room first, and then by their own steps the credits of their own money.
    _take_all_freed(w, _mine(w))
    booking.take_credits(w, row)
    if row.booked_at is not None:
        booking.count(w, row)
    if row.wanted_minor and not row.short_minor:
        w.change(w.rows.get(type(row), row.id), wanted_minor=0)


def _place_rest(w: Work[ReversalFacts], row: Refund | Dispute) -> Refund | Dispute:
    """Place what found no room before: on the invoice, and of a refund on later charges."""
    row = _take_freed(w, row)
    if isinstance(row, Dispute) or not row.short_minor:
        return row
    return _credit_later(w, row, row.short_minor, f"{booking.subject_of(row)}-{row.short_minor}")


def _take_freed(w: Work[InvoiceFacts], row: Refund | Dispute) -> Refund | Dispute:
    """Move to the invoice, by its credit note, what found no room there before: first from our
    loss, then from the money balance. What the balance no longer lacks, disputes take that are
    partly our loss.
    """
    room = _room(w, row)
    if not room:
        return row
    lost = min(room, row.loss_minor) if isinstance(row, Dispute) else 0
    note, owed = row.note_minor + room, room - lost
    places = Disputed(note, row.balance_minor - owed, row.amount_minor - row.own_minor - lost)
    row = _change(w, row, places, row.wanted_minor)
    booking.move_balance(w, row, owed, "noted", f"-{note}")
    if row.booked_at is not None:
        booking.note(w, row, room, f"-{note}")
    taken, _ = _cover_losses(w, row, owed, f"-{note}")
    if taken or row.booked_at is not None:
        booking.count_refunded(w, w.rows.get(Payment, row.payment_id), row.reason)
    return w.rows.get(type(row), row.id)


def _lacks_note(w: Work[ReversalFacts], row: Refund | Dispute) -> bool:
    """True if a credit note that found no room before has some now or had it meanwhile, or if a
    later charge can be credited, or credits of its note must still be clawed back.
    """
    if booking.is_late_grant_due(w, row):
        return True
    if not row.wanted_minor or not row.takes_room:
        return False
    if not row.is_placed:
        return w.rows.get(Payment, row.payment_id).settled_at is not None
    if row.has_found_room:
        return True
    is_later = isinstance(row, Refund) and any(_later(w, row, row.short_minor))
    return is_later or _room(w, row) > 0 or bool(booking.credits_due(w, row))


def _room(w: Work[InvoiceFacts], row: Refund | Dispute) -> int:
    """Return the part of `short_minor` that a note may take now."""
    if not row.short_minor:
        return 0
    now = _places(_books(w, w.rows, row), row).note_minor
    return max(0, min(row.short_minor, now - row.note_minor))


def _books(w: Work[InvoiceFacts], rows: Rows, row: Refund | Dispute) -> Books:
    """Return its payment's books in these rows as if `row` were not booked yet."""
    before = rows.copy()
    nowhere = {"note_minor": 0, "balance_minor": 0, "wanted_minor": 0, "booked_at": None}
    lossless = {"loss_minor": 0} if isinstance(row, Dispute) else {}
    before.take(Change(type(row), row.id, nowhere | lossless))
    for one in booking.notes_of(rows, [row]):
        before.take(Remove(CreditNote, one.id))
    balance = invoices.money_balance(w, row.currency) + row.balance_minor
    return books_of(before, rows.get(Payment, row.payment_id), balance)


def _places(books: Books, row: Refund | Dispute) -> Disputed:
    """Return the places of `row` as if it were booked now."""
    if isinstance(row, Dispute):
        return disputed(books, row.amount_minor)
    return Disputed(*parted(books, row.amount_minor), 0)


def _reserving(rows: Rows, row: Refund | Dispute) -> list[Refund | Dispute | InvoiceLine]:
    """Return everything else that reserves room and may still free it."""
    credited = [one for one in rows.of(InvoiceLine) if one.kind == PRORATION]
    return [
        *(one for one in all_reversals(rows) if one.is_reserved and one.id != row.id),
        *(one for one in credited if rows.get(Invoice, one.invoice_id).status == "draft"),
    ]


def _change(
    w: Work[InvoiceFacts], row: Refund | Dispute, places: Disputed, wanted_minor: int
) -> Refund | Dispute:
    fields = {**places._asdict(), "wanted_minor": wanted_minor}
    if isinstance(row, Refund):
        fields.pop("loss_minor")
    return w.change(row, **fields)
