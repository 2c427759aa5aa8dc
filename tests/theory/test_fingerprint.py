"""Fingerprints of code: what changes them, and what does not."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import theory.objective
from theory.fingerprint import ROOT, fingerprint, reachable, versions
from theory.objective import Objective

CODE = {
    "top/__init__.py": "",
    "top/main.py": "from top import used\nfrom top.deep import name\nimport numpy",
    "top/used.py": "def f():\n    from top.inner.late import x",
    "top/deep.py": "from top import name",
    "top/inner/__init__.py": "import top.circle",
    "top/inner/late.py": "",
    "top/circle.py": "import top.circle",
    "top/unused.py": "",
}


def test_code_is_followed_through_imports(tmp_path):
    for name, text in CODE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = reachable([tmp_path / "top/main.py"], tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in found} == {
        "top/main.py", "top/used.py", "top/deep.py", "top/__init__.py", "top/inner/late.py",
    }  # fmt: skip
    assert tmp_path / "top/circle.py" in reachable([tmp_path / "top/inner/__init__.py"], tmp_path)


LOSSES = ROOT / "theory" / "preferences.py"
MAKER = "llm_bridge/rewards/models.py"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the project's code."""
    root = tmp_path_factory.mktemp("tree")
    for package in ("theory", "llm_bridge"):
        shutil.copytree(
            ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return root


def of(root, name=MAKER):
    return fingerprint(files=[root / name], root=root)


def edited(path, old, new):
    """Write a changed file, and what it was."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return text


def test_a_copy_of_the_code_has_its_fingerprint(tree):
    assert of(tree) == of(ROOT)


@pytest.mark.parametrize(
    ("name", "old", "new", "same"),
    [
        ("theory/preferences.py", '"""', '"""Other words. ', True),
        ("theory/preferences.py", "\n\n\ndef ", "\n\n\n# a remark\ndef ", True),
        ("theory/preferences.py", "import", "import  ", True),
        ("theory/preferences.py", "return ", "return -", False),
        (
            "llm_bridge/rewards/models.py",
            "learning_rate: float = ",
            "learning_rate: float = 1",
            False,
        ),
        ("llm_bridge/embedded/language.py", "WORDS", "NAMES", True),
        ("llm_bridge/ppo.py", "self.step < steps", "self.step <= steps", True),
    ],
)
def test_what_makes_a_thing_counts_and_nothing_else(tree, name, old, new, same):
    before, path = of(tree), tree / name
    text = edited(path, old, new)
    try:
        assert (of(tree) == before) == same
    finally:
        path.write_text(text)
    assert of(tree) == before


def variants():
    """Programs that differ in numbers, operators and names."""
    number = st.integers(0, 9)
    operator = st.sampled_from(["+", "-", "*", "//"])
    return st.tuples(number, operator, number, st.sampled_from(["x", "y"]))


def program(parts, remark="", doc="", indent="    ", blank=0):
    left, operator, right, name = parts
    lines = (
        f'"""{doc}"""', f"# {remark}", *[""] * blank, f"def f({name}):",
        f'{indent}"""{doc}"""', f"{indent}return {left} {operator} {right} # {remark}", "",
    )  # fmt: skip
    return "\n".join(lines)


WORDS = st.text("abc xyz.,", max_size=12)


@given(variants(), variants(), WORDS, WORDS, st.integers(0, 3))
def test_programs_are_alike_when_their_syntax_is(tmp_path_factory, one, other, remark, doc, blank):
    folder = tmp_path_factory.mktemp("programs")
    found = []
    for number, text in enumerate(
        (
            program(one),
            program(one, remark, doc, "  ", blank),
            program(other, remark, doc),
        )
    ):
        (folder / str(number)).mkdir()
        path = folder / str(number) / "made.py"
        path.write_text(text)
        found.append(fingerprint(files=[path], root=path.parent))
    assert found[0] == found[1]
    assert (found[0] == found[2]) == (one == other)


def test_an_edit_is_seen_in_the_same_process_whatever_its_time(tmp_path):
    path = tmp_path / "made.py"
    path.write_text("a = 1\n")
    before = fingerprint(files=[path], root=tmp_path)
    path.write_text("a = 10\n")
    os.utime(path, ns=(1, 1))
    assert fingerprint(files=[path], root=tmp_path) != before


def test_two_files_that_change_places_are_other_code(tmp_path):
    files = [tmp_path / "one.py", tmp_path / "two.py"]
    for path, text in zip(files, ("a = 1", "a = 2"), strict=True):
        path.write_text(text)
    before = fingerprint(files=files, root=tmp_path)
    for path, text in zip(files, ("a = 2", "a = 1"), strict=True):
        path.write_text(text)
    assert fingerprint(files=files, root=tmp_path) != before


def test_functions_classes_and_objects_stand_for_their_modules():
    path = Path(str(theory.objective.__file__))
    assert fingerprint(Objective) == fingerprint(files=[path]) != fingerprint(versions)


def test_relative_and_named_imports_are_followed(tmp_path):
    (tmp_path / "room").mkdir()
    for name, text in {
        "room/__init__.py": "", "room/a.py": "from . import b\nfrom .c import x",
        "room/b.py": "import importlib\nimportlib.import_module('room.d')", "room/c.py": "x = 1",
        "room/d.py": "from ..e import y", "e.py": "y = 1",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    found = {path.name for path in reachable([tmp_path / "room/a.py"], tmp_path)}
    assert found == {"a.py", "b.py", "c.py", "d.py", "e.py"}


def test_what_is_no_python_counts_by_its_bytes(tmp_path):
    for name in ("style.css", "broken.py"):
        path = tmp_path / name
        path.write_text("not (python")
        before = fingerprint(files=[path], root=tmp_path)
        path.write_text("not  (python")
        assert fingerprint(files=[path], root=tmp_path) != before


def test_code_without_a_file_does_not_count():
    made = type("Typed", (), {"__module__": "nowhere"})
    assert fingerprint(made) == fingerprint()
