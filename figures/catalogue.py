"""All figures by key."""

from figures.adaptive2024 import experts, spread, training
from figures.banerjee2024 import (
    head_accuracy,
    head_losses,
    language_population,
    member_scores,
    member_variances,
    policies,
    policy_curves,
    return_histograms,
    three_arms,
)
from figures.beyond import (
    data_holes,
    frontier,
    harm_bound,
    language_curves,
    matched_step,
    optimiser_gap,
    shrinkage,
    simplex_counterexample,
    unification,
)
from figures.figure import Figure
from figures.rewardrobust2024 import (
    brme,
    fusion,
    head_ranges,
    heat_maps,
    matched_kl,
    random_rewards,
    reward_noise,
    scoring_direction,
    trade_off,
)
from figures.ugda2025 import (
    ablation,
    accuracy,
    agreement,
    gains,
    sensitivity,
    tables,
    text_ablation,
    text_tables,
    win_rates,
)
from figures.zhang2024 import cost, ensembles, table1
from theory import checks

FIGURES: dict[str, Figure] = {
    figure.key: figure
    for figure in (
        three_arms.FIGURE,
        *return_histograms.FIGURES,
        member_scores.FIGURE,
        member_variances.FIGURE,
        head_losses.FIGURE,
        head_accuracy.FIGURE,
        *policies.FIGURES,
        *policy_curves.FIGURES,
        language_population.FIGURE,
        unification.FIGURE,
        language_curves.FIGURE,
        harm_bound.FIGURE,
        simplex_counterexample.FIGURE,
        matched_step.FIGURE,
        shrinkage.FIGURE,
        heat_maps.FIGURE,
        trade_off.FIGURE,
        *scoring_direction.FIGURES,
        random_rewards.FIGURE,
        reward_noise.FIGURE,
        head_ranges.FIGURE,
        *brme.FIGURES,
        fusion.FIGURE,
        matched_kl.FIGURE,
        experts.FIGURE,
        *training.FIGURES,
        spread.FIGURE,
        *ensembles.FIGURES,
        table1.FIGURE,
        cost.FIGURE,
        agreement.FIGURE,
        *tables.FIGURES,
        text_tables.FIGURE,
        *win_rates.FIGURES,
        ablation.FIGURE,
        text_ablation.FIGURE,
        accuracy.FIGURE,
        sensitivity.FIGURE,
        gains.FIGURE,
        frontier.FIGURE,
        data_holes.FIGURE,
        optimiser_gap.FIGURE,
    )
}


def chosen(names: tuple[str, ...]) -> list[Figure]:
    """The figures of these keys or papers, all for no names; `InputError` for unknown ones."""
    papers = {figure.paper for figure in FIGURES.values()}
    for name in names:
        checks.one_of("only", name, {*FIGURES, *papers})
    return [f for f in FIGURES.values() if not names or f.key in names or f.paper in names]
