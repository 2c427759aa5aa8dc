"""Figs. 7, 10 to 12 on language models: many policies a method, each rewarded by one head."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures import language_models
from figures.figure import Figure, Finding, Setting
from figures.kept import kept
from figures.study import Estimate
from theory.style import TEXT

BASE, AWARE, MEAN = "vanilla", "variance_aware_ppo", "ensemble_mean"
SEEDS = {"toy": 1, "tiny": 1, "full": 3}
"""Preference data sets, each with reward models of its own."""
CHANGES: dict[str, Any] = {"objective": (BASE, AWARE, MEAN)}
"""What differs from the options of `python -m llm_bridge population --preset banerjee2024`."""
RUN = ["data", "objective", "member", "trial", "seed", "step", "kl", "proxy", "judged_gold",
       "judged_error", "judged_kl"]  # fmt: skip


def compute(setting: Setting) -> pd.DataFrame:
    """Policies along training with their judgement, the reference, and what is said of them."""
    language_models.require_packages()
    from llm_bridge.commands.papers import PAPERS
    from llm_bridge.commands.population import PopulationStudy, study
    from llm_bridge.population_report import contrasts, spread

    preset = {**PAPERS["banerjee2024"].small, **CHANGES}
    frames = []
    for data in range(setting.seed, setting.seed + setting.count(SEEDS)):
        plan = PopulationStudy(**preset, resume=True)
        out = kept(("population", data, plan), study)
        found = study(replace(plan, workers=setting.workers, out=out), data=data)
        last = found.rows[found.rows.judged_gold.notna()]
        rng = setting.rng(f"population {data}")
        parts = {
            "run": found.rows.assign(data=data)[RUN],
            "reference": found.reference,
            "spread": spread(last, found.reference, rng).assign(
                beta=list(found.strengths.values())
            ),
            "contrast": contrasts(last, BASE, rng),
        }
        frames += [part.assign(kind=kind, data=data) for kind, part in parts.items()]
    return pd.concat(frames, ignore_index=True)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Policies of the first data set, as `python -m llm_bridge population` draws them."""
    from llm_bridge.population_figure import draw_policies

    first = table[table.data == table.data.min()]
    draw_policies(first[first.kind == "run"], first[first.kind == "reference"], canvas)


def caption(table: pd.DataFrame) -> str:
    """How many policies, and what is known of each method, by data set."""
    spreads = table[table.kind == "spread"]
    told = "; ".join(
        f"{row.method} beta {row.beta:.3g}, KL {row.kl:.2f} (sd {row.kl_sd:.2f}), true return "
        f"{row['mean']:.3f}, sd {row['sd']:.3f} ({row.true_sd:.3f} less the noise of judging; "
        f"between members {row['between']:.3f}, within {row.within:.3f})"
        for _, row in spreads.iterrows()
    )
    start = table[table.kind == "reference"].judged_gold
    members, trials = (int(table[name].max()) + 1 for name in ("member", "trial"))
    sets = table.data.nunique()
    return (
        f"{members * trials} policies a method of the embedded language model: {members} reward "
        f"heads on one trunk, {trials} PPO trials each (draws, those of a head dependent), beta "
        "matched in KL by a scan. Left: dots are policies, or judgements of the reference, bars "
        "means with one sd on both sides; middle and right: mean with one sd on both sides over "
        f"policies. {sets} preference data set{'s' if sets > 1 else ''}, the first of them drawn. "
        f"{told}. Reference {start.mean():.3f}, sd {start.std():.3f}: noise of judging."
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """Spread, mean, dependence and harm, of each data set."""
    return [_spread(table), _mean(table), _dependence(table), _harm(table)]


def _contrasts(table: pd.DataFrame, statistic: str, method: str = AWARE) -> list[Estimate]:
    """A method against vanilla, a data set each."""
    rows = table[
        (table.kind == "contrast") & (table.statistic == statistic) & (table.method == method)
    ]
    return [Estimate(*map(float, row)) for row in rows[["value", "low", "high"]].to_numpy()]


def _spread(table: pd.DataFrame) -> Finding:
    plain, true, quartiles = (
        _contrasts(table, name) for name in ("sd ratio", "true sd ratio", "iqr ratio")
    )
    return Finding(
        "At equal KL the true return of variance-aware policies varies less from policy to policy "
        "(Figs. 7 and 12).",
        f"Ratio of sds, variance-aware to vanilla, members and trials resampled: {_list(plain)}; "
        f"less the noise of judging {_list(true)}; of distances between quartiles, which policies "
        f"that ran away move less, {_list(quartiles)}. The plain mean of the heads, which is left "
        f"out in the paper: {_list(_contrasts(table, 'iqr ratio', MEAN))}.",
        _verdict([ratio.high < 1 for ratio in plain], [ratio.low > 1 for ratio in plain]),
    )


def _mean(table: pd.DataFrame) -> Finding:
    found = _contrasts(table, "mean difference")
    return Finding(
        "That costs some mean return: the variance-aware mean is at most vanilla's.",
        f"Variance-aware less vanilla: means {_list(found)}, medians "
        f"{_list(_contrasts(table, 'median difference'))}. The plain mean less vanilla: means "
        f"{_list(_contrasts(table, 'mean difference', MEAN))}, medians "
        f"{_list(_contrasts(table, 'median difference', MEAN))}.",
        _verdict([gap.high < 0 for gap in found], [gap.low > 0 for gap in found]),
    )


def _dependence(table: pd.DataFrame) -> Finding:
    spreads = table[table.kind == "spread"]
    shares = (spreads["between"] ** 2 / spreads.true_sd**2).fillna(0.0)
    told = ", ".join(
        f"{method} {share:.0%}" for method, share in zip(spreads.method, shares, strict=True)
    )
    return Finding(
        "The policies of a method are independent.",
        f"Share of the variance, less the noise of judging, that the trials of a head have in "
        f"common: {told}.",
        _verdict(shares < 0.1, shares > 0.5),
    )


def _harm(table: pd.DataFrame) -> Finding:
    spreads = table[table.kind == "spread"]
    shares = spreads[["worse", "worse_low", "worse_high"]].to_numpy()
    told = ", ".join(
        f"{method} {Estimate(*map(float, share))}"
        for method, share in zip(spreads.method, shares, strict=True)
    )
    aware, vanilla = (spreads[spreads.method == name] for name in (AWARE, BASE))
    return Finding(
        "Variance-aware policies fall below the reference less often.",
        f"Share of policies with less true return than the reference: {told}.",
        _verdict(
            aware.worse_high.to_numpy() < vanilla.worse_low.to_numpy(),
            aware.worse_low.to_numpy() > vanilla.worse_high.to_numpy(),
        ),
    )


def _list(found: list[Estimate]) -> str:
    return ", ".join(map(str, found))


def _verdict(shown: Any, refuted: Any) -> str:
    """Shown or refuted on all data sets, shown on some, or too few policies to say."""
    if np.all(shown):
        return "reproduces"
    if np.all(refuted):
        return "differs"
    return "in part" if np.any(shown) else "cannot be checked here"


FIGURE = Figure(
    "banerjee2024.fig7_lm", "Figs. 7, 10-12", "True return, KL and proxy of many language models",
    {"tiny": 1100}, (TEXT, 2.8), compute, draw, caption, findings,
)  # fmt: skip
