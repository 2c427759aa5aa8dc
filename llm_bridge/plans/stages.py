"""Stages of a run: what each costs, and a table of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from llm_bridge.plans.costs import Memory
from theory import checks
from theory.errors import InputError

GIB = 2**30
UNITS = {"EFLOP": 1e18, "PFLOP": 1e15, "TFLOP": 1e12, "GFLOP": 1e9}


@dataclass(frozen=True)
class Stage:
    """One stage: steps of an optimiser or batches, tokens that are read (each once a pass).

    trainable, loaded: parameters; memory: bytes at the peak; flops: of all passes.
    """

    name: str
    steps: int
    tokens: float
    trainable: int
    loaded: int
    memory: Memory
    flops: float

    def seconds(self, tflops: float, utilisation: float = 0.4) -> float:
        """On a device of that many TFLOP/s, of which a share is reached.

        Raises `InputError` for a speed that is not positive, or a share outside (0, 1].
        """
        checks.positive_number("tflops", tflops)
        if not 0 < utilisation <= 1:
            raise InputError("utilisation", "in (0, 1]", utilisation)
        return self.flops / (tflops * 1e12 * utilisation)


def table(stages: Sequence[Stage], *, tflops: float | None = None, utilisation: float = 0.4) -> str:
    """Stages as lines, and their total: sums, and the largest memory.

    tflops: speed of the device, for a column of times.
    """
    head = ["stage", "steps", "tokens", "trainable", "loaded", "weights", "training", "work",
            "peak GiB", "compute"]  # fmt: skip
    rows = [
        [s.name, f"{s.steps:,}", f"{s.tokens:,.0f}", f"{s.trainable:,}", f"{s.loaded:,}",
         *(f"{part / GIB:,.1f}" for part in (*s.memory, s.memory.peak)), flop(s.flops)]
        for s in stages
    ]  # fmt: skip
    peak = max(s.memory.peak for s in stages) / GIB
    total = sum(s.flops for s in stages)
    rows.append(
        ["total", "", f"{sum(s.tokens for s in stages):,.0f}", *[""] * 5, f"{peak:,.1f}",
         flop(total)]
    )  # fmt: skip
    if tflops is not None:
        head.append("time")
        times = [s.seconds(tflops, utilisation) for s in stages]
        for row, seconds in zip(rows, [*times, sum(times)], strict=True):
            row.append(duration(seconds))
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join(lines)


def flop(number: float) -> str:
    """Of arithmetic, in the unit that fits.

    >>> flop(5.96e12), flop(9.2e16)
    ('5.96 TFLOP', '92 PFLOP')
    """
    for unit, size in UNITS.items():
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number / 1e9:.3g} GFLOP"


def duration(seconds: float) -> str:
    """In the unit that fits.

    >>> duration(30), duration(600), duration(9000)
    ('30 s', '10 min', '2.5 h')
    """
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
