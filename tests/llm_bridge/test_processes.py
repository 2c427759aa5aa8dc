"""PPO on several processes: the numbers of one, and launches that would give others."""

import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

from llm_bridge.commands.parsing import parsed
from llm_bridge.commands.training import ppo
from llm_bridge.embedded.tiny import build_model, build_tokenizer
from llm_bridge.launching import launched
from llm_bridge.leading import Leader, leading
from llm_bridge.lm.actor import Reading
from llm_bridge.lm.tokens import Batch
from llm_bridge.processes import ALONE, Processes
from llm_bridge.rollout import Read, drawn, read
from llm_bridge.settings import Settings
from tests.tolerance import FLOAT32
from theory.errors import InputError
from theory.penalties import TargetKL
from theory.presets import reward_robust_policy, vanilla
from theory.scores import Scores

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
DIFFERENT = ("tokens_per_second", "processes")
"""What the number of processes changes."""


TIMES = {"steps": 4, "evaluate_every": 1}
ASKED = reward_robust_policy(TargetKL(0.5)), Settings(batch=16, accumulate=2, exact_kl=True), [1]


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Arguments that train a model of random weights on next to nothing."""
    folder, tokenizer = tmp_path_factory.mktemp("command"), build_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        build_model("tiny", tokenizer).save_pretrained(folder / "policy")
    tokenizer.save_pretrained(folder / "policy")
    prompts = folder / "prompts.csv"
    pd.DataFrame({"prompt": ["garden :", "music :"]}).to_csv(prompts, index=False)
    options = {
        "policy": folder / "policy", "prompts": prompts, "cache": folder / "cache",
        "labelling.pairs": 40, "ensemble.members": 2, "ensemble.kind": "heads", "references": 8,
        "sampling.tokens": 8, "objective": "vanilla", "steps": 30, "ppo.batch": 8,
        "evaluate-every": 1, "out": folder / "out",
    }  # fmt: skip
    return ["ppo", *(part for name, x in options.items() for part in (f"--{name}", str(x)))]


@pytest.fixture(scope="module")
def launched_twice(quick, command, tmp_path_factory):
    """What `two_processes.py` found on each process, and what was said when it was stopped."""
    folder, out = tmp_path_factory.mktemp("two"), parsed(command).out
    quick.normaliser(1)
    (folder / "task.pkl").write_bytes(
        pickle.dumps({"world": quick, "asked": ASKED, "times": TIMES})
    )
    line = [*TORCHRUN, str(ROOT / "tests/llm_bridge/two_processes.py"), str(folder), *command]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=env) as process:
        while process.poll() is None and sum(map(rows_in, out.glob("*.part"))) < 2:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        message = process.communicate()[1]
    found = [folder / f"found-{rank}.pt" for rank in (0, 1)]
    assert all(path.exists() for path in found), message
    return [torch.load(path) for path in found], message


def rows_in(file):
    return len(file.read_text().splitlines()) - 1


@pytest.fixture(scope="module")
def trained(quick, launched_twice):
    """The same training on one process, and what each of two found."""
    objective, settings, (seed,) = ASKED
    trainer = quick.trainer(objective, settings, seed)
    rows = [row for _, row, _ in trainer.run(TIMES["steps"])]
    parameters = torch.cat([p.detach().flatten() for p in trainer.parameters])
    return rows, parameters, launched_twice[0]


@pytest.mark.slow
def test_two_processes_have_the_numbers_of_one(trained):
    """Up to the order in which float32 numbers are added: products of matrices of half as many
    rows, and gradients that are sums of two. Random numbers, texts and scores are the same."""
    rows, parameters, found = trained
    for both in found:
        assert [row["processes"] for row in both["rows"]] == [2] * 4
        for mine, row in zip(both["rows"], rows, strict=True):
            for name in set(row) - set(DIFFERENT):
                assert mine[name] == pytest.approx(row[name], abs=FLOAT32, rel=FLOAT32), name
        torch.testing.assert_close(both["parameters"], parameters, atol=FLOAT32, rtol=FLOAT32)


@pytest.mark.slow
def test_two_processes_stay_together_bit_for_bit(trained):
    first, second = trained[2]
    assert torch.equal(first["parameters"], second["parameters"])
    for mine, other in zip(first["rows"], second["rows"], strict=True):
        timeless = [{k: v for k, v in row.items() if k not in DIFFERENT} for row in (mine, other)]
        assert timeless[0] == timeless[1]


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_they_go_on_to_the_same_rows(trained):
    for both in trained[2]:
        assert both["stopped"]
        assert len(both["rows"]) == 4
        for mine, row in zip(both["resumed"], both["rows"], strict=True):
            assert all(mine[name] == row[name] for name in set(row) - set(DIFFERENT))


def test_what_processes_tell_each_other(trained):
    for rank, both in enumerate(trained[2]):
        found = both["exchange"]
        assert found.pop("share") == [[0, 1], [2, 3]][rank]
        errors = found.pop("errors")
        assert [error.split()[0] for error in errors] == ["`prompts`", "`out`"]
        assert found == {
            "gather": [0, 2], "tell": "from the main one", "any": (True, False),
            "totals": {"a": 3.0, "b": 1.0}, "add": [3.0, 10.0, 10.0, 10.0, 10.0],
            "copy": [0.0, 1.0, 2.0], "judged": [1.0, 2.0, 3.0, 4.0],
        }  # fmt: skip


def test_one_process_does_everything_itself():
    tensor = torch.ones(2)
    ALONE.add([tensor])
    ALONE.copy([tensor])
    assert tensor.tolist() == [1.0, 1.0]
    assert ALONE.share([1, 2]) == [1, 2]
    assert ALONE.gather(lambda: 3) == [3]
    assert (ALONE.main, ALONE.tell(4), ALONE.any(True), ALONE.any(False)) == (True, 4, True, False)
    with launched("cpu") as found:
        assert found is ALONE


class Pretended(Processes):
    """Two processes, of which one finds what is in a list."""

    parts: tuple = ()

    def gather(self, make):
        return [make(), *self.parts]


def pretended(*parts):
    found = Pretended(0, 1 + len(parts))
    object.__setattr__(found, "parts", parts)
    return found


def test_parts_of_a_batch_are_put_below_each_other_as_if_drawn_at_once():
    prompts = torch.tensor([[0, 0, 5], [1, 2, 3], [0, 8, 9]])
    responses = torch.tensor([[4, 7, 0, 0], [4, 0, 0, 0], [5, 6, 6, 7]])
    whole = Batch(prompts, prompts > 0, responses, responses > 0)
    one, two = whole[:1].trimmed(), whole[1:].trimmed()
    assert one.tokens.shape != two.tokens.shape
    together = drawn(pretended(two), lambda: one, 0)
    for name in ("prompts", "prompt_mask", "responses", "live"):
        assert torch.equal(getattr(together, name), getattr(whole, name))


@pytest.mark.parametrize("full", [True, False])
def test_what_is_said_of_them_too(full):
    table = torch.arange(12.0).reshape(3, 4)
    std = table if full else None
    whole = Read(Reading(table, table + 1, table + 2), -table, std, Scores(table, std))

    def rows(part):
        said = Reading(*(x[part] for x in whole.reading))
        spread = None if std is None else std[part]
        return Read(said, whole.reference[part], spread, Scores(table[part], spread))

    together = read(pretended(rows(slice(2, 3))), lambda: rows(slice(0, 2)))
    assert all(map(torch.equal, together.reading, whole.reading))
    assert torch.equal(together.reference, whole.reference)
    assert torch.equal(together.scores.members, table)
    for found in (together.token_kl, together.scores.head_std):
        assert torch.equal(found, table) if full else found is None


def test_a_batch_that_does_not_divide(quick):
    settings = Settings(batch=16)
    with pytest.raises(InputError, match=r"`batch`.*\(2 x 1 x 3\), got 16"):
        replace(quick, processes=Processes(0, 3)).trainer(vanilla(0.1), settings, 0)
    Processes(0, 4).check(settings)


@pytest.mark.parametrize(
    ("env", "device", "message"),
    [
        ({"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}, "cpu", "torchrun"),
        ({"WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true"}, "cuda", "whole model"),
        ({"WORLD_SIZE": "2", "ACCELERATE_USE_DEEPSPEED": "true"}, "cpu", "whole model"),
        ({"WORLD_SIZE": "999", "LOCAL_WORLD_SIZE": "99"}, "cuda", "99 GPUs"),
        ({"WORLD_SIZE": "2"}, "cuda:0", "without a number"),
        ({"WORLD_SIZE": "2"}, "cpu", "accelerate found 1"),
    ],
)
def test_launches_that_would_train_something_else(env, device, message, monkeypatch):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    if "accelerate" in message:
        monkeypatch.setattr("accelerate.PartialState", lambda **_: OfOne)
    with pytest.raises(InputError, match=message), launched(device):
        pass


class OfOne:
    num_processes = 1


def test_a_main_process_that_went_apart_trains_no_further(quick, monkeypatch):
    told = []
    monkeypatch.setattr(Processes, "tell", lambda _, task=None: told.append(task))
    monkeypatch.setattr(type(quick), "train", lambda *_, **__: iter([1, 2]))
    asked = {"steps": 2, "evaluate_every": 1}
    with leading(Processes(0, 2)) as lead:
        world = lead(quick)
        assert (repr(world), world.name) == (repr(quick), quick.name)
        assert list(world.train(vanilla(0.1), Settings(), [0], **asked)) == [1, 2]
    assert [task is None for task in told] == [False, True]
    told.clear()
    with leading(Processes(0, 2)) as lead:
        world = lead(quick)
        next(world.train(vanilla(0.1), Settings(), [0], **asked))
        with pytest.raises(RuntimeError, match="--resume"):
            next(world.train(vanilla(0.1), Settings(), [1], **asked))
    assert [task is None for task in told] == [False]
    assert isinstance(world, Leader)


@pytest.mark.parametrize(("name", "processes"), [("one_machine", 8), ("two_machines", 16)])
def test_sample_configurations_resolve(name, processes):
    path = str(ROOT / "docs" / "accelerate" / f"{name}.yaml")
    assert load_config_from_file(path).num_processes == processes
    line = ["--config_file", path, "-m", "llm_bridge", "ppo", "--device", "cuda"]
    found, *_ = _validate_launch_command(launch_command_parser().parse_args(line))
    assert (found.multi_gpu, found.use_fsdp, found.cpu) == (True, False, False)
    assert (found.num_processes, found.training_script) == (processes, "llm_bridge")


@pytest.mark.slow
def test_the_command_stops_on_two_processes_and_goes_on_with_one(launched_twice, command, tmp_path):
    """As torchrun passes SIGTERM on; rows up to there are those of one process."""
    options, message = parsed(command), launched_twice[1]
    assert message.count("stopped on request; go on with --resume") == 2
    assert list((options.out / "states").iterdir())
    before = pd.read_csv(next(options.out.glob("*.part")))
    assert set(before.processes) == {2}
    ppo(replace(options, resume=True))
    ppo(replace(options, out=tmp_path, steps=3))
    rows, whole = (pd.read_csv(next(folder.glob("*.csv"))) for folder in (options.out, tmp_path))
    assert rows.step.tolist() == list(range(1, options.steps + 1))
    assert set(rows.processes) == {1, 2}
    rows, before, whole = (x.drop(columns=list(DIFFERENT)) for x in (rows, before, whole))
    pd.testing.assert_frame_equal(rows[: len(before)], before)
    few = min(len(before), len(whole))
    pd.testing.assert_frame_equal(before[:few], whole[:few], atol=FLOAT32, rtol=FLOAT32)
