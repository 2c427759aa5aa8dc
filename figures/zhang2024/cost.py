"""Sec. 3.1: what each kind of ensemble has to train and to load."""

from collections.abc import Sequence
from time import perf_counter

import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, Setting, verdict
from figures.zhang2024.runs import INDEPENDENT, KINDS, LINEAR, LORA, MEMBERS, ensemble
from figures.zhang2024.sizes import LLAMA_SIZES, counted, formula, trainable
from theory import style

SEEDS = {"toy": 32, "tiny": 256}
"""Of the timing; numbers of parameters are exact."""
GRID, LLAMA = "8x8 grid", "Llama-7B"
BYTES, STATES = 4, 3
"""Of a float32; and what Adam holds beside a trained number: its gradient and two moments."""
CHEAP = 1.1
"""Times one model that still counts as about as cheap."""
QUANTITIES = {"trainable": "numbers trained", "loaded": "numbers loaded", "bytes": "bytes"}
COLOURS = {INDEPENDENT: style.BLACK, LINEAR: style.ORANGE, LORA: style.BLUE}


def compute(setting: Setting) -> pd.DataFrame:
    """Counts of the ensembles themselves beside the paper's formulas, memory, and seconds."""
    seeds, rows = range(setting.seed, setting.seed + setting.count(SEEDS)), []
    for kind in KINDS:
        own, sizes = counted(kind)
        rows += [
            {"model": GRID, "kind": kind, "trainable": own.trainable, "loaded": own.loaded,
             "formula": formula(kind, *sizes), "seconds": _seconds(kind, seeds)},
            {"model": LLAMA, "kind": kind, "trainable": trainable(kind, *LLAMA_SIZES),
             "loaded": formula(kind, *LLAMA_SIZES), "formula": formula(kind, *LLAMA_SIZES)},
        ]  # fmt: skip
    table = pd.DataFrame(rows)
    memory = BYTES * (table.loaded + STATES * table.trainable)
    return table.assign(members=MEMBERS, bytes=memory, seeds=len(seeds))


def _seconds(kind: str, seeds: Sequence[int]) -> float:
    """Wall-clock time of training, a seed, on this machine; the first run only warms up."""
    from bandits.grid import Grid

    world = Grid(ensemble=ensemble(kind))
    data = world.comparisons(seeds)
    world.ensemble.train(data, seeds, world.shape)
    started = perf_counter()
    world.ensemble.train(data, seeds, world.shape)
    return (perf_counter() - started) / len(seeds)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Bars on a logarithmic scale: one row a model, one panel a quantity."""
    models = (GRID, LLAMA)
    axes = canvas.subplots(len(models), len(QUANTITIES), sharey=True, sharex="row")
    for row, model in zip(axes, models, strict=True):
        part = table[table.model == model].iloc[::-1]
        for ax, (column, label) in zip(row, QUANTITIES.items(), strict=True):
            bars = ax.barh(part.kind, part[column], color=[COLOURS[kind] for kind in part.kind])
            ax.bar_label(bars, [f" {value:.3g}" for value in part[column]], fontsize=7)
            ax.set(xscale="log", title=label if model == GRID else "")
            ax.margins(x=0.35)
        row[0].set_ylabel(model)


def caption(table: pd.DataFrame) -> str:
    """Formulas, memory, and the one column that depends on the machine."""
    timed = table[table.model == GRID]
    pairs = zip(timed.kind, timed.seconds, strict=True)
    seconds = ", ".join(f"{kind} {1000 * each:.2g} ms" for kind, each in pairs)
    return (
        f"Ensembles of {MEMBERS}. Trunk M, head L, adapter A: k(M + L) numbers for independent "
        "members, M + kL for linear layers, M + kL + kA for LoRA, whose last stage trains k(L + A) "
        f"beside a frozen trunk. Bytes while training: {BYTES} (loaded + {STATES} trained), "
        f"single precision with gradients and Adam's two moments. {LLAMA}: by formula, adapters "
        f"of rank 8 on queries and values. Measured training time a seed on this machine, "
        f"{int(table.seeds.max())} seeds (draws) at once: {seconds}; LoRA trains two stages. "
        "Counts are exact, without bands."
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """The formulas against the ensembles' own counts, and what they come to at full size."""
    grid, large = (table[table.model == name].set_index("kind") for name in (GRID, LLAMA))
    pairs = list(zip(grid.loaded, grid.formula, strict=True))
    counts = ", ".join(
        f"{kind} {own} against {said}" for kind, (own, said) in zip(grid.index, pairs, strict=True)
    )
    share, last = large.loaded / large.loaded[INDEPENDENT], large.bytes / large.bytes[INDEPENDENT]
    return [
        Finding(
            "The kinds hold k(M + L), M + kL and M + kL + kA numbers.",
            f"On the grid, {counts}.",
            verdict(
                [bool(own == said) for own, said in zip(grid.loaded, grid.formula, strict=True)]
            ),
        ),
        Finding(
            "Shared trunks make an ensemble about as cheap as one model.",
            f"Loaded numbers at the size of {LLAMA}, as a share of independent members: linear "
            f"{share[LINEAR]:.4f}, LoRA {share[LORA]:.4f} (one model: {1 / MEMBERS:.4f}); bytes in "
            f"the last stage of training: {last[LINEAR]:.4f} and {last[LORA]:.4f}.",
            verdict([bool(share[kind] < CHEAP / MEMBERS) for kind in (LINEAR, LORA)]),
        ),
    ]


FIGURE = Figure(
    "zhang2024.cost", "Sec. 3.1", "Cost of the kinds of ensembles", {"toy": 2, "tiny": 5},
    (style.TEXT, 2.6), compute, draw, caption, findings,
)  # fmt: skip
