"""`python -m bandits`: experiments on small worlds, one or a sweep of them."""

import sys

import tyro

from theory.errors import InputError
from theory.first_contact import extra


def main(arguments: list[str] | None = None) -> int:
    """Exit status of `bandits.command.run_experiment`, or 2 where PyTorch is missing."""
    try:
        with extra("torch"):
            from bandits.command import Experiment, run_experiment
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return run_experiment(tyro.cli(Experiment, args=arguments, prog="python -m bandits"))


if __name__ == "__main__":
    sys.exit(main())
