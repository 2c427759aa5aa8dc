"""Citation keys used in docstrings (as `[key, where]`), claims, presets and captions."""

from typing import NamedTuple


class Reference(NamedTuple):
    """One cited work."""

    authors: str
    year: int
    title: str


REFERENCES = {
    "banerjee2024": Reference(
        "Banerjee and Gopalan", 2024, "Towards Reliable Alignment: Uncertainty-aware RLHF"
    ),
    "rewardrobust2024": Reference(
        "Anonymous (double-blind submission)", 2024, "Reward-Robust RLHF in LLMs"
    ),
    "adaptive2024": Reference(
        "Anonymous (double-blind submission)",
        2024,
        "Adaptive Uncertainty-Aware Reinforcement Learning from Human Feedback",
    ),
    "ugda2025": Reference(
        "Sun et al.",
        2025,
        "Uncertainty and Influence Aware Reward Model Refinement for RLHF",
    ),
    "zhang2024": Reference(
        "Zhang et al.", 2024, "Improving RLHF with Efficient Reward Model Ensemble"
    ),
    "achlioptas2003": Reference("Achlioptas", 2003, "Database-friendly random projections"),
    "beirami2024": Reference(
        "Beirami et al.", 2024, "Theoretical guarantees on the best-of-n alignment policy"
    ),
    "bradley1952": Reference(
        "Bradley and Terry", 1952, "Rank analysis of incomplete block designs"
    ),
    "clopper1934": Reference(
        "Clopper and Pearson", 1934, "The use of confidence or fiducial limits"
    ),
    "coste2023": Reference(
        "Coste et al.", 2023, "Reward Model Ensembles Help Mitigate Overoptimization"
    ),
    "delong1988": Reference(
        "DeLong, DeLong and Clarke-Pearson",
        1988,
        "Comparing the areas under two or more correlated ROC curves",
    ),
    "dubois2024": Reference(
        "Dubois et al.", 2024, "Length-Controlled AlpacaEval: A Simple Way to Debias Evaluators"
    ),
    "gao2023": Reference(
        "Gao, Schulman and Hilton", 2023, "Scaling Laws for Reward Model Overoptimization"
    ),
    "hu2021": Reference("Hu et al.", 2021, "LoRA: Low-Rank Adaptation of Large Language Models"),
    "johnson1984": Reference(
        "Johnson and Lindenstrauss", 1984, "Extensions of Lipschitz mappings into a Hilbert space"
    ),
    "kingma2015": Reference("Kingma and Ba", 2015, "Adam: A Method for Stochastic Optimization"),
    "loshchilov2019": Reference(
        "Loshchilov and Hutter", 2019, "Decoupled Weight Decay Regularization"
    ),
    "lambert2024": Reference(
        "Lambert et al.", 2024, "RewardBench: Evaluating Reward Models for Language Modeling"
    ),
    "ledoit2004": Reference(
        "Ledoit and Wolf", 2004, "A well-conditioned estimator for large covariance matrices"
    ),
    "li2016": Reference(
        "Li et al.", 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models"
    ),
    "nemhauser1978": Reference(
        "Nemhauser, Wolsey and Fisher",
        1978,
        "An analysis of approximations for maximizing submodular set functions",
    ),
    "schulman2016": Reference(
        "Schulman et al.", 2016, "High-dimensional control using generalized advantage estimation"
    ),
    "schulman2017": Reference("Schulman et al.", 2017, "Proximal Policy Optimization Algorithms"),
    "schulman2020": Reference("Schulman", 2020, "Approximating KL divergence"),
    "smyth2004": Reference(
        "Smyth", 2004, "Linear models and empirical Bayes methods for differential expression"
    ),
    "ziegler2019": Reference(
        "Ziegler et al.", 2019, "Fine-Tuning Language Models from Human Preferences"
    ),
    "xia2024": Reference(
        "Xia et al.", 2024, "LESS: Selecting Influential Data for Targeted Instruction Tuning"
    ),
}
"""Key to work. A test fails on a docstring that cites a key which is not here."""


def cite(key: str) -> str:
    """Author, year and title of a citation key, for captions.

    >>> cite("schulman2020")
    'Schulman (2020), Approximating KL divergence'
    """
    work = REFERENCES[key]
    return f"{work.authors} ({work.year}), {work.title}"
