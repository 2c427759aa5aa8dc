"""All figures by key."""

from figures.banerjee2024 import return_histograms, three_arms
from figures.beyond import (
    data_holes,
    frontier,
    harm_bound,
    matched_step,
    optimiser_gap,
    shrinkage,
    simplex_counterexample,
)
from figures.figure import Figure
from figures.rewardrobust2024 import heat_maps, matched_kl, trade_off
from theory import checks

FIGURES: dict[str, Figure] = {
    figure.key: figure
    for figure in (
        three_arms.FIGURE,
        *return_histograms.FIGURES,
        harm_bound.FIGURE,
        simplex_counterexample.FIGURE,
        matched_step.FIGURE,
        shrinkage.FIGURE,
        heat_maps.FIGURE,
        trade_off.FIGURE,
        matched_kl.FIGURE,
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
