"""Many objectives on one table of scores: what each would do, and how sure it can be."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from theory import checks
from theory.errors import InputError
from theory.notices import notice
from theory.objective import Objective
from theory.optimum import batch_statistics, solve
from theory.penalties import Budget, Penalty, Strength, TargetKL
from theory.presets import PRESETS
from theory.safe_bound import harm_bound, radius
from theory.score_table import ScoreTable
from theory.scores import Scores
from theory.solution import Solution

ALL = (
    "vanilla", "ensemble_mean", "wco", "best_case", "lcb", "uwo", "entropic", "chi_square",
    "variance_aware", "variance_aware_kl", "variance_aware_ppo", "variance_unaware_theorem",
    "variance_aware_theorem", "reward_robust", "reward_robust_policy", "global_dro", "adaptive",
)  # fmt: skip
"""Presets with a diagonal coefficient, which can be matched at a KL; 'all' on the command line."""
ERRORS = ("shared", "independent")
FRONTIER_GRID = np.geomspace(0.03, 30, 25)
"""beta of the frontier, in units of the spread of rewards over the mean coefficient."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Results of `compare`.

    summary:  one row an objective: beta, KL, utility, disagreement, lower bounds, P(harm), gold.
    policies: one row a (prompt, response, objective): probability, reference, score mean and
              variance (sample and as used).
    frontier: KL and gold return over a grid of beta, where there is gold (else empty).
    """

    summary: pd.DataFrame
    policies: pd.DataFrame
    frontier: pd.DataFrame


def choose(names: Iterable[str]) -> list[str]:
    """Preset names, 'all' standing for `ALL`; `InputError` with the nearest for unknown ones."""
    chosen: list[str] = []
    for name in names:
        checks.one_of("objective", name, ["all", *PRESETS])
        chosen += ALL if name == "all" else [name]
    if not chosen:
        raise InputError("objective", "at least one", "none", f"all, or one of {', '.join(ALL)}")
    return list(dict.fromkeys(chosen))


def strength(
    beta: float | None = None, eps: float | None = None, kl: float | None = None
) -> Strength:
    """The one strength that was given; 0.3 nats of KL where none was.

    Raises `InputError` for more than one, and for numbers out of range.
    """
    given = {"beta": beta, "eps": eps, "kl": kl}
    set_ones = [name for name, number in given.items() if number is not None]
    if len(set_ones) > 1:
        raise InputError("strength", "one of --beta, --eps and --kl", ", ".join(set_ones))
    if beta is not None:
        return Penalty(beta)
    if eps is not None:
        return Budget(eps)
    return TargetKL(0.3 if kl is None else kl)


def compare(
    table: ScoreTable,
    objectives: Iterable[str] = ("all",),
    at: Strength = TargetKL(0.3),  # noqa: B008
    *,
    shrink: bool = True,
    errors: str = "shared",
    level: float = 0.95,
    frontier: bool = True,
    progress: Any = iter,
) -> Comparison:
    """Solve every objective exactly and judge its policy with the ensemble and with gold.

    Scores are centred under the reference first; variances are shrunken unless `shrink` is False.
    `errors` says what the variance of the members means for their mean: 'shared' (bootstrap
    resamples or seeds of one data set: the mean errs by one sigma) or 'independent' (data of their
    own: by sigma / sqrt(k)). Errors of different responses are taken as independent.

    Raises `InputError` for unknown names, and where a variance is needed with one member.
    """
    checks.one_of("errors", errors, ERRORS)
    if not 0 < level < 1:
        raise InputError("level", "in (0, 1)", level, "0.95 stands for 95%")
    objectives = tuple(objectives)
    names = choose(objectives)
    scores = table.scores.centred(table.log_reference)
    if scores.k > 1 and shrink:
        scores = scores.shrunk()
    judge = _Judge(table, scores, errors, level)
    rows, policies, curves = [], [], []
    for name in progress(names):
        objective = replace(PRESETS[name](*_required(name, at)), strength=at)
        if (beyond := _beyond_support(name, objective, table)) is not None:
            if name in objectives:
                raise beyond
            notice(f"left out of all: {beyond}")
            continue
        try:
            solution = solve(objective, table.log_reference, scores)
        except InputError as error:
            raise _unsuited(name, scores, error) from error
        rows.append({"objective": name, **judge.verdict(solution)})
        policies.append(judge.cells(name, solution))
        if frontier and table.gold is not None and not objective.coefficient.matrix:
            curves.append(_curve(name, objective, judge))
    return Comparison(
        pd.DataFrame(rows),
        pd.concat(policies, ignore_index=True),
        pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(),
    )


def _beyond_support(name: str, objective: Objective, table: ScoreTable) -> InputError | None:
    """An error where a penalty lets the policy give mass to what the reference never does."""
    absent = np.argwhere(np.isneginf(table.log_reference))
    if objective.form not in ("quadratic", "norm") or not absent.size:
        return None
    prompt, response = absent[0]
    return InputError(
        "objective", "one that keeps to the responses of the reference, where some have none",
        f"{name!r}, with reference 0 for prompt {table.prompts[prompt]!r}, response "
        f"{table.responses[response]!r}", "leave it out, or give every response a share",
    )  # fmt: skip


def _unsuited(name: str, scores: Scores, error: InputError) -> InputError:
    """The same, naming the objective that asked for more than the table has."""
    if not str(error.args[0]).startswith(("members", "scores")):
        return error
    argument, required, arrived, _ = error.args
    members = "1 member column" if scores.k == 1 else f"{scores.k} member columns"
    heads = "no" if scores.head_std is None else "the"
    return InputError(
        "objective", f"one for which {members} and {heads} std columns suffice",
        f"{name!r} (`{argument}` must be {required}, got {arrived})",
        "add columns, or take for instance --objective vanilla ensemble_mean",
    )  # fmt: skip


def _required(name: str, at: Strength) -> tuple[Any, ...]:
    """`safe` has no default beta."""
    if name != "safe":
        return ()
    if not isinstance(at, Penalty):
        raise InputError("beta", "given for the objective 'safe'", at, "use --beta")
    return (at.beta,)


@dataclass(frozen=True, eq=False)
class _Judge:
    """Evaluates policies on the table that they were solved on."""

    table: ScoreTable
    scores: Scores
    errors: str
    level: float

    def verdict(self, solution: Solution) -> dict[str, Any]:
        """One row of the summary; NaN where there is no policy."""
        policy = solution.policy_or_nan
        moved = policy - self.table.reference
        gain = float((moved * self.scores.mean()).sum(-1).mean())
        row: dict[str, Any] = {
            "status": str(solution.status),
            "beta": float(np.mean(solution.beta)),
            "kl": float(solution.kl),
            "utility": float(solution.expected_utility),
            "gain": gain,
        }
        if self.scores.k > 1 or self.scores.known_variance is not None:
            row |= self._risk(policy, moved, gain)
        if self.table.gold is not None:
            row |= self.gold(policy)
        return row

    def cells(self, name: str, solution: Solution) -> pd.DataFrame:
        """One row a cell."""
        prompts, n = self.table.log_reference.shape
        frame = {
            "objective": name,
            "prompt": np.repeat(np.array(self.table.prompts, dtype=object), n),
            "response": np.tile(np.array(self.table.responses, dtype=object), prompts),
            "reference": self.table.reference.ravel(),
            "probability": solution.policy_or_nan.ravel(),
            "mean": self.scores.mean().ravel(),
        }
        if self.scores.k > 1:
            frame["sample_variance"] = self.table.scores.centred(
                self.table.log_reference
            ).var().ravel()  # fmt: skip
            frame["variance"] = self.scores.var().ravel()
        if self.table.gold is not None:
            frame["gold"] = self.table.gold.ravel()
        return pd.DataFrame(frame)

    def _risk(self, policy: np.ndarray, moved: np.ndarray, gain: float) -> dict[str, float]:
        """Disagreement, lower bounds on the gain and probabilities of harm.

        'p_harm' takes the policy as given; 'p_harm_bound' and 'simultaneous_lower_bound' hold
        however it was chosen from these scores, over all (prompts)(n - 1) directions.
        """
        prompts, n = moved.shape
        variance = self.scores.var()
        error = variance / (self.scores.k if self.errors == "independent" else 1)
        sd = float(np.sqrt((moved**2 * error).sum())) / prompts
        directions = prompts * (n - 1)
        reach = radius(directions, 1 - self.level)
        return {
            "disagreement": float((policy * np.sqrt(variance)).sum(-1).mean()),
            "gain_sd": sd,
            "lower_bound": gain - float(ndtri(self.level)) * sd,
            "p_harm": float(ndtr(-gain / sd)) if sd > 0 else float(gain < 0),
            "simultaneous_lower_bound": gain - reach * sd,
            "p_harm_bound": harm_bound(gain, sd, directions) if np.isfinite(gain) else np.nan,
        }

    def gold(self, policy: np.ndarray) -> dict[str, float]:
        """True return, and its difference to the reference with an interval over prompts."""
        assert self.table.gold is not None
        returns = (policy * self.table.gold).sum(-1)
        differences = returns - (self.table.reference * self.table.gold).sum(-1)
        half = 0.0
        if len(differences) > 1:
            error = differences.std(ddof=1) / np.sqrt(len(differences))
            half = float(-ndtri((1 - self.level) / 2) * error)
        gained = float(differences.mean())
        return {
            "gold": float(returns.mean()),
            "gold_gain": gained,
            "gold_gain_low": gained - half,
            "gold_gain_high": gained + half,
        }


def _curve(name: str, objective: Objective, judge: _Judge) -> pd.DataFrame:
    """Gold return and KL of one objective over a grid of beta, in units of reward over price."""
    scores, log_reference = judge.scores, judge.table.log_reference
    binding = batch_statistics(objective, scores, log_reference, None)
    price = float(np.mean(objective.coefficient(scores, binding)))
    unit = float(scores.mean().std()) / price
    rows = []
    for beta in unit * FRONTIER_GRID:
        at = replace(objective, strength=Penalty(float(beta)))
        solution = solve(at, log_reference, scores)
        rows.append({"objective": name, "beta": beta, "kl": float(solution.kl),
                     **judge.gold(solution.policy)})  # fmt: skip
    return pd.DataFrame(rows)
