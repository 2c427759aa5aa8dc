"""Exceptions raised by the toolkit, and how their messages quote what arrived."""

QUOTED = 60
"""Characters of a text that a message quotes."""


def quoted(value: object) -> str:
    """Quote a value for a message, a long one shortened.

    >>> quoted("word " * 300)
    "'word word word word word word word word word word word word '... (1,500 characters)"
    """
    if isinstance(value, str):
        told = repr(value[:QUOTED])
        return told if len(value) <= QUOTED else f"{told}... ({len(value):,} characters)"
    told = repr(value)
    return told if len(told) <= QUOTED else f"{told[:QUOTED]}..."


class InputError(ValueError):
    """A bad argument. The message says which, what is required, what arrived and what to try."""

    def __init__(self, argument: str, required: str, arrived: object, hint: str = "") -> None:
        super().__init__(argument, required, str(arrived), hint)

    def __str__(self) -> str:
        argument, required, arrived, hint = self.args
        tail = f"; {hint}" if hint else ""
        return f"`{argument}` must be {required}, got {arrived}{tail}"


class UnboundError(ValueError):
    """An objective needs something from a batch that has not been filled in yet."""

    def __init__(self, part: object, missing: str) -> None:
        super().__init__(str(part), missing)

    def __str__(self) -> str:
        part, missing = self.args
        return (
            f"{part} needs `{missing}`, which depends on a batch; call "
            "bind(objective, scores, log_reference), or pass a Binding of your own"
        )


class SolveError(RuntimeError):
    """A solution was asked for its policy, but the problem was not solved."""
