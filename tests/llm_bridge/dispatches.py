"""Another processor, had on this one: PyTorch without vector instructions, MKL in another order."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OTHER = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}
"""The first changes softmax, layer norm, attention and random float32 numbers, the second matrix
products. Read once, when a process starts."""


def elsewhere(module, function):
    """What a function without arguments returns on the other processor, as JSON carries it."""
    script = (
        f"import json, torch; torch.set_num_threads(1); from {module} import {function} as found\n"
        "print(json.dumps(found()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env={**os.environ, **OTHER},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(run.stdout.splitlines()[-1])
