"""What policies write, measured: rewards with intervals, win rates, and texts side by side.

Responses make one table, a row each, which the other functions read; tables of several seeds are
stacked with `pandas.concat`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from llm_bridge.data.pairs import Checked, Judge
from llm_bridge.judging.judges import PairwiseJudge, Verdicts
from llm_bridge.judging.pairwise import DRAWS, OUTCOME_OF, bootstrap_interval, head_to_head
from llm_bridge.rewards.normalise import Normaliser
from theory import checks
from theory.arrays import to_numpy
from theory.errors import InputError
from theory.returned import name_of, numbers

Policy = Callable[[Sequence[str]], Sequence[str]]
"""Prompts to a response each."""
RESAMPLED = ("response", "prompt", "seed")
"""What is redrawn for an interval: what the conclusions are to hold beyond."""
MEANS = ("proxy", "member_std", "length", "repetition", "ended")
"""Columns of a table of responses whose means are reported."""


def measure(
    policies: Mapping[str, Policy | Sequence[str]],
    prompts: Sequence[str],
    *,
    gold: Judge | None = None,
    normaliser: Normaliser | None = None,
    length: Callable[[str], int] = len,
    ended: Callable[[str], bool] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """One row a policy and prompt: the response, and what is said of it.

    policies: functions that respond, or the responses themselves, one for each prompt; a prompt may
              come several times.
    gold:     true reward, or any judge's score, column `gold`.
    normaliser: reward models, columns `proxy` (their mean) and, of two or more, `member_std`.
    length:   of a text, in characters unless told.
    ended:    whether a text is finished rather than cut off.
    seed:     names the training run and its reward models.

    Raises `InputError` for as many responses as there are not prompts.
    """
    frames = []
    for name, policy in policies.items():
        responses = list(policy(prompts) if callable(policy) else policy)
        if len(responses) != len(prompts):
            raise InputError(
                "policies", "one response for each prompt",
                f"{len(responses)} of {name!r} for {len(prompts)} prompts",
            )  # fmt: skip
        row: dict[str, Any] = {"policy": name, "seed": seed, "prompt": list(prompts)}
        strange = next((text for text in responses if not isinstance(text, str)), None)
        if strange is not None:
            raise InputError("policies", "texts", f"a {type(strange).__name__} of {name!r}")
        row["response"] = responses
        if gold is not None:
            row["gold"] = Checked(gold, "gold", finite=False)(prompts, responses)
        if normaliser is not None:
            scores = normaliser(prompts, responses)
            row["proxy"] = to_numpy(scores.mean())
            if scores.k > 1:
                row["member_std"] = to_numpy(scores.std())
        row["length"] = [length(text) for text in responses]
        numbers("length", length, row["length"], len(responses))
        row["repetition"] = [1 - distinct([text]) for text in responses]
        if ended is not None:
            row["ended"] = [ended(text) for text in responses]
        frames.append(pd.DataFrame(row))
    return pd.concat(frames, ignore_index=True)


def distinct(texts: Sequence[str], n: int = 2) -> float:
    """Distinct n-grams of words over all n-grams of the texts [li2016]; NaN where there is none.

    It falls with the number of texts, so that only equal numbers compare. One less that of a
    single text is the share of its n-grams that repeat an earlier one.

    >>> distinct(["the cat and the cat and the cat"]), distinct(["a b", "a b"])
    (0.42857142857142855, 0.5)
    """
    checks.positive("n", n)
    grams = [
        gram
        for words in (text.split() for text in texts)
        for gram in zip(*(words[i:] for i in range(n)), strict=False)
    ]
    return len(set(grams)) / len(grams) if grams else np.nan


def summarise(
    samples: pd.DataFrame,
    *,
    resample: str = "prompt",
    level: float = 0.95,
    draws: int = DRAWS,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """One row a policy: means of a table of responses, and limits of the mean of `gold`.

    gold_std is that of single responses; `distinct_2` is `distinct` of all responses together.
    resample: what is redrawn first for the limits, before the responses of each: 'seed' for
    conclusions about training, 'prompt' about prompts, 'response' about these very policies and
    prompts.

    Raises `InputError` for another word, and as `bootstrap_interval`.
    """
    checks.one_of("resample", resample, RESAMPLED)
    rows = []
    for name, own in samples.groupby("policy", sort=False):
        row: dict[str, Any] = {"policy": name, "responses": len(own)}
        if "gold" in own:
            gold = own.gold.to_numpy(dtype=float)
            checks.finite("gold", gold)
            low, high = bootstrap_interval(
                gold[:, None], lambda drawn: float(drawn.mean()), _clusters(own, resample),
                level=level, draws=draws, rng=rng,
            )  # fmt: skip
            row |= {"gold": gold.mean(), "gold_low": low, "gold_high": high}
            row["gold_std"] = gold.std(ddof=1)
        row |= {column: own[column].mean() for column in MEANS if column in own}
        rows.append({**row, "distinct_2": distinct(own.response.tolist())})
    return pd.DataFrame(rows)


def against(
    samples: pd.DataFrame,
    baseline: str,
    judge: PairwiseJudge,
    *,
    resample: str = "prompt",
    level: float = 0.95,
    draws: int = DRAWS,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """One row for each other policy against the baseline, see `head_to_head`.

    Responses are paired in the order of their rows, of one seed and prompt. resample: as in
    `summarise`; 'response' takes pairs as independent, which gives exact limits.

    Raises `InputError` for an unknown baseline, rows that do not pair, and as `summarise`.
    """
    checks.one_of("resample", resample, RESAMPLED)
    tables = {str(name): own for name, own in samples.groupby("policy", sort=False)}
    checks.one_of("baseline", baseline, tables)
    other, rows = tables.pop(baseline), []
    for name, own in tables.items():
        keys = [list(zip(frame.seed, frame.prompt, strict=True)) for frame in (own, other)]
        if keys[0] != keys[1]:
            raise InputError(
                "samples", f"of the prompts and seeds of {baseline!r}, in their order",
                f"others for {name!r}",
            )  # fmt: skip
        texts = (frame.tolist() for frame in (own.prompt, own.response, other.response))
        verdicts = _read(judge, judge(*texts), len(own))
        difference = own.length.to_numpy(dtype=float) - other.length.to_numpy(dtype=float)
        row = head_to_head(
            verdicts, difference, clusters=_clusters(own, resample),
            level=level, draws=draws, rng=rng,
        )  # fmt: skip
        rows.append({"policy": name, "baseline": baseline, **row})
    return pd.DataFrame(rows)


def side_by_side(samples: pd.DataFrame, *, prompts: int | None = None) -> pd.DataFrame:
    """The first response of every policy to each of the first prompts (all where None).

    One row a prompt, one column a policy, as in [adaptive2024, Table 1].
    """
    first = samples.drop_duplicates(["policy", "prompt"])
    table = first.pivot(index="prompt", columns="policy", values="response")
    table = table.loc[first.prompt.unique(), first.policy.unique()].rename_axis(columns=None)
    return table.reset_index().head(len(table) if prompts is None else prompts)


def _read(judge: PairwiseJudge, verdicts: Any, pairs: int) -> Verdicts:
    """The verdicts, each of which is 1, 0.5, 0 or NaN."""
    if not isinstance(verdicts, Verdicts):
        said = f"a {type(verdicts).__name__} from {name_of(judge)}"
        raise InputError("judge", "a function that gives Verdicts", said)
    outcomes = numbers("judge", judge, verdicts.outcomes, pairs, finite=False)
    strange = outcomes[~np.isnan(outcomes) & ~np.isin(outcomes, list(OUTCOME_OF.values()))]
    if strange.size:
        said = f"{strange[0]:g} from {name_of(judge)}"
        raise InputError("judge", "a function whose outcomes are 1, 0.5, 0 or NaN", said)
    return verdicts._replace(outcomes=outcomes)


def _clusters(own: pd.DataFrame, resample: str) -> list[Any] | None:
    return None if resample == "response" else own[resample].tolist()
