"""The cost of whole units, found by walking from one to the next: an opinion of its own."""

from decimal import Decimal

from billing.catalog.rating.schemas import PriceTerms


def walked(terms: PriceTerms, units: int) -> Decimal:
    """The cost of the first `units` of a cycle together."""
    total, tier, begun, package = Decimal(0), 0, set[int](), Decimal(0)
    for number in range(1, units + 1):
        paid = number - terms.free_units
        if paid <= 0:
            continue
        if terms.model == "flat":
            total = terms.unit_price
        elif terms.model == "per_unit":
            total += terms.unit_price
        elif terms.model == "package":
            while package < paid:
                package += terms.package_size
                total += terms.unit_price
        else:
            while (end := terms.tiers[tier].up_to) is not None and paid > end:
                tier += 1
            here = terms.tiers[tier]
            if terms.model == "volume" and number == units:
                return sum([here.unit_price] * int(paid), here.flat_price)
            total += here.unit_price + (Decimal(0) if tier in begun else here.flat_price)
            begun.add(tier)
    return total
