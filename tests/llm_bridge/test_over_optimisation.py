"""The embedded world is one in which over-optimisation happens: on stored samples, and over seeds.

One training differs between processors, so that nothing is asserted of a single one.
"""

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file
from scipy import special, stats

from benchmarks.record_exact import MEMBERS, PROMPTS, SAMPLES, WEIGHTS, ensemble, samples
from benchmarks.record_seeds import OUT, STUDIES, make_world, measured
from llm_bridge.embedded.language import Gold
from tests.tolerance import ROUNDING
from theory.best_of_n import unbiased_curve

FOOLED = (0, 2)
"""Stored reward models, of 300 comparisons, that 512 samples suffice to over-optimise."""
ALARM = 1e-5
"""False alarms of each statistic over seeds."""
NEW = range(100, 112)
"""Seeds that were not measured."""
MOVED = 0.2
"""Of mean rewards of 384 responses and more, whose standard errors are .05."""


@pytest.fixture(scope="module")
def judged():
    """Of stored samples: true rewards, (prompts, samples), and scores of stored reward models."""
    stored = load_file(WEIGHTS)
    texts, shape = samples(stored), (len(PROMPTS), SAMPLES)
    scores = ensemble(stored)(*texts).members.view(*shape, MEMBERS)
    return Gold().all(*texts).reshape(shape), scores.numpy()


@pytest.mark.machine
@pytest.mark.parametrize("member", FOOLED)
def test_the_best_of_n_by_a_proxy_are_better_and_then_worse(member, judged):
    """Without feedback: the same samples, and every n."""
    gold, proxy = judged[0], judged[1][..., member]
    true, believed = (unbiased_curve(proxy, x).mean(0) for x in (gold, proxy))
    assert (np.diff(believed) > 0).all()
    peak = int(true.argmax())
    assert 1 < peak + 1 < SAMPLES / 4
    assert true[peak] > true[0] + 0.05
    assert true[-1] < true[0] - 0.2
    honest = unbiased_curve(gold, gold).mean(0)
    assert (np.diff(honest) > -ROUNDING).all()


@pytest.mark.machine
@pytest.mark.parametrize("member", FOOLED)
def test_so_is_the_exact_optimum_at_a_falling_price_of_kl(member, judged):
    """pi proportional to exp(score / beta) on the stored samples."""
    gold, proxy = judged[0], judged[1][..., member]
    betas = np.geomspace(30, 0.01, 40)[:, None, None]
    policy = special.softmax(proxy / betas, axis=-1)
    true, believed = ((policy * x).sum(-1).mean(-1) for x in (gold, proxy))
    kl = (np.log(SAMPLES) - special.entr(policy).sum(-1)).mean(-1)
    assert (np.diff(kl) > 0).all()
    assert (np.diff(believed) > 0).all()
    peak = int(true.argmax())
    assert true[peak] > gold.mean() + 0.05
    assert true[-1] < gold.mean() - 0.2


def succeeded(table, study):
    """Of each seed: whether gold fell, or rose and stayed, by `MOVED` while what was paid rose."""
    own = table[table.study == study]
    gold, paid = (own[f"{name}_late"] - own[f"{name}_early"] for name in ("gold", "proxy"))
    fell = -gold if study == "over-optimised" else gold
    return ((fell > MOVED) & (paid > MOVED)).to_numpy()


def allowed(known):
    """Failures of `NEW` seeds that those that are known make likelier than `ALARM`, at most.

    Seeds fail independently, each with the same probability, of which nothing else is known: the
    failures of new seeds have the beta-binomial law that a uniform prior gives.
    """
    fails, law = np.sum(~known), stats.betabinom
    predicted = law(len(NEW), fails + 1, len(known) - fails + 1)
    return next(n for n in range(len(NEW) + 1) if predicted.sf(n) <= ALARM)


@pytest.mark.parametrize("study", STUDIES)
def test_the_measured_seeds_tell_something_of_new_ones(study):
    """Enough of them; and a world where nothing moves would not pass for one where it does."""
    known = succeeded(pd.read_csv(OUT), study)
    assert len(known) >= 20
    assert allowed(known) <= len(NEW) - 3


@pytest.mark.machine
@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_new_seeds_are_as_those_that_were_measured(study, tmp_path):
    """Gold falls while the proxy rises; a policy that is paid gold earns it."""
    found = succeeded(measured(study, make_world(cache=tmp_path), NEW), study)
    assert np.sum(~found) <= allowed(succeeded(pd.read_csv(OUT), study))
