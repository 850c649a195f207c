"""The tax status of each account, and the tax provider's answer for its address.

An account without a row pays the taxes of its address.
"""

from billing.core import columns as c

tax_profiles = c.table(
    "tax_profiles",
    c.account(primary_key=True),
    # Granted by an operator, with the certificate's number or another reason.
    c.text("exempt_because", nullable=True),
    # As its country's register writes it: DE123456789.
    c.text("vat_id", nullable=True),
    c.instant("vat_given_at", nullable=True),
    # pending: the register has not answered yet; valid; unknown: it has no such number.
    c.text("vat_status", nullable=True),
    c.text("vat_name", nullable=True),
    # The register's reference for the consultation: the proof.
    c.text("vat_proof", nullable=True),
    c.instant("vat_decided_at", nullable=True),
    c.integer("vat_tries", server_default="0"),
    # When the register is asked next.
    c.instant("vat_check_at", nullable=True),
    # Since when tax that was charged before the proof waits for its credit notes.
    c.instant("vat_credit_at", nullable=True),
    # A counter in the keys of the VAT id's steps, raised by each request: a frozen clock may see
    # two ids at one instant.
    c.integer("vat_turn", server_default="0"),
    c.instant("updated_at"),
    c.check("vat_status IN ('pending', 'valid', 'unknown')", name="vat_status_known"),
    c.check(
        "num_nonnulls(vat_id, vat_given_at, vat_status) IN (0, 3)"
        " AND (vat_decided_at IS NOT NULL) = coalesce(vat_status <> 'pending', false)",
        name="vat_whole",
    ),
    # For the ids that no register answers about.
    c.index("ix_tax_profiles_pending", "vat_tries", where="vat_status = 'pending'"),
)

tax_quotes = c.table(
    "tax_quotes",
    c.account(primary_key=True),
    # A digest of the address that the provider is asked for, so that no address is kept twice.
    c.text("wanted"),
    # The digest of the address of the last answer, and its jurisdictions with their rates.
    c.text("address", nullable=True),
    c.json("jurisdictions", nullable=True),
    c.instant("quoted_at", nullable=True),
    # When the provider is queried next.
    c.instant("ask_at"),
    # Queries since the last answer.
    c.integer("tries", server_default="0"),
    c.check("num_nonnulls(address, jurisdictions, quoted_at) IN (0, 3)", name="answer_whole"),
    # For the addresses about which nobody answers, and for the last answer.
    c.index("ix_tax_quotes_unanswered", "tries", where="tries > 0"),
    c.index("ix_tax_quotes_quoted", "quoted_at"),
)
