"""Sentences of README and docs that quote results, made from the tables that are committed.

`SENTENCES` says which must stand in a file; every other digit of these files has to be in `PLAIN`,
the phrases whose numbers are no results, or within code. `python -m tests.quotes` prints what is
missing.
"""

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pandas as pd

from figures.results import AUDIT, FOLDER, table
from theory.planning import members_to_win, policies_for_harm, policies_for_variance_ratio
from theory.theorems import CLAIMS

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks" / "results"
SENTENCES = {}
"""Functions that give sentences, by the file that has them."""


def quoted(*files):
    """The sentences that a function yields stand in each of these files."""

    def add(function):
        for file in files:
            SENTENCES.setdefault(file, []).append(function)
        return function

    return add


@cache
def rows(key):
    return table(key)


@cache
def kept(name):
    path = BENCHMARKS / name if (BENCHMARKS / name).is_file() else FOLDER / name
    return json.loads(path.read_text(encoding="utf-8"))


def signed(text):
    """With the sign that prose has for minus."""
    return text.replace("-", "−")


def the(key, **where):
    """The one row of a table with these values."""
    found = rows(key)
    for column, value in where.items():
        found = found[found[column].isna() if value is None else found[column] == value]
    assert len(found) == 1, (key, where, len(found))
    return found.iloc[0]


def span(row, digits=3, sign="", value="mean", scale=1):
    """A number with its interval."""
    mean, low, high = (scale * row[name] for name in (value, "low", "high"))
    low, high = sorted((low, high))
    return signed(f"{mean:{sign}.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]")


def observed(claim, quantity, which="observed"):
    """A number of the audit: of the first evidence whose quantity begins so."""
    evidence = kept(AUDIT)["claims"][claim]["evidence"]
    return next(e[which] for e in evidence if e["quantity"].startswith(quantity))


def plain(text):
    """In one line, with single spaces."""
    return " ".join(text.split())


def sentences(file):
    return [plain(line) for function in SENTENCES.get(file, []) for line in function()]


@quoted("README.md")
def counts_of_claims():
    verdicts = Counter(claim.verdict for claim in CLAIMS.values())
    yield (
        f"{len(CLAIMS)} claims are checked against an independent computation: {verdicts['true']} "
        f"are true, {verdicts['true if']} hold under conditions that they leave out, "
        f"{verdicts['false']} are false."
    )


@quoted("README.md")
def reviews():
    found = pd.read_csv(FOLDER / "imdb.csv").set_index("objective")
    names = {
        "vanilla": "`vanilla` (one member)", "reward_robust": "`reward_robust` (λ 0.4)",
        "wco": "`wco`", "variance_aware_theorem": "`variance_aware_theorem` (ℓ₂)",
        "variance_aware": "`variance_aware`", "lcb": "`lcb`", "ensemble_mean": "`ensemble_mean`",
    }  # fmt: skip
    yield f"at KL {found.kl.iloc[0]:.1f}:"
    for name, label in names.items():
        row = found.loc[name]
        beta = f"{row.beta:.3f}" if row.beta < 1 else f"{row.beta:.3g}"
        yield (
            f"| {label} | {beta} | {row.gain:.3f} | {row.gold:.3f} | {row.gold_gain_low:.3f} … "
            f"{row.gold_gain_high:.3f} |"
        )


@quoted("README.md")
def sizes_of_a_study():
    policies = policies_for_variance_ratio(2.0), policies_for_harm(0.10, 0.05)
    yield (
        "says how many policies a method and how many reward models a study needs: "
        f"{policies[0]}, {policies[1]} and {members_to_win(1.78)}."
    )


@quoted("README.md")
def speeds():
    solvers = kept("2026-11-21-cpu.json")
    adapters, trl = kept("2026-11-21-adapters-cpu.json"), kept("2026-11-21-trl-cpu.json")
    many = kept("2026-11-21-population-ppo-cpu.json")
    found = solvers["results"]
    faster = {name: row["times_faster"] for name, row in found.items() if "times_faster" in row}
    rate = {name: row["solves_per_second"] / 1e6 for name, row in found.items()
            if "solves_per_second" in row}  # fmt: skip
    yield "One core of an Intel Xeon with bfloat16 arithmetic, as ratios in one process"
    assert "Intel(R) Xeon(R)" in solvers["device"]
    yield (
        "| full-simplex variance-aware solve, n = 1000 | CVXPY + Clarabel, built and solved | "
        f"{faster['test_simplex_budget_of_1000_arms']:.0f}× |"
    )
    yield (
        "| Bregman, weighted-KL optimum, n = 1000 | the same | "
        f"{faster['test_divergence_of_1000_arms[bregman]']:.0f}×, "
        f"{faster['test_divergence_of_1000_arms[kl]']:.0f}× |"
    )
    yield (
        "| the same solves, batches at n = 8 | | "
        f"{rate['test_simplex_budget_of_many_rows']:.1f}, "
        f"{rate['test_divergence_of_many_rows[bregman]']:.1f} and "
        f"{rate['test_divergence_of_many_rows[kl]']:.1f} million a second |"
    )
    yield (
        "| 256 runs of the 8×8 toy (4 reward models, PPO) together | the same as a plain loop of "
        f"`nn.Module`s | {faster['test_population_against_a_plain_loop']:.0f}× a run |"
    )
    run = next(run for run in trl["runs"] if run.get("load", "").startswith("1,"))
    times = [run["trl"] / run[name] for name in ("separate_fp32", "separate_bf16", "shared_bf16")]
    yield (
        "| a PPO step on a random GPT-2 of 4 layers × 256 (`benchmarks/test_trl.py`) | TRL 1.12's "
        f"`PPOTrainer` in fp32, same algorithm | {times[0]:.1f}× in fp32, {times[1]:.1f}× with "
        f"bf16 products, {times[2]:.1f}× with the critic on the trunk too |"
    )
    large = trl["gpt2"]
    times = [large["trl"] / large[name] for name in
             ("separate_fp32", "separate_bf16", "shared_bf16")]  # fmt: skip
    yield (
        "| the same at GPT-2's size, 124 million parameters, on a busy machine | the same | "
        f"{times[0]:.2f}×, {times[1]:.2f}×, {times[2]:.2f}× |"
    )
    low, high = sorted(adapters["ten heads over one"])
    yield f"| ten reward heads on one trunk | one head | {low:.2f}–{high:.2f} of its time |"
    at = dict(zip(adapters["columns"], range(6), strict=True))
    both = adapters["forward and backward, head on responses on both sides"]
    every = adapters["forward and backward, peft computing every logit"]
    yield (
        f"switching peft's adapters | {both[at['k=8, 2 rows']]:.1f}× at 2 rows a member; at 8 rows "
        f"{both[at['k=8, 8 rows']]:.1f}× with the head on responses on both sides, "
        f"{every[at['k=8, 8 rows']]:.1f}× where peft computes all logits |"
    )
    two, eight = many["2 rows"], many["8 rows"]

    def updates(part):
        return f"{min(part['times_faster']):.1f}–{max(part['times_faster']):.1f}×"

    yield (
        f"one after the other | decoding {two['decoding']['times_faster']:.1f}×, rollouts with all "
        f"readings {two['rollout']['times_faster']:.1f}×, updates {updates(two['update'])}; at 8 "
        f"rows {eight['decoding']['times_faster']:.1f}×, "
        f"{eight['rollout, busy machine']['times_faster']:.1f}×, "
        f"{updates(eight['update, busy machine'])} |"
    )
    lengths = adapters["batches by length over the order given (load 4)"]
    yield (
        "in batches of like length (`benchmarks/test_adapters.py`) | in the order given | "
        f"{lengths:.1f}× |"
    )
    share = found["test_throughput_of_figure_3"]["share_of_bare_generator"]
    memory = found["test_memory_of_a_million_draws"]["peak_mebibytes"]
    yield (
        "| sampling of Fig. 3, n = 1000 | the bare float32 generator that feeds it | "
        f"{share:.0%} of its throughput; 10⁶ draws in {memory:.0f} MiB |"
    )
    seconds = found["test_population_against_a_plain_loop"]["median_microseconds"] / 1e6
    profile = solvers["profile_of_256_runs"]
    yield (
        f"A population of 256 runs takes {seconds:.1f} s on one core of that processor, "
        f"{profile['mebibytes_per_run']:.2f} MiB a run, in chunks of `--chunk`."
    )


@quoted("README.md")
def one_model_misleads():
    right = {name: the("rewardrobust2024.fig1", panel=f"share {name}") for name in
             ("vanilla", "robust", "mean")}  # fmt: skip
    wrong = {
        name: (f"{1 - row.value:.0%}", f"[{1 - row.high:.0%}, {1 - row.low:.0%}]")
        for name, row in right.items()
    }
    seeds = int(right["vanilla"].seeds)
    yield (
        f"*One reward model misleads the actor on {wrong['vanilla'][0]} of {seeds} seeds "
        f"{wrong['vanilla'][1]}; the robust mix of four on {' '.join(wrong['robust'])}, and the "
        f"plain mean of the same four, which the paper leaves out, on {' '.join(wrong['mean'])} "
        "[rewardrobust2024, Fig. 1].*"
    )


@quoted("README.md")
def optima_at_one_distance():
    labels = {
        "vanilla": "`vanilla` (one model)", "best_case": "`best_case`",
        "reward_robust": "`reward_robust` (λ 0.4)", "ensemble_mean": "`ensemble_mean`",
        "variance_aware": "`variance_aware` (σ²)", "variance_aware_ppo": "`variance_aware_ppo` (σ)",
    }  # fmt: skip
    far = rows("rewardrobust2024.matched_kl").kl.max()
    for name, label in labels.items():
        row = the("rewardrobust2024.matched_kl", objective=name, kl=far)
        yield (
            f"| {label} | {row.gold:.3f} [{row.gold_low:.3f}, {row.gold_high:.3f}] "
            f"| {row.full:.3f} |"
        )
    yield f"Exact optima at {far:g} nats of KL, {int(row.seeds)} seeds"


def seven(statistic, kind="data sets", method="aware"):
    return the(
        "banerjee2024.fig7", statistic=statistic, kind=kind, method=method, split="same", data=None
    )  # fmt: skip


def numbers_of_seven():
    """Numbers of Fig. 7 of banerjee2024."""
    ratios = [span(seven("sd ratio", kind), 2, value="value") for kind in ("data sets", "exact")]
    shared = the(
        "banerjee2024.fig7", statistic="shared", kind="summary", method="vanilla", split="same"
    ).value  # fmt: skip
    return {
        "ppo": ratios[0], "exact": ratios[1], "shared": f"{shared:.0%}",
        "paid": span(seven("mean difference"), value="value"),
        "mean": seven("mean difference", "redrawn", "mean"),
        "ratio": f"{seven('sd ratio', 'redrawn', 'mean').value:.2f}",
    }  # fmt: skip


def robust(key, kind, objective, world="seed noise", metric="gold"):
    return span(the(f"rewardrobust2024.{key}", kind=kind, objective=objective, world=world,
                    metric=metric))  # fmt: skip


def brme():
    return [
        f"{the('rewardrobust2024.fig6', kind='accuracy', reading=name)['mean']:.3f}"
        for name in ("brme", "one")
    ]


def adaptive(figure, metric, method="adaptive"):
    return the(f"adaptive2024.{figure}", stage="reading", objective=method, metric=metric)


def more(figure):
    """Gain over standard RLHF, as a share."""
    share = adaptive(figure, "gold - standard")["mean"]
    return signed(f"{share / adaptive(figure, 'end', 'standard')['mean']:+.0%}")


def labels(figure, method="UGDA, 25%", against="PPO, 25%", **where):
    return the(f"ugda2025.{figure}", method=method, against=against, metric="gold", **where)


def kinds(first, second, search="best-of-n", figure="fig2", metric="win difference"):
    return the(f"zhang2024.{figure}", optimiser=search, first=first, second=second, metric=metric)


@quoted("README.md")
def what_became_of_claims():
    seven_ = numbers_of_seven()
    less, again = brme()
    yield (
        "| banerjee2024, Fig. 7 | variance-aware policies vary less at equal KL | yes: sd ratio "
        f"{seven_['ppo']} by PPO, {seven_['exact']} exactly |"
    )
    yield f"| | they pay for it in mean return | no: +{seven_['paid']} |"
    yield (
        f"| | (left out) the plain mean of the same reward models | +{seven_['mean'].value:.3f} "
        f"over vanilla, sd ratio {seven_['ratio']} |"
    )
    yield (
        f"| | the 40 policies of a method are independent | no: {seven_['shared']} of the variance "
        "is that of 10 reward models |"
    )
    yield (
        "| rewardrobust2024, Fig. 4a | training on the smallest score beats the largest | yes: "
        f"{robust('fig4a', 'end', 'min − max')}; at equal KL "
        f"{robust('fig4a', 'matched', 'min − max')} |"
    )
    yield (
        "| Fig. 9 | the mix (λ 0.6) beats the mean | in part: "
        f"{robust('fig9', 'end', 'mix − mean')}, "
        f"+{robust('fig9', 'end', 'mix − mean', 'data hole')} in a data hole |"
    )
    yield (
        "| Fig. 6 | BRME is more accurate than a maximum-likelihood model | no: "
        f"{less} against {again} |"
    )
    yield (
        f"| adaptive2024, Fig. 1 | +50% true reward over standard | {more('fig1')}; "
        f"{span(adaptive('fig1', 'gold - mean'))} against the plain mean |"
    )
    yield f"| Fig. 5 | +100% with a miscalibrated ensemble | {more('fig5')} |"
    yield (
        "| ugda2025, Table 2 | labels on uncertain and influential samples beat random ones | no: "
        f"{span(labels('table2'))}, with 20% flips {span(labels('table3'))} |"
    )
    yield (
        "| zhang2024, Fig. 2 | LoRA does as well as independent members | no: "
        f"{span(kinds('LoRA, mean', 'independent, mean'))}; it beats neither linear heads nor one "
        "model |"
    )


@quoted("docs/papers/banerjee2024.md")
def toy_of_banerjee():
    seven_ = numbers_of_seven()
    yield (
        f"the ratio of standard deviations is {seven_['ppo']} by PPO and {seven_['exact']} exactly"
    )
    yield f"the variance-aware mean is higher than vanilla's by {seven_['paid']}"
    yield (
        f"which gains {span(seven_['mean'], value='value')} at {seven_['ratio']} times vanilla's "
        f"sd; and the 40 policies of a method are no independent sample, as {seven_['shared']} of "
        "the variance is that of 10 reward models"
    )


@quoted("docs/papers/rewardrobust2024.md")
def toy_of_rewardrobust():
    less, again = brme()
    right = {name: the("rewardrobust2024.fig1", panel=f"share {name}") for name in
             ("vanilla", "robust", "mean")}  # fmt: skip
    yield (
        "training on the smallest score beats training on the largest, by "
        f"{robust('fig4a', 'end', 'min − max')} after 240 iterations and "
        f"{robust('fig4a', 'matched', 'min − max')} at equal KL"
    )
    yield (
        f"One reward model misleads the actor on {1 - right['vanilla'].value:.0%} of "
        f"{int(right['vanilla'].seeds)} seeds; the robust mix of four on "
        f"{1 - right['robust'].value:.0%}"
    )
    falls = [
        span(the("rewardrobust2024.fig4b", kind="end", metric="drop", objective=f"min − {name}"))
        for name in ("max", "mean")
    ]
    yield f"the policy falls less than under the minimum, by {falls[0]} and {falls[1]}"
    yield (
        "The mix with λ = 0.6 beats the mean in a data hole, "
        f"{robust('fig9', 'end', 'mix − mean', 'data hole')}, and not without one, "
        f"{robust('fig9', 'end', 'mix − mean')}"
    )
    yield (
        f"is right for all prompts in {right['mean'].value:.1%} of seeds, the mix in "
        f"{right['robust'].value:.1%}"
    )
    yield f"BRME is less accurate than one maximum-likelihood model, {less} against {again}"


@quoted("docs/papers/adaptive2024.md")
def toy_of_adaptive():
    own, shared = (
        span(the("adaptive2024.fig6", ensemble=name, objective="reference", metric="calibration",
                 stage="reading"), 2)
        for name in dict.fromkeys(rows("adaptive2024.fig6").ensemble)
    )  # fmt: skip
    yield f"rank correlation {own}; heads of a shared trunk do not, {shared}"
    yield (
        f"here {more('fig1').removeprefix('+')} more, and {span(adaptive('fig1', 'gold - mean'))} "
        "against the plain mean of the same members"
    )
    yield f"With members that err alike it reports 100%: here {more('fig5')}"


@quoted("docs/papers/ugda2025.md")
def toy_of_ugda():
    yield (
        "Labels on uncertain and influential samples do not beat random ones: "
        f"{span(labels('table2'))}, with 20% flipped preferences "
        f"{span(labels('table3'))}"
    )


@quoted("docs/papers/zhang2024.md")
def toy_of_zhang():
    gain, loss = (kinds("independent, mean", "one model, mean"),
                  kinds("independent, mean", "LoRA, mean"))  # fmt: skip
    yield (
        "only the independent ensemble wins more often than one reward model, by "
        f"{span(gain)} under best-of-n"
    )
    yield f"LoRA does worse than independent members, by {span(loss)}"
    own, again = (kinds(f"independent, {data}", "independent, same", "best-of-n", "table1",
                        "gold difference") for data in ("fresh", "bootstrap"))  # fmt: skip
    yield (
        f"independent members gain {span(own)} of true reward; on bootstrap resamples they lose "
        f"{span(again, scale=-1)}"
    )


def over(other, share, data="clean"):
    """UGDA minus another method on the language model."""
    found = kept("2026-11-21-ugda-cpu.json")[data]["differences"]
    return next(row for row in found if (row["objective"], row["share"], row["metric"])
                == (other, share, "gold"))  # fmt: skip


@quoted("README.md", "docs/papers/ugda2025.md")
def labels_on_texts():
    for data in ("clean", "flipped"):
        assert over("PPO", "25%", data)["seeds"] >= 10
    yield (
        f"UGDA minus as many random labels {span(over('PPO', '25%'))}, minus no labels "
        f"{span(over('PPO', '0%'))}"
    )
    yield (
        "With 20% of the comparisons flipped labels are worth something, "
        f"{span(over('PPO', '0%', 'flipped'))} by UGDA, and random ones as much: the difference is "
        f"{span(over('PPO', '25%', 'flipped'))}"
    )


def number(claim, quantity, digits, which="observed"):
    """A number of the audit, rounded; a small one that is rounded to zero without a sign."""
    text = f"{observed(claim, quantity, which):.{digits}f}"
    return signed(text if float(text) else text.lstrip("-"))


def tiny(value, digits):
    """In powers of ten."""
    return f"{value:.{digits}e}".replace("e-0", "e-")


def variance_gain(spread, rule):
    return abs(observed("plug_in_variance", f"P(harm) {rule} - unaware, S in {spread}"))


@quoted("README.md")
def table_of_the_audit():
    yield f"A few of them ({kept(AUDIT)['draws']:,} draws, seed {kept(AUDIT)['seed']}):"
    n = number
    yield (
        "| false | n=2, β=0.1: " + n("thm22_printed", "P(event), n=2", 4) + " | 1.000 | "
        + n("thm22_printed", "P(event), n=2", 4, "corrected") + ", χ² cdf at β² |"
    )  # fmt: skip
    yield (
        f"| false | P₁ {n('thm33_simplex', 'P1', 3)}, P₂ {n('thm33_simplex', 'P2', 3)} | P₂ ≤ P₁ | "
        f"{n('thm33_simplex', 'P1', 4, 'corrected')}, {n('thm33_simplex', 'P2', 4, 'corrected')} |"
    )
    sds = [
        " → ".join(n("variance_order", f"sd of W{i}", 3, which) for i in (1, 2))
        for which in ("observed", "corrected")
    ]
    yield f"| false | sd {sds[0]} | lower | {sds[1]} |"
    best = "optimal value, by a grid"
    yield (
        f"| false | best value {n('thm36_penalised', best, 4)} | "
        f"{n('thm36_penalised', best, 4, 'printed')} | "
        f"{n('thm36_penalised', best, 4, 'corrected')}, one ν a prompt |"
    )
    first = "pi(1) of the detached gradient"
    yield (
        f"| false | π(1) {n('detached_gradient', first, 3)} | "
        f"{n('detached_gradient', first, 3, 'printed')} | "
        f"{n('detached_gradient', first, 3, 'corrected')}, the Bregman form |"
    )
    first = "pi(first) at the optimum of Eq. 6, beta=1.0"
    yield (
        f"| false | π(1) {n('minimum_of_each_sample', first, 3)} | "
        f"{n('minimum_of_each_sample', first, 3, 'printed')} | "
        f"{n('minimum_of_each_sample', first, 3, 'corrected')} |"
    )
    noise = "target noise 0.5"
    yield (
        "| false | σ → 0 for noise 0.5 | 0.5 | 0; the Gaussian NLL gives "
        f"{n('brme_sigma_is_confidence', f'sigma by the Gaussian likelihood, {noise}', 1)} |"
    )
    assert n("brme_sigma_is_confidence", f"sigma by the squared loss, {noise}", 2) == "0.00"
    biased, ranks = "mean target, equal shares, label/5", "mean target, equal shares, mid-rank"
    yield (
        f"| false | bias {n('quantiles_of_labels', biased, 2)} | 0 | "
        f"{n('quantiles_of_labels', biased, 2, 'corrected')}; mid-ranks "
        f"{n('quantiles_of_labels', ranks, 1)} |"
    )


@quoted("docs/papers/banerjee2024.md")
def audit_of_banerjee():
    n = number
    yield f"n = 2, β = 0.1: {n('thm22_printed', 'P(event), n=2', 4)} against 1.000"
    yield f"{n('thm33_simplex', 'P1', 3)} unaware, {n('thm33_simplex', 'P2', 3)} aware"
    yield f"a case with {n('variance_order', 'variance ratio', 1)} times the variance"
    yield (
        f"shortens the step to {n('matched_step_sd', 'length of', 2)}; at equal length the ratio "
        f"of sds is {n('matched_step_sd', 'sd ratio at', 2)}, and the mean is "
        f"{n('matched_step_sd', 'mean ratio', 2)} times larger"
    )
    yield (
        f"value {n('thm36_penalised', 'optimal', 3, 'printed')} where "
        f"{n('thm36_penalised', 'optimal', 3)} can be had, and "
        f"{n('thm36_penalised', 'value at pi0', 1)} at π₀"
    )
    first = "pi(1) of the detached gradient"
    yield (
        f"π(1) = {n('detached_gradient', first, 3)} against "
        f"{n('detached_gradient', first, 3, 'printed')}"
    )
    first = "pi(00), spread over tokens"
    yield (
        f"π(00) = {n('per_token_penalty', first, 3)} against "
        f"{n('per_token_penalty', first, 3, 'printed')}"
    )
    heads = "variance of differences after"
    yield (
        f"falls from {n('frozen_heads', f'{heads} 10 steps', 2)} to "
        f"{tiny(observed('frozen_heads', f'{heads} 1000 steps'), 0)}, where the sampling variance "
        "is "
        f"{n('frozen_heads', f'{heads} 10 steps', 3, 'printed')}"
    )
    yield (
        "plugging estimates in raises the probability of harm by "
        f"{variance_gain('(70,100)', 'plug-in'):.3f} over ignoring them; empirical-Bayes shrinkage "
        "takes that away. With variances between 3 and 100 both help, by "
        f"{variance_gain('(3,100)', 'plug-in'):.3f} and {variance_gain('(3,100)', 'shrunken'):.3f}"
    )


@quoted("docs/papers/rewardrobust2024.md")
def audit_of_rewardrobust():
    n = number
    yield (
        f"the minimum of five does so {observed('minimum_under_scores', 'P(minimum of 5'):.0%} of "
        "the time"
    )
    first = "pi(first) at the optimum of Eq. 6, beta=1.0"
    yield (
        f"π(first) is {n('minimum_of_each_sample', first, 3)} at the optimum of Eq. 6, "
        f"{n('minimum_of_each_sample', first, 1, 'printed')} by the minimum of each sample"
    )
    yield f"±{n('constant_reward_has_no_gradient', 'gradient, 1 a token', 2)} where it is paid"
    sds = [n("minimum_is_the_stable_choice", f"sd of the reward, {name}", 2) for name in
           ("minimum", "maximum", "mean")]  # fmt: skip
    assert sds[0] == sds[1]
    yield f"the maximum is as narrow (sd {sds[0]} both), the mean narrower ({sds[2]})"
    noise = "sigma by the Gaussian likelihood, target noise 0.5"
    yield f"the Gaussian likelihood gives {n('brme_sigma_is_confidence', noise, 3)} for 0.5"
    yield (
        f"p = {n('over_scoring_is_worse', 'two-sided p, benchmarks', 3)} if the benchmarks are "
        f"independent, {n('over_scoring_is_worse', 'two-sided p, families', 3)} with one vote"
    )


@quoted("docs/papers/adaptive2024.md")
def audit_of_adaptive():
    n = number
    key = "variance_strengthens_the_kl"
    yield (
        "with s/b from 0.1 to 1000 the KL from the reference falls from "
        f"{n(key, 'KL from the reference, s/b=0.1', 2)} to "
        f"{tiny(observed(key, 'KL from the reference, s/b=1000'), 0)} nats"
    )
    product = "integral of r times the product"
    yield (
        f"{n('expected_reward_of_the_product', product, 3)} against "
        f"{n('expected_reward_of_the_product', product, 1, 'printed')}: the product has to be "
        "normalised"
    )
    yield (
        f"length {n('prefactor_stops_training', '|gradient|, s/b=1e+06', 3)}, not to 0; for "
        f"λ = 0.005 the prefactor is {n('prefactor_stops_training', 'prefactor at s = 1', 3)}"
    )
    yield (
        f"π(0) from {n('one_response_a_prompt', 'pi(0), rewards + 0', 3)} to "
        f"{n('one_response_a_prompt', 'pi(0), rewards + 3', 3)}"
    )
    yield (
        f"s = {n('stopped_gradient_has_one_outcome', 's at rest, from pi = (.05', 2)} or "
        f"{n('stopped_gradient_has_one_outcome', 's at rest, from pi = (.999', 3)}"
    )


@quoted("docs/papers/ugda2025.md")
def audit_of_ugda():
    n = number
    yield (
        "true cosines of 0.01 keep the same half for "
        f"{observed('projected_selection', 'same half, d=8192, tau=0.01'):.0%}, of 0.05 for "
        f"{observed('projected_selection', 'same half, d=8192, tau=0.05'):.0%}"
    )
    yield (
        f"a constant gradient takes steps 1, {n('adam_recursion', 'step 2', 2, 'printed')}, "
        f"{n('adam_recursion', 'step 3', 2, 'printed')}, and "
        f"{tiny(observed('adam_recursion', 'step 100', 'printed'), 1)} at step 100"
    )
    harm = "loss drop due to a sample with harmful"
    yield (
        f"it credits a harmful sample with {n('adam_influence_is_a_cosine', harm, 4, 'printed')} "
        f"where the loss changes by {n('adam_influence_is_a_cosine', harm, 4)}"
    )
    share = observed("maximum_or_mean_of_subtasks", "share of the top half")
    yield f"the two rules share {share:.0%} of the choice"
    yield (
        f"biased upward by {n('quantiles_of_labels', 'mean target, equal shares, label/5', 2)} sds;"
        f" at mid-ranks by {n('quantiles_of_labels', 'mean target, equal shares, mid-rank', 2)}"
    )


@quoted("docs/papers/zhang2024.md")
def audit_of_zhang():
    n = number
    sizes = [
        f"{observed('parameter_counts', kind) / 1e9:.{digits}f}"
        for kind, digits in (("single", 1), ("linear", 2), ("LoRA", 2))
    ]
    yield f"at Llama-7B with k = 3, {sizes[0]}, {sizes[1]} and {sizes[2]} billion"
    below = observed("lcb_is_conservative", "E of LCB - truth, beta=1.0")
    yield f"{-below:.2f} below the truth on average for β = 1"
    yield (
        f"sd of the mean of three {n('mean_has_lower_variance', 'sd of the mean of 3, rho=0.0', 2)}"
        f" without correlation, {n('mean_has_lower_variance', 'sd of the mean of 3, rho=0.9', 2)} "
        "with ρ = 0.9"
    )
    wrong = observed("lcb_needs_a_denominator", "E std, ddof=0", "corrected")
    right = observed("lcb_needs_a_denominator", "E std, ddof=0", "printed")
    yield f"in place of 1/(k − 1) shrinks it to {wrong / right:.3f} at k = 3"


PLAIN = (
    r"\b[a-z]+20\d\d\b",
    r"\b(?:Thms?|Eqs?\.?|Figs?\.?|secs?\.|Tables?|Theorems?|Lemma|Remark|Alg\.|App\.) "
    r"[A-Z]?\.?\d[\da-z.]*(?:(?:, | and | to |, Eq\. )\d[\da-z.]*)*",
    r"\b(?:bfloat16|float32|float64|fp32|bf16|k1|k3|8[×x]8|GPT-2|AUC|TRL 1\.\d\d)\b",
    r"9\d% (?:over|intervals?|confidence)",
    r"Audited: .*? (?=## )|\d+ true, \d+ true under conditions left out, \d+ false",
)
"""What is no result, in all files: keys, places in papers, names, levels, and the counts of claims
at which `tests/test_docs.py` looks."""
SETTINGS = {
    "README.md": (
        "Python 3.11 or newer", "1.5 GB with the CPU build", "0.1 million parameters",
        "the policy at beta = 1;", "Those are 30,000 exact solves", "λ·nominal + (1−λ)·worst",
        "On 2,200 IMDB reviews (275 prompts of 8) scored", "lower bound 1 − exp(−XA/β²)",
        "gradient → that of −KL | 0 |", "label quantiles at label/5", "backward, 18 tokens",
        "trained together, 2 rows each", "(λ 0.6)", "*True return of 40 policies a method at 1 nat",
        "preference_dataset_mix2", "with GAE λ = 1:", "default 80 iterations",
        "a Gemma-2B reward trunk", "tested with 1.16", "models on 1,000 comparisons, 256 labels by",
        "20 preference data sets", "256 labels bring nothing that 20 data sets",
        "over 10 data sets", "has slope 1.",
    ),
    "docs/papers/banerjee2024.md": (
        "(section 5)", "at least 1 − exp(−XA/β²)", "once π ≥ 0 binds", "between 70 and 100",
        "True return of 40 policies a method", "the PPO of section 5",
    ),
    "docs/papers/rewardrobust2024.md": (
        "plus (1 − λ) times", "with γ = 1", "its minimiser is σ = 0 for", "12 of 16 benchmarks",
    ),
    "docs/papers/adaptive2024.md": (
        "act like λ/4", "1/M in the variance", "The paper reports 50% more",
    ),
    "docs/papers/ugda2025.md": (
        "graded 1 to 5 by", "to 8,192 dimensions if they differ by much more than 0.011",
        "divided by 1 − βᵗ", "where Adam takes 1", "quantiles at label/5",
        "over 20 preference data sets, 256 labels", "over 10 data sets",
    ),
    "docs/papers/zhang2024.md": ("standard deviation: 1/k",),
    "docs/papers/index.md": (
        "with 200,000 draws and seed 0", "and seed 0, intervals 95%", "0.1 million parameters",
    ),
    "docs/index.md": ('<figure markdown="0">', "Python 3.11 or newer", "(1, σ, σ², ...)"),
    "docs/processes.md": (
        "after 30 seconds", "a frozen 8B model", "takes 16 GB on", "take 16 bytes each for",
        "2 GB for", "about 4 billion weights on 80 GB", "and `--workers` above 1",
    ),
    "docs/tour.md": (
        "Reward models estimate 3.6, 1.8 and 2.8, with standard deviations 2, 0.3 and 0.3.",
        "worth 1, 2 and 3,", "The reference earns 2.", "Draw the estimates 10,000 times",
        "with 64 seeds", "0.1 million parameters", "in 20 lines",
    ),
    "docs/trl.md": ("tested with TRL 1.16 and transformers 5.23",),
}  # fmt: skip
"""What is no result in one file: sizes, settings, what a paper says."""
FILES = [
    "README.md",
    *(
        str(path.relative_to(ROOT))
        for folder in ("docs", "docs/papers")
        for path in sorted((ROOT / folder).glob("*.md"))
    ),
]
"""Pages that are looked at; those of docstrings and how-tos have formats and limits."""
CODE = re.compile(r"```.*?```|^(?:    )[^\n]*|`[^`]*`|\]\([^)]*\)|--8<--|<!--.*?-->", re.M | re.S)
NUMBER = re.compile(r"[\d.,]*\d[\d.,]*")


def prose(text):
    """Text without code and addresses, in one line."""
    return plain(CODE.sub(" ", text))


def left(file):
    """Numbers of a file that are in no quote, phrase or code, with the words around them."""
    text = prose((ROOT / file).read_text(encoding="utf-8"))
    for phrase in sorted(map(prose, [*sentences(file), *SETTINGS.get(file, ())]), key=len)[::-1]:
        text = text.replace(phrase, " \N{BULLET} ")
    for pattern in PLAIN:
        text = re.sub(pattern, " \N{BULLET} ", text)
    return [text[max(0, m.start() - 30) : m.end() + 30] for m in NUMBER.finditer(text)]


def missing(file):
    """Sentences that ought to stand in a file, and do not."""
    text = plain((ROOT / file).read_text(encoding="utf-8"))
    return [sentence for sentence in sentences(file) if sentence not in text]


if __name__ == "__main__":
    for name in FILES:
        for told in (*missing(name), *left(name)):
            print(f"{name}: {told}\n")
