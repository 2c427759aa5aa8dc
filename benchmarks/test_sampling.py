"""Sampling of Figs. 3 and 4 against the bare normal generator that feeds it, in one process.

Run with `OMP_NUM_THREADS=1 pytest benchmarks/test_sampling.py --benchmark-enable`.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from theory.montecarlo import BLOCK_ROWS, block_generator, normal_rows, simulate
from theory.return_sampler import return_sampler

ROOT = Path(__file__).parents[1]
CELLS, ROWS = 1000, 20_000
SHARE, MEBIBYTES = 0.8, 500
MILLION = """
from pathlib import Path
import numpy as np
from benchmarks.test_sampling import sampler
from theory.montecarlo import simulate
found = simulate(sampler(), 1_000_000, rng=np.random.default_rng(0))
assert found.moments["aware"].draws == 1_000_000
status = Path("/proc/self/status").read_text().split()
print(int(status[status.index("VmHWM:") + 1]) / 1024)
"""


def sampler(prompts=None):
    variances = np.linspace(3.0, 100.0, CELLS)
    reward = np.random.default_rng(0).normal(0, 0.3075, CELLS)
    return return_sampler(
        reward, variances, unaware_eps=0.1936, aware_eps=0.1936 * 3, prompts=prompts
    )


def bare_generator():
    for block in range(ROWS // BLOCK_ROWS):
        normal_rows(block_generator([0], block), BLOCK_ROWS, CELLS)


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@pytest.mark.parametrize("prompts", [None, 1])
def test_throughput_of_figure_3(benchmark, prompts):
    kernel = sampler(prompts)

    def sample():
        return simulate(kernel, ROWS, rng=np.random.default_rng(0))

    turns = range(15 if benchmark.enabled else 1)
    shares = [seconds(bare_generator) / seconds(sample) for _ in turns]
    benchmark.extra_info["share_of_bare_generator"] = float(np.median(shares))
    found = benchmark.pedantic(sample, rounds=5)
    assert found.events["aware_harm"].draws == ROWS
    if benchmark.enabled:
        benchmark.extra_info["rows_per_second"] = ROWS / benchmark.stats.stats.median
        assert benchmark.extra_info["share_of_bare_generator"] >= SHARE


def test_memory_of_a_million_draws(benchmark):
    def peak():
        """Of a process of its own; `ru_maxrss` would start at the peak of this one."""
        command = [sys.executable, "-c", MILLION]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return float(found.stdout)

    mebibytes = benchmark.pedantic(peak, rounds=1)
    benchmark.extra_info["peak_mebibytes"] = mebibytes
    assert mebibytes < MEBIBYTES
