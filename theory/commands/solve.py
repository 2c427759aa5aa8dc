"""`python -m theory solve SCORES`: your own scores under every objective."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from theory.comparison import Comparison, choose, compare, strength
from theory.files import output_folder
from theory.first_contact import install
from theory.score_table import read_scores
from theory.tables import write_table

SHOWN = (
    "objective", "status", "beta", "kl", "gain", "disagreement", "lower_bound", "p_harm",
    "p_harm_bound", "gold", "gold_gain_low", "gold_gain_high",
)  # fmt: skip


@dataclass(frozen=True)
class Solve:
    """Solve a table of reward-model scores exactly, under one objective or all of them.

    The table (CSV, JSON, JSON lines or Parquet, gzip too) has one row a response: prompt, response,
    reference (its probability), member_0, member_1, ... (scores), and optionally gold and std_*.
    """

    scores: Annotated[Path, tyro.conf.Positional]
    """The table."""
    objective: tuple[str, ...] = ("all",)
    """Presets of theory.presets, or 'all'."""
    beta: float | None = None
    """Strength as a multiplier."""
    eps: float | None = None
    """Strength as a budget on the penalty, shared by the prompts."""
    kl: float | None = None
    """Strength as a plain KL in nats, to compare objectives at equal distance (default 0.3);
    where several beta have that KL, at the largest."""
    members: tuple[str, ...] = ()
    """Score columns, where they are not called member_0, member_1, ..."""
    shrink: bool = True
    """Shrink the variances of the members by empirical Bayes."""
    errors: str = "shared"
    """'shared': members resample one data set. 'independent': each has data of its own."""
    level: float = 0.95
    """Of bounds and intervals."""
    frontier: bool = True
    """With gold: also solve a grid of beta, for the gold-KL frontier."""
    spreadsheet_safe: bool = False
    """Put an apostrophe before texts that a spreadsheet would take for formulas."""
    out: Path = Path("out")
    """Folder for summary.csv, policies.csv, frontier.csv and comparison.png."""


def run(options: Solve) -> int:
    """Exit status: 1 where an objective has no policy at this strength."""
    at = strength(options.beta, options.eps, options.kl)
    choose(options.objective)
    table = read_scores(options.scores, members=options.members)
    out = output_folder(options.out)
    prompts, responses = table.log_reference.shape
    print(
        f"{prompts} prompts x {responses} responses, {table.scores.k} members"
        f"{', gold' if table.gold is not None else ''}; {at}"
    )
    comparison = compare(
        table, options.objective, at, shrink=options.shrink, errors=options.errors,
        level=options.level, frontier=options.frontier,
        progress=partial(tqdm, unit="objective", disable=None),
    )  # fmt: skip
    shown = comparison.summary[[c for c in SHOWN if c in comparison.summary]]
    print(shown.to_string(index=False, float_format=lambda x: f"{x:.4g}"))
    for path in save(comparison, out, spreadsheet_safe=options.spreadsheet_safe):
        print(f"written: {path.resolve()}")
    return int(~comparison.summary.status.isin(["optimal", "slack"]).all())


def save(comparison: Comparison, out: Path, *, spreadsheet_safe: bool = False) -> list[Path]:
    """Write the tables by `theory.tables.write_table`, and the figure if matplotlib is there."""
    tables = {name: getattr(comparison, name) for name in ("summary", "policies", "frontier")}
    paths = [
        write_table(out / f"{name}.csv", frame, spreadsheet_safe=spreadsheet_safe)
        for name, frame in tables.items()
        if not frame.empty
    ]
    try:
        from theory.commands.solve_figure import save_figure

        return paths + save_figure(comparison, out)
    except ImportError:
        print(f"no figure: {install('figures')}")
        return paths
