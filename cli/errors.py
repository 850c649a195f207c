"""The one error of commands and of the stack on one machine.

Its text is a sentence for the person at the keyboard: what is wrong and what to do about it.
"""


class StackError(Exception):
    """The command cannot be carried out; the message says what to do."""

    exit_code = 1


class UsageError(StackError):
    """A request that can never be carried out."""

    exit_code = 2
