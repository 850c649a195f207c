"""The kinds of payment methods that are offered, and where, for operators [R3]."""

from api.answers.pagination import Page, as_page
from api.answers.problems import responses
from api.answers.schemas import KeyPath
from api.dependencies import AdminCall
from api.routes.admin.catalog import ChangesAnswer
from api.routes.base import new_router
from billing.catalog.payment_kinds import store
from billing.catalog.payment_kinds.schemas import PaymentKind
from billing.catalog.payment_kinds.spec import PaymentKindSpec
from billing.catalog.plans import service

router = new_router("catalog administration")


@router.get("/admin/payment-method-configs", responses=responses())
async def list_payment_method_configs(call: AdminCall) -> Page[PaymentKind]:
    """Every kind of payment method, offered or not, in the order that payers see."""
    async with call.database.operator() as connection:
        return as_page((await store.current(connection)).values())


@router.put("/admin/payment-method-configs/{key}", responses=responses())
async def put_payment_method_config(
    key: KeyPath, body: PaymentKindSpec, call: AdminCall
) -> ChangesAnswer:
    """Offer a kind, or change where it is offered; `key` is the provider's own name of it."""
    async with call.database.operator() as connection:
        return ChangesAnswer.of_changes(await service.put_payment_kind(connection, key, body))
