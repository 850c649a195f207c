"""Names of regions in addresses. Pure."""

import re
from typing import Final

_CODE: Final = re.compile("[A-Z0-9]{1,3}")
_CODES: Final = {
    country: frozenset(codes.split())
    for country, codes in {
        "CA": "AB BC MB NB NL NS NT NU ON PE QC SK YT",
        # With the places of the military, which belong to no state.
        "US": "AK AL AR AZ CA CO CT DC DE FL GA HI IA ID IL IN KS KY LA MA MD ME MI MN MO MS MT NC"
        " ND NE NH NJ NM NV NY OH OK OR PA RI SC SD TN TX UT VA VT WA WI WV WY"
        " AS GU MP PR UM VI AA AE AP",
    }.items()
}
"""ISO 3166-2 codes where addresses often have other abbreviations: `ONT`, `PQ`, `Ala`."""


def code_of(country: str, state: str) -> str:
    """Return a region's code, if `state` is one, without the country: of `on` and `CA-ON`, ON."""
    return state.upper().removeprefix(f"{country}-")


def may_be_code(country: str, code: str) -> bool:
    """True if the country has a region of this code; of most countries only its form is known."""
    known = _CODES.get(country)
    return code in known if known is not None else _CODE.fullmatch(code) is not None
