"""Amount limits of Stripe, and its fee.

Minimum charges per currency are Stripe's; the fee is a plain 2.9 % + 30, in whole minor units.
"""

from sandbox import problems

MAXIMUM = 99_999_999
MAXIMUMS = {"cop": 9_999_999_999, "idr": 999_999_999_999, "inr": 999_999_999}
MINIMUMS = {
    "usd": 50, "eur": 50, "gbp": 30, "cad": 50, "aud": 50, "nzd": 50, "chf": 50, "brl": 50,
    "inr": 50, "sgd": 50, "dkk": 250, "sek": 300, "nok": 300, "jpy": 50, "mxn": 1000,
    "hkd": 400, "pln": 200, "czk": 1500, "huf": 17500, "ron": 200, "bgn": 100, "aed": 200,
    "myr": 200, "thb": 1000,
}  # fmt: skip
DEFAULT_MINIMUM = 50
ZERO_DECIMAL = frozenset({
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv",
    "xaf", "xof", "xpf",
})  # fmt: skip
THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
FEE_PERMILLE = 29
FEE_FIXED = 30


def check(amount: int, currency: str, param: str = "amount") -> None:
    """Refuse (400) an amount that Stripe finds too small, too large or too precise."""
    demand_whole(amount, currency, param)
    least = MINIMUMS.get(currency, DEFAULT_MINIMUM)
    if amount < least:
        raise problems.invalid(
            f"Amount must be at least {shown(least, currency)}.", param, "amount_too_small"
        )
    most = MAXIMUMS.get(currency, MAXIMUM)
    if amount > most:
        raise problems.invalid(
            f"Amount must be no more than {shown(most, currency)}.", param, "amount_too_large"
        )


def converted(word: str) -> problems.ApiError:
    """Return the 400 for an amount out of bounds in the currency it is converted to."""
    bound = "at least 50 cents" if word == "amount_too_small" else "no more than $999,999.99"
    return problems.invalid(f"Amount must convert to {bound}.", "amount", word)


def demand_whole(amount: int, currency: str, param: str = "amount") -> None:
    """Refuse (400) an amount with three decimals whose last digit is not 0."""
    if currency in THREE_DECIMAL and amount % 10:
        raise problems.invalid(f"Amounts in {currency.upper()} must be divisible by 10.", param)


def fee(amount: int) -> int:
    """Return Stripe's fee for a charge, rounded half up, never more than the charge."""
    return min((amount * FEE_PERMILLE + 500) // 1000 + FEE_FIXED, amount)


def shown(amount: int, currency: str) -> str:
    """Format an amount for a person: `9.99 USD`, `50 JPY`."""
    decimals = 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2
    if decimals == 0:
        return f"{amount} {currency.upper()}"
    whole, part = divmod(abs(amount), 10**decimals)
    sign = "-" if amount < 0 else ""
    return f"{sign}{whole}.{part:0{decimals}} {currency.upper()}"
