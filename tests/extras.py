"""Tests of what needs a package of an extra are skipped, with a reason, where it is not installed.

A module that cannot be imported for want of such a package is skipped whole, also its doctests; a
test that meets its absence on the way is skipped by itself. With all packages there nothing is.
"""

from importlib.util import find_spec

import pytest

EXTRAS = {
    "cvxpy": "convex", "clarabel": "convex", "matplotlib": "figures", "pyarrow": "tables",
    "torch": "torch", "distributed": "cluster", "transformers": "llm", "peft": "llm",
    "accelerate": "llm", "safetensors": "llm", "tokenizers": "llm", "trl": "trl", "datasets": "trl",
    "tensorboardX": "track",
}  # fmt: skip
"""Packages, and the extra of pyproject.toml that brings them."""


def installed(name):
    """Whether a package can be found."""
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def absent(error):
    """The package of an extra for want of which an error was raised, or None."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ImportError):
            told = (error.name or "").split(".")[0], *str(error).replace("'", " ").split()
            missing = [name for name in EXTRAS if name in told and not installed(name)]
            if missing:
                return missing[0]
        error = error.__cause__ or error.__context__
    return None


def skipped(report, call, path):
    """The report of a failure, as a skip where a package is not installed."""
    name = absent(call.excinfo.value) if report.failed and call and call.excinfo else None
    if name:
        report.outcome = "skipped"
        report.longrepr = (str(path), 0, f"Skipped: needs {name}, of the extra {EXTRAS[name]!r}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    return skipped(report, getattr(report, "call", None), collector.path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    return skipped(report, call, item.path)
