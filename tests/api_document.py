"""The application and its API document, made once for all tests that only read them."""

from typing import Any, Final

from fastapi import FastAPI
from pydantic import SecretStr

from api.app import create_app
from billing.core.settings import Settings

APP: Final[FastAPI] = create_app(Settings(jwt_secret=SecretStr("s" * 32)))
DOCUMENT: Final[dict[str, Any]] = APP.openapi()
