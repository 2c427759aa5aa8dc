"""`best-of-n`: the best of n responses of the reference, for every n at once."""

from dataclasses import dataclass
from pathlib import Path

from llm_bridge.best_of_n import best_of_n
from llm_bridge.commands.options import World, presets
from llm_bridge.commands.training import STUDY
from theory import checks
from theory.files import output_folder
from theory.tables import write_table

SHOWN = (1, 4, 16, 64, 256)


@dataclass(frozen=True)
class BestOfN(World):
    """Choose the best of n responses of the reference under every objective, for every n."""

    objective: tuple[str, ...] = STUDY
    """Presets of theory.presets; their penalties play no role."""
    samples: int = 64
    """Responses of a prompt, and the largest n."""
    out: Path = Path("out/best-of-n")
    """Folder of the curves."""


def choose(options: BestOfN) -> None:
    """Curves, and a table of some of their points."""
    checks.positive("samples", options.samples)
    objectives = presets(options.objective)
    rows = best_of_n(options.prepared(), objectives, range(options.seeds), samples=options.samples)
    path = output_folder(options.out) / "best_of_n.csv"
    write_table(path, rows)
    shown = rows[rows.n.isin([*SHOWN, options.samples])]
    metric = "gold" if "gold" in rows else "proxy"
    table = shown.pivot_table(index="objective", columns="n", values=metric, sort=False)
    print(f"{metric} of the best of n\n" + table.round(3).to_string())
    print(f"curves in {path.resolve()}")
