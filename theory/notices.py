"""What a user is told besides results, on the error stream and once."""

import sys
from functools import cache


@cache
def notice(text: str) -> None:
    """Say something on the error stream, once a process."""
    print(f"note: {text}", file=sys.stderr, flush=True)
