"""The coupon code as a payer writes it; it can never be a card number."""

from typing import Annotated

from pydantic import Field

from api.requests.card_numbers import NoCardNumber

# Any text: a code that no coupon can have is a coupon that does not exist.
WrittenCode = Annotated[str, Field(examples=["WELCOME20"]), NoCardNumber]
CouponCode = Annotated[WrittenCode | None, Field(description="A coupon to redeem, in any letters")]
