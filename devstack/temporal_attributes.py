"""Waits for the Temporal server, and adds missing search attributes to its namespace.

Separate from `temporal`, because the SDK takes half a second to load: the server starts meanwhile.
"""

from typing import Any

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.client import Client
from temporalio.common import SearchAttributeKey

from cli.errors import StackError
from workflows.attributes import ATTRIBUTES


async def register_attributes(address: str, namespace: str) -> None:
    """Add missing search attributes; raise until the server answers. Repeatable.

    Errors: StackError when one exists with another type, which the server would accept silently.
    """
    client = await Client.connect(address, namespace=namespace)
    service = client.operator_service
    listed = await service.list_search_attributes(ListSearchAttributesRequest(namespace=namespace))
    there = listed.custom_attributes
    for key in ATTRIBUTES:
        if there.get(key.name, key.indexed_value_type) != key.indexed_value_type:
            raise StackError(
                f"Temporal's database has the search attribute {key.name}, but not as "
                f"{kind(key)}: delete temporal.db in the data folder, start, run billing rebuild"
            )
    request = AddSearchAttributesRequest(namespace=namespace)
    for key in ATTRIBUTES:
        if key.name not in there:
            request.search_attributes[key.name] = IndexedValueType.ValueType(key.indexed_value_type)
    if request.search_attributes:
        await service.add_search_attributes(request)


def kind(key: SearchAttributeKey[Any]) -> str:
    """Return the server's name of the type: Keyword, Datetime, KeywordList."""
    return key.indexed_value_type.name.title().replace("_", "")
