"""The site says what is so: its Python runs, the names in it exist, no module is left out."""

import importlib.util
import io
import re
import sys
import tomllib
from collections import Counter
from contextlib import redirect_stdout
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path
from types import SimpleNamespace

import pytest

from figures.catalogue import FIGURES
from theory.presets import PRESETS
from theory.theorems import CLAIMS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RUN = [page for page in PAGES if page.read_text(encoding="utf-8").startswith("---\nrun: true")]
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n*^```text\n(.*?)^```\n)?", re.M | re.S)
PAPERS = ("banerjee2024", "rewardrobust2024", "adaptive2024", "ugda2025", "zhang2024")


def name_of(page: Path) -> str:
    return str(page.relative_to(DOCS))


def tool(name: str):
    spec = importlib.util.spec_from_file_location(name, DOCS / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_code_runs_and_prints_what_stands_below_it(page):
    names, flags = {"__name__": page.stem}, ELLIPSIS | NORMALIZE_WHITESPACE
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        code, wanted = block.groups()
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(code, name_of(page), "exec"), names)
        found = printed.getvalue()
        assert OutputChecker().check_output(wanted or "", found, flags), f"{code}\n{found}"


def test_pages_that_must_run_are_marked():
    assert {"tour.md", "how-to/objective.md"} <= {name_of(page) for page in RUN}


@pytest.mark.parametrize("paper", PAPERS)
def test_counts_of_audited_claims_are_current(paper):
    verdicts = Counter(claim.verdict for claim in CLAIMS.values() if claim.paper == paper)
    text = " ".join((DOCS / "papers" / f"{paper}.md").read_text(encoding="utf-8").split())
    counts = [int(number) for number in re.findall(r"\d+", text.split("Audited: ")[1])[:4]]
    counts[3:] = [0] if "none is false" in text else counts[3:]
    wanted = [verdicts[verdict] for verdict in ("true", "true if", "false")]
    assert counts == [sum(wanted), *wanted]
    index = (DOCS / "papers" / "index.md").read_text(encoding="utf-8")
    row = next(line for line in index.splitlines() if line.startswith(f"| [`{paper}`]"))
    assert [int(number) for number in re.findall(r"\b\d+\b", row.split("|")[3])] == wanted


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_names_on_a_page_exist(page):
    text = page.read_text(encoding="utf-8")
    for preset in re.findall(r"(?<!/)\bpresets\.(\w+)", text):
        assert preset in PRESETS
    for figure in re.findall(rf"`((?:{'|'.join(PAPERS)}|beyond)\.\w+)`", text):
        assert figure in FIGURES
    if page.parent.name == "papers":
        found = text.split("## Here")[0]
        for claim in re.findall(r"[(\s]`([a-z][a-z0-9]*(?:_[a-z0-9]+)+)`[,)]", found):
            assert claim in CLAIMS


def test_every_module_is_on_a_page_of_the_api():
    """A package with `show_submodules` stands for all of its modules."""
    named, packages = [], []
    for page in (DOCS / "api").glob("*.md"):
        for block in re.findall(r"^::: (.*(?:\n +.*)*)", page.read_text(encoding="utf-8"), re.M):
            name, _, options = block.partition("\n")
            (packages if "show_submodules: true" in options else named).append(name)
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in ("theory", "bandits", "llm_bridge", "figures")
        for path in (ROOT / package).rglob("*.py")
        if not path.name.startswith("__")
    ]
    absent = [
        module
        for module in modules
        if module not in named and not any(module.startswith(f"{p}.") for p in packages)
    ]
    assert absent == [], "add a line `::: module` to a page of docs/api"
    assert [name for name in named if name not in modules] == ["theory"]
    assert len(set(named)) == len(named)


def test_pages_that_fetch_are_found():
    fetched = tool("self_contained").fetched
    assert fetched('<script src="https://unpkg.com/mermaid"></script>')
    assert fetched('<link rel="stylesheet" href="//fonts.googleapis.com/css">')
    assert fetched("@import url(https://example.org/a.css)")
    assert not fetched('<a href="https://example.org">a link</a><script src="a.js"></script>')


def test_plain_docstrings_keep_their_meaning(monkeypatch):
    absent = SimpleNamespace(Extension=object, Object=object, Module=object)
    monkeypatch.setitem(sys.modules, "griffe", absent)
    markdown = tool("plain_docstrings").markdown
    assert markdown("Shape (*batch, n) < 2, `a*b`.") == "Shape (\\*batch, n) &lt; 2, `a*b`."
    assert markdown(">>> 1\n1") == "```pycon\n>>> 1\n1\n```"
    assert markdown("k:  members\n    of a run") == "```text\nk:  members\n    of a run\n```"


def test_the_extra_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower()
    for requirement in project["optional-dependencies"]["docs"]:
        name = re.match(r"[\w-]+", requirement)[0]
        assert f"\n{name}==" in pins
