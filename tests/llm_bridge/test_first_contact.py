"""Mistakes at `python -m llm_bridge`: what is said, before anything is trained."""

import sys

import pytest
import torch
from accelerate.utils import LoggerType

from llm_bridge import __main__ as command
from llm_bridge import trackers
from llm_bridge.commands import parsing
from llm_bridge.launching import check_device
from theory.errors import InputError
from theory.records import Records


@pytest.fixture
def says(monkeypatch, capsys, tmp_path):
    """What is told on a command line that is refused."""
    (tmp_path / "prompts.csv").write_text("prompt\nhello\n")

    def refused(*arguments):
        monkeypatch.setattr("sys.argv", ["llm_bridge", *(a.format(tmp_path) for a in arguments)])
        assert command.main() == 2
        told = capsys.readouterr().err
        assert "Traceback" not in told
        return told

    return refused


def test_without_a_command_it_shows_what_it_can_do(says):
    told = says()
    assert set(command.SHOWN) == set(parsing.COMMANDS)
    for name, (does, example) in command.SHOWN.items():
        assert does in told
        assert f"python -m llm_bridge {name} {example}" in told


@pytest.mark.parametrize("name", sorted(command.SHOWN))
def test_the_examples_parse(name):
    arguments = [name, *command.SHOWN[name].example.split()]
    assert isinstance(parsing.parsed(arguments), parsing.COMMANDS[name][0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["comapre"], ["did you mean 'compare'"]),
        (["compare", "--preset", "banerjee"], ["did you mean 'banerjee2024'"]),
        (["compare", "--objective", "lbc"], ["did you mean 'lcb'"]),
        (["compare", "--scale", "tinny"], ["`scale`", "did you mean 'tiny'"]),
        (["compare", "--workers", "0"], ["`workers` must be > 0, got 0"]),
        (["compare", "--beta", "-0.1"], ["`beta` must be > 0, got -0.1"]),
        (["ppo", "--objective", "safe"], ["`beta` must be given for the objective 'safe'"]),
        (["compare", "--kl", "1", "--objective", "adaptive_experts"], ["'adaptive_experts'"]),
        (["compare", "--kl", "1", "--objective", "safe"], ["'safe'", "--beta"]),
        (["compare", "--objective", "lcb", "--ensemble.members", "1"], ["LCB", "1 reward model "]),
        (["compare", "--objective", "trust_region"], ["trust region", "quadratic"]),
        (["compare", "--device", "gpu"], ["`device`", "'gpu'"]),
        (["ppo", "--policy", "nowhere", "--prompts", "{}/none.csv"], ["`prompts`", "none.csv"]),
        (["ppo", "--policy", "{}/none", "--prompts", "{}/prompts.csv"], ["an existing folder"]),
        (["best-of-n", "--samples", "0"], ["`samples` must be > 0, got 0"]),
        (["evaluate"], ["got none", "--policies out/ppo/policies/*"]),
        (["evaluate", "--policies", "a/one", "b/one"], ["no two of one name", "one, one"]),
        (["evaluate", "--policies", "a", "--endpoint", "me"], ["`url`", "http://localhost"]),
        (["evaluate", "--policies", "a", "--device", "gpu"], ["`device`", "'gpu'"]),
        (["reward", "--rewardbench", "{}/none.csv"], ["`rewardbench`", "none.csv"]),
        (["sft", "--device", "gpu"], ["`device`", "'gpu'"]),
        (["sft", "--policy", "gpt2", "--texts", "{}/none.csv"], ["`texts`", "none.csv"]),
    ],
)
def test_mistakes(arguments, words, says, tmp_path):
    told = says(*arguments, *(["--out", "{}/out"] if arguments[0] != "comapre" else []))
    for word in words:
        assert word in told, told


def test_a_tracker_without_its_package_is_refused(says, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    for kind in LoggerType.list()[1:]:
        told = says("ppo", "--tracker", kind, "--out", "{}/out")
        assert f"pip install {trackers.PACKAGES.get(kind, (kind,))[-1]}" in told


def test_a_folder_with_records_is_refused_before_anything_is_trained(says, tmp_path, monkeypatch):
    Records.create(tmp_path / "out", {"steps": 1})
    monkeypatch.setattr(parsing, "act", lambda _: pytest.fail("it went on"))
    monkeypatch.setattr("sys.argv", ["llm_bridge", "ppo", "--out", str(tmp_path / "out")])
    assert command.main() == 2


@pytest.mark.parametrize("name", sorted(set(parsing.COMMANDS) - set(parsing.TOGETHER)))
def test_one_process_for_each_of_these(name, says, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert f"run python -m llm_bridge {name} without torchrun" in says(name)


def test_a_package_that_is_not_installed(says, monkeypatch):
    monkeypatch.delattr("llm_bridge.commands.parsing")
    monkeypatch.setitem(sys.modules, "llm_bridge.commands.parsing", None)
    assert "pip install -e '.[llm]'" in says("compare")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_where_there_is_none():
    with pytest.raises(InputError, match="--device cpu"):
        check_device("cuda")
