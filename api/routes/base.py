"""The router of every route file: `router = new_router("credits")`, paths below /api/v1.

Each route has the prefix in its own path, without an include: routing stays one flat list.
"""

from typing import Final

from fastapi import APIRouter
from fastapi.routing import APIRoute

PREFIX: Final = "/api/v1"


def new_router(tag: str, prefix: str = PREFIX) -> APIRouter:
    """A router whose operations have the names of their handlers, for generated clients."""
    return APIRouter(prefix=prefix, tags=[tag], generate_unique_id_function=_name)


def _name(route: APIRoute) -> str:
    return route.name
