"""`python -m theory audit`: check the papers' claims and write down what was found."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from theory.files import output_folder
from theory.theorems.audit import audit, chosen, table, write_report
from theory.theorems.claim import Trial


@dataclass(frozen=True)
class Audit:
    """Check the audited claims of the papers; fails when a number contradicts its verdict."""

    only: tuple[str, ...] = ()
    """Claims, or papers, to check; all when empty."""
    draws: int = 200_000
    """Monte Carlo draws of each simulated probability."""
    seed: int = 0
    """Seed; every claim has a stream of its own."""
    workers: int = 1
    """Processes that check claims; results do not depend on it."""
    out: Path = Path("out")
    """Folder for audit.md and audit.json."""


def run(options: Audit) -> int:
    """Exit status: 1 where the numbers of a claim do not say what its verdict says."""
    claims = chosen(options.only)
    output_folder(options.out)
    trial = Trial(options.draws, options.seed, options.workers)
    progress = partial(tqdm, total=len(claims), unit="claim", disable=None)
    results = audit(claims, trial, progress)
    print(table(results))
    for path in write_report(results, trial, options.out):
        print(f"written: {path.resolve()}")
    wrong = [result.claim.key for result in results if not result.confirmed]
    print(f"{len(results) - len(wrong)} of {len(results)} claims confirmed")
    if wrong:
        print(f"NOT confirmed: {', '.join(wrong)}")
    return 1 if wrong else 0
