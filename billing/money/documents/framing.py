"""The frame of messages between the two processes that make documents."""

import struct
from typing import Final

LENGTH: Final = struct.Struct(">?I")
"""Before each message: whether it is a PDF (else it is an error's text), and its length."""
