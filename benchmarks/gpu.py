"""What a GPU is worth: parity with the CPU, speed of PPO and of reward models, and `compare`.

    python benchmarks/gpu.py [--small] [--out FOLDER] [--parts parity,ppo,...] [--device cuda|cpu]

Needs no network: all weights are random or trained here. Results, as JSON and as a table, are
written after every row; a part that fails is recorded, the others go on, and the exit status is 1.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks import gpu_compare, gpu_embedded, gpu_parity, gpu_population, gpu_speed  # noqa: E402
from benchmarks.gpu_models import FULL, LITTLE, Context, clean  # noqa: E402
from theory.files import output_folder, write_text  # noqa: E402

PARTS: dict[str, Callable[[Context], Iterator[tuple[str, Any]]]] = {
    "ceilings": gpu_speed.ceilings,
    "parity": gpu_parity.parity,
    "ppo": gpu_speed.ppo,
    "reward": gpu_speed.reward,
    "both": gpu_speed.both,
    "compare": gpu_compare.compare,
    "population": gpu_population.population,
    "embedded": gpu_embedded.embedded,
}
TFLOPS = {
    "H100 PCIe": 756.0, "H100 NVL": 835.0, "H100": 989.4, "H200": 989.4, "GH200": 989.4,
    "B200": 2250.0, "A100": 312.0, "L40S": 362.0, "A6000": 154.8, "L4": 121.0, "RTX 4090": 165.2,
}  # fmt: skip
"""Dense bfloat16 of data sheets, by part of a device's name, the longest that fits."""
PACKAGES = ("torch", "transformers", "peft", "accelerate", "tokenizers", "numpy", "triton")


def peak(name: str) -> float | None:
    """TFLOP/s of a device by its name, or None.

    >>> peak("NVIDIA H100 80GB HBM3"), peak("NVIDIA H100 PCIe"), peak("some CPU")
    (989.4, 756.0, None)
    """
    fitting = [part for part in TFLOPS if part in name]
    return TFLOPS[max(fitting, key=len)] if fitting else None


def said(*command: str) -> str | None:
    """First line that a command prints, or None where it fails."""
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip().splitlines()[0] if found.stdout.strip() else None


def versions() -> dict[str, str | None]:
    """Of what results depend on."""

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    driver = said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return {
        "python": platform.python_version(), **{name: installed(name) for name in PACKAGES},
        "cuda": torch.version.cuda, "cudnn": str(torch.backends.cudnn.version()),
        "driver": driver if torch.cuda.is_available() else None,
    }  # fmt: skip


def device_name(device: torch.device) -> str:
    """As its maker calls it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        cpus = ""
    found = re.search(r"model name\s*:\s*(.+)", cpus)
    return f"CPU, {found.group(1) if found else platform.machine()}"


def act(
    name: str, context: Context, parts: Mapping[str, Any], keep: Callable[[dict[str, Any]], None]
) -> bool:
    """Run a part, keeping what it has found so far; whether it got through."""
    started, busy = time.perf_counter(), time.process_time()
    found: dict[str, Any] = {"status": "running"}
    try:
        for key, value in parts[name](context):
            found[key] = value
            found["seconds"] = round(time.perf_counter() - started, 2)
            keep(found)
        found["status"] = "done"
    except Exception as error:
        found |= {
            "status": "failed", "error": f"{type(error).__name__}: {error}",
            "traceback": traceback.format_exc(),
        }  # fmt: skip
    found["seconds"] = round(time.perf_counter() - started, 2)
    found["CPU seconds"] = round(time.process_time() - busy, 2)
    clean(context.device)
    keep(found)
    return found["status"] == "done"


def markdown(results: Mapping[str, Any]) -> str:
    """The results as headings, lines and tables."""
    about = "; ".join(f"{k} {v}" for k, v in results["versions"].items() if v is not None)
    lines = [f"# {results['device']}, {results['date']}", "", about, ""]
    lines += [f"Peak: {results['tflops']} TFLOP/s. Command: `{results['command']}`", ""]
    for part, found in results["parts"].items():
        lines += [f"## {part}: {found['status']}, {found.get('seconds')} s", ""]
        for key, value in found.items():
            if key in ("status", "seconds", "traceback"):
                continue
            if isinstance(value, list) and value and isinstance(value[0], dict):
                lines += ["", f"**{key}**", "", *_table(value), ""]
            else:
                lines.append(f"- {key}: {_short(value)}")
        lines.append("")
    return "\n".join(lines)


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return head + ["| " + " | ".join(_short(row.get(n)) for n in names) + " |" for row in rows]


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_short(v)}" for k, v in value.items())
    return "" if value is None else str(value).replace("|", "/")


def parsed(arguments: Sequence[str], parts: Mapping[str, Any] = PARTS) -> argparse.Namespace:
    """Options; an unknown part or device is an error before anything runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="tiny models: a minute of a CPU")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--parts", default=",".join(parts), help="some of: %(default)s")
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default, help="cuda, cuda:1 or cpu")
    parser.add_argument("--tflops", type=float, help="peak speed of the device in bfloat16")
    options = parser.parse_args(arguments)
    options.parts = [part for part in options.parts.split(",") if part]
    unknown = set(options.parts) - set(parts)
    if unknown:
        parser.error(f"--parts: {', '.join(sorted(unknown))}; known: {', '.join(parts)}")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("--device: no CUDA device is available")
    return options


def main(arguments: Sequence[str] | None = None, parts: Mapping[str, Any] = PARTS) -> int:
    """Exit status: 0, or 1 where a part failed."""
    options = parsed(sys.argv[1:] if arguments is None else arguments, parts)
    device, date = torch.device(options.device), datetime.now(UTC).date().isoformat()
    if device.type == "cpu":
        torch.set_num_threads(1)
    name = device_name(device)
    tflops = options.tflops or peak(name)
    results: dict[str, Any] = {
        "date": date, "device": name, "tflops": tflops, "small": options.small,
        "command": " ".join(["python benchmarks/gpu.py", *(arguments or sys.argv[1:])]),
        "versions": versions(), "revision": said("git", "rev-parse", "HEAD"),
        "threads": torch.get_num_threads(), "parts": {},
    }  # fmt: skip
    slug = re.sub(r"\W+", "-", name.removeprefix("NVIDIA ")).strip("-").lower()
    path = output_folder(options.out) / f"{date}-gpu-{'small-' if options.small else ''}{slug}.json"
    done = []
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context = Context(device, LITTLE if options.small else FULL, tflops, Path(scratch))
        for part in options.parts:

            def keep(found: dict[str, Any], part: str = part) -> None:
                results["parts"][part] = found
                write_text(path, json.dumps(results, indent=1) + "\n")
                write_text(path.with_suffix(".md"), markdown(results))

            done.append(act(part, context, parts, keep))
            found = results["parts"][part]
            print(f"{part}: {found['status']} in {found['seconds']} s", flush=True)
    print(path.with_suffix(".md").read_text(encoding="utf-8") if done else "nothing to do")
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
