"""The converter of values and failures for Temporal."""

from dataclasses import replace
from typing import Final

from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DefaultFailureConverter, PayloadConverter

STACK_CHARACTERS: Final = 600
"""Limit for each failure in a chain: the server truncates a large one and drops its message."""


class ShortFailureConverter(DefaultFailureConverter):
    """A converter that keeps only the end of each stack trace; the worker's log has all of it."""

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """Fill `failure` from the exception and its causes."""
        super().to_failure(exception, payload_converter, failure)
        part = failure
        while True:
            part.stack_trace = part.stack_trace[-STACK_CHARACTERS:]
            if not part.HasField("cause"):
                return
            part = part.cause


CONVERTER: Final = replace(pydantic_data_converter, failure_converter_class=ShortFailureConverter)
