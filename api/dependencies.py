"""Dependencies of handlers: a call, authenticated for a role.

All are async: a sync one would run in the thread pool.
"""

from typing import Annotated

from fastapi import Depends, Query

from api.calls import AccountCall, Call, ReadCall, UseCall
from api.gates import (
    AccountGate,
    EveryGate,
    MoneyCameGate,
    OperatorGate,
    ReadGate,
    RecordGate,
    UseGate,
)
from api.identity.auth import ADMIN, BILLING, MEMBER, SERVICE

Fresh = Annotated[
    bool,
    Query(
        description="Read the primary instead of a replica; with a rate of its own. `as_of` says"
        " up to when an answer is complete."
    ),
]
"""Reads the primary instead of a replica that may lag [X13]."""

MemberCall = Annotated[AccountCall, Depends(AccountGate(MEMBER))]
"""Any role: reads, and own usage."""

MemberRead = Annotated[ReadCall, Depends(ReadGate(MEMBER))]
"""Any role, for reads that answer zeros for an unknown account."""

EveryRead = Annotated[ReadCall, Depends(EveryGate(MEMBER))]
"""Like `MemberRead`; an operator that names no account reads all of them together."""

MemberUse = Annotated[UseCall, Depends(UseGate(MEMBER))]
"""Any role, for uses: a service may name the account by its user."""

BillingUse = Annotated[UseCall, Depends(UseGate(BILLING))]
"""Role billing or an operator, for records: a service may name the account by its record."""

BillingCall = Annotated[AccountCall, Depends(AccountGate(BILLING))]
"""Every other write of one account: role billing, or an operator who names the account."""

MoneyCameCall = Annotated[AccountCall, Depends(MoneyCameGate(BILLING))]
"""Like `BillingCall`; with billing switched off it remains open to operators."""

RecordCall = Annotated[UseCall, Depends(RecordGate(SERVICE))]
"""Role service or admin, for a record, whose account is used when the header names none."""

AdminCall = Annotated[Call, Depends(OperatorGate(ADMIN))]
"""Role admin, across accounts."""

ServiceCall = Annotated[Call, Depends(OperatorGate(SERVICE))]
"""Role service or admin, across accounts."""
