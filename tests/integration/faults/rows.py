"""The product's own connections to a stack's database, for what the product says of itself."""

from billing.core.database import Database, open_database
from billing.core.settings import Settings
from devstack.stack import StackInfo


def open_operator(stack: StackInfo) -> Database:
    """Both pools of a stack's database."""
    return open_database(
        Settings.model_validate(
            {"database_url": stack.app_url, "database_operator_url": stack.operator_url}
        )
    )
