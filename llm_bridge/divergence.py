"""Trainings that explode: how their records show it, and what is said of it."""

import math
import sys
from collections.abc import Mapping

import pandas as pd

MOST_KL = 5.0
"""Nats a token between policy and reference. Text of e^-5 = 0.7% a token under the reference is
text that neither it nor the reward models know. Measured on the embedded language: at 30 times the
default learning rate a policy wanders at 4 to 5 while its true reward falls from -0.4 to -6."""
LEAST_ENTROPY = 1e-4
"""Nats a token, below which a policy writes one text whatever is drawn, and learns no more."""
MOST_CLIPPED = 0.99
"""Share of ratios outside of the clipping interval, beyond which one step undid the policy. The
first minibatch of an iteration, whose ratios are 1, does not count."""


def divergence(row: Mapping[str, float], minibatches: int) -> str:
    """Why the record of a PPO step says that its policy diverged; '' where it does not.

    row: `kl`, `entropy` and `length` of responses in nats and tokens, and `clip_fraction`, a mean
    over the `minibatches` of all epochs.

    >>> divergence({"kl": 496.0, "entropy": 1.0, "length": 40.0, "clip_fraction": 0.2}, 4)
    'KL 12.4 nats a token'
    >>> divergence({"kl": 20.0, "entropy": 30.0, "length": 40.0, "clip_fraction": 0.2}, 4)
    ''
    """
    for name, value in row.items():
        if name in ("kl", "entropy", "clip_fraction", "policy_loss") and not math.isfinite(value):
            return f"{name} is {value}"
    length = max(1.0, row["length"])
    if row["kl"] / length > MOST_KL:
        return f"KL {row['kl'] / length:.3g} nats a token"
    if row["entropy"] / length < LEAST_ENTROPY:
        return f"entropy {row['entropy'] / length:.2g} nats a token"
    clipped = row["clip_fraction"] * minibatches / max(1, minibatches - 1)
    if clipped > MOST_CLIPPED:
        return f"{clipped:.0%} of the ratios clipped"
    return ""


def check_ends(rows: pd.DataFrame, stopped: bool) -> None:
    """Say on stderr which policies of records diverged; `RuntimeError` where they were `stopped`.

    rows: with objective, seed, step and `diverged`.
    """
    gone = rows[rows.diverged.isin([True, "True"])].drop_duplicates(["objective", "seed"])
    if gone.empty:
        return
    each = ", ".join(
        f"{one.objective} seed {one.seed} by step {one.step}" for one in gone.itertuples()
    )
    policies = len(rows.drop_duplicates(["objective", "seed"]))
    told = f"{len(gone)} of {policies} policies diverged: {each}"
    if stopped:
        raise RuntimeError(f"{told}; their rows end there (--stop-on-divergence)")
    print(f"warning: {told}", file=sys.stderr)


def tell(policy: str, step: int, why: str) -> None:
    """Say on stderr that a policy diverged, in a line."""
    advice = "lower the learning rate or raise beta; --stop-on-divergence ends such trainings"
    print(
        f"warning: {policy} diverged at step {step}: {why}; {advice}", file=sys.stderr, flush=True
    )
