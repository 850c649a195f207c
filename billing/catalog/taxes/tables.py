"""Tables of taxes: the rates of each jurisdiction, and the currencies whose prices include tax.

Invoice lines keep the rates they were drafted with: a changed rate affects later drafts only.
"""

from billing.core import columns as c

tax_jurisdictions = c.table(
    "tax_jurisdictions",
    # A country, `DE`, or one of its regions, `CA-QC`.
    c.text("key", primary_key=True),
    # The name of the tax on invoices.
    c.text("name"),
    # Percent by category of goods: {"standard": "19"}.
    c.json("rates"),
    # Future rates: a list of billing.catalog.taxes.schemas.LaterRates, by their day.
    c.json("later", server_default="[]"),
    # True: a region's tax replaces its country's; false: it is added.
    c.flag("instead_of_country", server_default="false"),
    c.check("NOT instead_of_country OR key ~ '-'", name="only_regions_replace"),
)

tax_terms = c.table(
    "tax_terms",
    # One row. The currencies whose prices include tax; in others it is added.
    c.flag("is_only", primary_key=True),
    c.json("included_in"),
    # The tax provider's code of each category of goods: {"books": "txcd_10302000"}.
    c.json("codes", server_default="{}"),
    c.check("is_only", name="is_only"),
)
