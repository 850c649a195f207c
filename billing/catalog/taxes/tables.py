"""Tables of taxes: what each jurisdiction asks, and where prices hold it already.

An invoice's lines keep the rates they were drafted with: a changed rate touches later drafts only.
"""

from billing.core import columns as c

tax_jurisdictions = c.table(
    "tax_jurisdictions",
    # A country, `DE`, or one of its regions, `CA-QC`.
    c.text("key", primary_key=True),
    # The tax as invoices call it.
    c.text("name"),
    # Percent by category of goods: {"standard": "19"}.
    c.json("rates"),
    # Rates to come: a list of billing.catalog.taxes.schemas.LaterRates, by their day.
    c.json("later", server_default="[]"),
    # A region's tax is asked in place of its country's, or else beside it.
    c.flag("instead_of_country", server_default="false"),
)

tax_terms = c.table(
    "tax_terms",
    # One row. The currencies whose prices hold their tax; in others it is added.
    c.flag("is_only", primary_key=True),
    c.json("included_in"),
    # The tax provider's code of each category of goods: {"books": "txcd_10302000"}.
    c.json("codes", server_default="{}"),
    c.check("is_only", name="is_only"),
)
