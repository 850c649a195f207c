"""The errors of commands and of the stack on one machine.

The text is a sentence for the operator: the problem and its solution.
"""


class StackError(Exception):
    """The command cannot be carried out; the message says what to do."""

    exit_code = 1


class UsageError(StackError):
    """A request that can never be carried out."""

    exit_code = 2
