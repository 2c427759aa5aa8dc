"""Influence of samples by the gradients of a policy's adapters, all in one pass and in a loop.

Seconds of the processor, one thread; the tiny model, adapters of rank 8, 16,384 parameters.
"""

import resource
import subprocess
import sys
import time
from statistics import median

import numpy as np
import pytest
import torch

from llm_bridge.embedded.language import Corpus
from llm_bridge.embedded.tiny import build_model, build_tokenizer
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.sft import negative_log_likelihood
from llm_bridge.lm.tokens import encode
from llm_bridge.refining.gradients import adapter_matrices, flat
from llm_bridge.refining.influence import Checkpoint, Samples, influence, sample_batches
from theory.projection import SignProjection
from theory.refinement import Refinement

DIMENSION, SAMPLES, FEW = 8192, 10_000, 2500
TOGETHER, LOOPED, PROJECTED, REPEATS = 2048, 128, 4, 5


def made(samples):
    """A policy with adapters, a checkpoint of it, samples, and two validation tasks."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    model = build_model("tiny", tokenizer).eval()
    Lora(8).attach(model, "default", seed=0)
    weights = [matrix.weight for matrix in adapter_matrices(model)]
    for weight in weights:
        torch.nn.init.normal_(weight, std=0.1)
    texts = Corpus().write(samples + 256, np.random.default_rng(0))
    batch = encode(tokenizer, *zip(*texts, strict=True), limit=64)
    numbers = flat(weights)
    first, second = torch.randn(len(numbers)) / 1e3, torch.rand(len(numbers)) / 1e4
    point = Checkpoint(numbers, first, second, first.double(), second.double(), 40, 1e-3)
    tasks = [batch[samples : samples + 128], batch[samples + 128 :]]
    return model, point, Samples(batch[:samples]), tasks


def seconds(act):
    started = time.process_time()
    act()
    return time.process_time() - started


def in_a_loop(model, batch):
    """One forward and one backward pass a sample."""
    weights, rows = [matrix.weight for matrix in adapter_matrices(model)], []
    for row in range(len(batch)):
        loss = negative_log_likelihood(model, batch[row : row + 1].trimmed())
        rows.append(flat(torch.autograd.grad(loss, weights)))
    return torch.stack(rows)


def test_gradients_against_a_loop(benchmark):
    model, point, samples, _ = made(TOGETHER)
    few = samples.some(range(LOOPED))

    def fast():
        return sum(len(part) for _, part in sample_batches(model, samples, 1.0))

    def slow():
        return in_a_loop(model, few.batch)

    found = torch.empty(LOOPED, len(point.parameters))
    for rows, part in sample_batches(model, few, 1.0):
        found[rows] = part
    torch.testing.assert_close(found, slow(), atol=1e-5, rtol=1e-3)
    fast()
    pairs = [(seconds(fast) / TOGETHER, seconds(slow) / LOOPED) for _ in range(REPEATS)]
    together, alone = (median(side) for side in zip(*pairs, strict=True))
    benchmark.pedantic(fast)
    benchmark.extra_info["ratio"] = alone / together
    print(f"\n{1e3 * together:.2f} ms a sample, {1e3 * alone:.2f} ms in a loop: "
          f"{alone / together:.1f} times")  # fmt: skip
    assert alone / together > 5


def test_projected_gradients_against_a_loop(benchmark):
    """Sample by sample, the signs are drawn for each."""
    model, _, samples, _ = made(TOGETHER)
    project = SignProjection(DIMENSION, 0)

    def together():
        return project(torch.cat([part for _, part in sample_batches(model, samples, 1.0)]))

    def one_by_one():
        return [project(in_a_loop(model, samples.batch[i : i + 1])) for i in range(PROJECTED)]

    fast, slow = seconds(together) / TOGETHER, seconds(one_by_one) / PROJECTED
    ratio = slow / fast
    benchmark.pedantic(lambda: project(torch.zeros(1, 1024)))
    benchmark.extra_info["ratio"] = ratio
    print(f"\n{1e3 * fast:.1f} ms a sample, {1e3 * slow:.0f} ms in a loop: "
          f"{ratio:.0f} times")  # fmt: skip
    assert ratio > 5


@pytest.mark.parametrize("dimension", [DIMENSION, None], ids=["projected", "exact"])
def test_ten_thousand_samples(dimension, benchmark, tmp_path):
    """At one checkpoint, in under three minutes, and in no more memory than a quarter of them."""
    peaks = {}
    for samples in (FEW, SAMPLES):
        done = subprocess.run(
            [sys.executable, "-m", __name__.replace("__main__", "benchmarks.test_influence"),
             str(samples), str(dimension or 0), str(tmp_path / str(samples))],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        took, held = map(float, done.stdout.split())
        peaks[samples] = held
    benchmark.pedantic(lambda: None)
    benchmark.extra_info |= {"seconds": took, "peak_mb": peaks[SAMPLES], "peak_mb_few": peaks[FEW]}
    print(f"\n{SAMPLES} samples, dimension {dimension}: {took:.0f} s of one core, peak "
          f"{peaks[SAMPLES]:.0f} MB; {FEW} samples: {peaks[FEW]:.0f} MB")  # fmt: skip
    assert took < 180
    assert peaks[SAMPLES] < 1.2 * peaks[FEW]


def measured(samples, dimension, folder):
    """Seconds of influence at one checkpoint, and the peak of memory in MB."""
    model, point, texts, tasks = made(samples)
    settings = Refinement(dimension=dimension or None)
    took = seconds(lambda: influence(model, [point], texts, tasks, settings, folder))
    return took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    from pathlib import Path

    print(*measured(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
