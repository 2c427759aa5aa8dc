"""The one look of all figures. matplotlib itself is imported on use."""

from pathlib import Path

PATH = Path(__file__).with_name("paper.mplstyle")
COLUMN, TEXT = 3.25, 6.75
"""Widths in inches: one column, and the whole text."""

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
)  # fmt: skip
UNAWARE, AWARE, REFERENCE = VERMILION, BLUE, "#777777"
"""The same role has the same colour in every figure."""


def use() -> None:
    """Switch matplotlib to the style."""
    from matplotlib import style

    style.use(PATH)
