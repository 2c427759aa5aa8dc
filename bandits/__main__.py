"""`python -m bandits`: experiments on small worlds, one or a sweep of them."""

import sys
from functools import partial

import tyro

from theory.ending import RESUME, check_arguments, ended
from theory.first_contact import extra


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `bandits.command.run_experiment`, or as `theory.ending.ended`."""
    given = sys.argv[1:] if arguments is None else arguments
    return ended(partial(_run, given), kept=RESUME)


def _run(given: list[str]) -> int:
    with extra("torch"):
        from bandits.command import Experiment, run_experiment
    check_arguments(given)
    return run_experiment(tyro.cli(Experiment, args=given, prog="python -m bandits"))


if __name__ == "__main__":
    sys.exit(main())
