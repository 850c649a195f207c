"""The one error of the embedded stack.

Its text is a sentence for the person at the keyboard: what is wrong and what to do about it.
"""


class StackError(Exception):
    """The stack cannot do what was asked; the message says what to do."""
