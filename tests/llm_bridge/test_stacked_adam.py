"""Stacked AdamW against one optimiser a row."""

import pytest
import torch

from llm_bridge.lm.stacked_adam import StackedAdamW
from tests.tolerance import EXACT

POLICIES, SHAPES = 3, ((4, 2), (5,))
RATES, DECAYS = [1e-2, 3e-2, 1e-3], [0.0, 0.1, 0.0]
CLIPS, EPS = [torch.inf, 0.5, 1.0], [1e-8, 1e-5, 1e-2]


def random(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def stacked():
    parameters = [random(POLICIES, *shape, seed=n) for n, shape in enumerate(SHAPES)]
    return StackedAdamW(parameters, weight_decay=DECAYS, clip_norm=CLIPS, eps=EPS)


def turn(adam, step, rows, moving=None, share=1.0):
    """One step on random gradients, the same for every optimiser; norms."""
    for n, p in enumerate(adam.parameters):
        p.grad = random(*p.shape, seed=100 * step + n)
        if moving is not None:
            p.grad[~torch.tensor(moving)] = torch.nan
    moving = [True] * POLICIES if moving is None else moving
    norms, some = adam.norms(rows), range(POLICIES)[rows] if isinstance(rows, slice) else rows
    adam.step(rows, [share * RATES[i] for i in some], [moving[i] for i in some], norms)
    return norms


def walk(adam, steps, rows=slice(None), start=0, **more):
    return torch.stack([turn(adam, step, rows, **more) for step in range(start, start + steps)])


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_every_row_moves_as_alone(share):
    adam = stacked()
    norms = walk(adam, 6, share=share)
    for row in range(POLICIES):
        own = [random(POLICIES, *shape, seed=n)[row].requires_grad_()
               for n, shape in enumerate(SHAPES)]  # fmt: skip
        alone = torch.optim.AdamW(
            own, lr=RATES[row] * share, weight_decay=DECAYS[row], eps=EPS[row]
        )
        for step in range(6):
            for n, p in enumerate(own):
                p.grad = random(POLICIES, *p.shape, seed=100 * step + n)[row]
            norm = torch.nn.utils.clip_grad_norm_(own, CLIPS[row])
            torch.testing.assert_close(norms[step, row], norm, atol=EXACT, rtol=EXACT)
            alone.step()
        for mine, its in zip(adam.parameters, own, strict=True):
            torch.testing.assert_close(mine[row], its.detach(), atol=EXACT, rtol=EXACT)


def test_groups_of_rows_are_all_rows():
    together, apart = stacked(), stacked()
    walk(together, 4)
    for rows in ([2, 0], [1]):
        walk(apart, 4, rows)
    for one, other in zip(together.parameters, apart.parameters, strict=True):
        assert torch.equal(one, other)


def test_a_row_that_stands_still_keeps_its_numbers_whatever_its_gradient():
    adam, free = stacked(), stacked()
    walk(adam, 2)
    walk(free, 4)
    kept = [p.clone() for p in adam.parameters]
    walk(adam, 2, start=2, moving=[True, False, True])
    for now, before, its in zip(adam.parameters, kept, free.parameters, strict=True):
        assert torch.equal(now[1], before[1])
        assert torch.equal(now[[0, 2]], its[[0, 2]])


def test_a_state_goes_on_to_the_same_numbers():
    whole, first, second = stacked(), stacked(), stacked()
    walk(whole, 5)
    walk(first, 3)
    for mine, its in zip(second.parameters, first.parameters, strict=True):
        mine.copy_(its)
    second.load(first.state())
    walk(second, 2, start=3)
    for one, other in zip(whole.parameters, second.parameters, strict=True):
        assert torch.equal(one, other)
