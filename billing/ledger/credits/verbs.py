"""Names of the credit operations that decisions ask for (`billing.matters.effects.Do`)."""

from typing import Final

CLAWBACK: Final = "clawback"
EXPIRE_LOT: Final = "expire_lot"
GRANT: Final = "grant"
ROLL_OVER: Final = "roll_over"
