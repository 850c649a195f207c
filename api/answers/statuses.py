"""The meaning of each status that several answers show, as the API document says it."""

from typing import Final

SUBSCRIPTION: Final = (
    "`incomplete`: it waits for its first payment; `incomplete_expired`: that never came;"
    " `trialing`; `active`; `past_due`: an invoice is overdue; `unpaid`: its tries are over, and"
    " the plan gives nothing; `paused`; `canceled`: it has ended"
)
INVOICE: Final = (
    "`draft`: it has no number yet; `open`: it is to be paid; `paid`; `void`: it is not to be paid;"
    " `uncollectible`: it was given up, and can still be paid"
)
PAYMENT: Final = (
    "`pending`: it waits for its payer or a try; `pending_approval`: it waits for an operator;"
    " `processing`: a bank decides; `succeeded`: its money came; `completed`: its money came from"
    " outside; `failed`; `refunded`: nothing of it is left; `canceled`: it was called off"
)
PURCHASE: Final = (
    "`pending`: it is not paid yet; `completed`: it is paid, and its credits are there; `failed`:"
    " nothing was charged; `expired`: nobody paid it in time; `canceled`; `refunded`: nothing is"
    " left of what was paid"
)
ATTEMPT: Final = (
    "`pending`: under way; `succeeded`; `declined`; `action`: the payer must confirm it;"
    " `processing`: a bank decides; `unreached`: it reached no card; `skipped`: no card was tried"
)
CASE: Final = (
    "`open`: the recovery goes on; `paused`; `recovered`: the invoice is paid; `exhausted`: all"
    " tries are over; `forgiven`: the debt was; `canceled`: nothing is owed any more"
)
TRIAL: Final = "`active`; `expired`; `converted`: a paid subscription took its place"
MATTER: Final = (
    "`open`: its workflow runs; `resting`: nothing is due for a day or more; `halted`: a step"
    " failed, and is tried hourly; `closed`: it is over"
)
PROVIDER_EVENT: Final = (
    "`received`: not handled yet; `handled`; `ignored`: no rule is for it; `unmatched`: nothing it"
    " belongs to was found so far; `parked`: nothing was found within a day"
)
