"""The GPU benchmark at its smallest, on the CPU: what it writes, and how it fails."""

import json
import sys

import pytest
import torch

from benchmarks import gpu, gpu_embedded
from benchmarks.gpu_models import LITTLE, built, texts
from benchmarks.phases import Clock, compiled
from benchmarks.record_exact import KEPT
from llm_bridge.lm.actor import log_probabilities
from tests.tolerance import FLOAT32


def ran(folder, parts, *, given=gpu.PARTS, options=()):
    """Exit status, the results, and the table."""
    status = gpu.main(
        ["--small", "--device", "cpu", "--out", str(folder), "--parts", parts, *options], given
    )
    (path,) = folder.glob("*.json")
    return status, json.loads(path.read_text()), path.with_suffix(".md").read_text()


def test_results_have_their_place(tmp_path):
    status, found, table = ran(tmp_path, "ppo,reward", options=("--tflops", "0.001"))
    assert status == 0
    assert set(found) >= {"date", "device", "tflops", "versions", "revision", "command", "parts"}
    assert found["versions"]["torch"] == torch.__version__
    assert {part["status"] for part in found["parts"].values()} == {"done"}
    steps, phases = (found["parts"]["ppo"][name] for name in ("steps", "phases"))
    assert [row["variant"] for row in steps] == ["eager", "graphs"]
    assert all(row["ms"] > 0 and row["over the floor"] > 0 for row in steps)
    assert not any("not found" in row for row in steps)
    seen = {row["phase"]: row["utilisation"] for row in phases if row["variant"] == "graphs"}
    assert {name for name, share in seen.items() if share} == {
        "decoding", "policy read", "reference read", "reward read", "update"
    }  # fmt: skip
    sizes = found["parts"]["reward"]["sizes"]
    assert [(row["texts"], row["tokens each"]) for row in sizes] == list(LITTLE.texts)
    assert "| graphs | decoding |" in table


def test_a_device_agrees_with_itself(tmp_path):
    status, found, _ = ran(tmp_path, "parity")
    parity = found["parts"]["parity"]
    assert status == 0
    assert parity["float32 within tolerance"]
    errors = {(r["model"], r["precision"], r["what"]): r["error"] for r in parity["errors"]}
    for (_, precision, what), error in errors.items():
        if precision == "float32":
            assert error == 0, what
        elif what == "logits":
            assert 0 < error < 0.05


def test_a_part_that_fails_is_recorded_and_the_others_go_on(tmp_path):
    def fails(context):
        yield "first", 1
        raise RuntimeError("no such luck")

    def works(context):
        yield "rows", [{"a|b": 1.5}, {"c": None}]

    status, found, table = ran(tmp_path, "one,two", given={"one": fails, "two": works})
    assert status == 1
    one, two = found["parts"]["one"], found["parts"]["two"]
    assert one["status"] == "failed"
    assert one["first"] == 1
    assert one["error"] == "RuntimeError: no such luck"
    assert "fails" in one["traceback"]
    assert two["status"] == "done"
    assert "no such luck" in table


def test_what_is_refused(capsys):
    for options, message in (
        (["--parts", "ppo,pace"], "pace; known: ceilings, parity"),
        (["--device", "cuda:99"], "no CUDA device"),
    ):
        if torch.cuda.is_available() and "cuda:99" in options:
            continue
        with pytest.raises(SystemExit):
            gpu.parsed(options)
        assert message in capsys.readouterr().err


def test_phases_do_not_count_twice(monkeypatch):
    clock = Clock(torch.device("cpu"))
    clock.on = True
    times = iter([0.0, 1.0, 3.0, 7.0])
    monkeypatch.setattr(clock, "now", lambda: next(times))
    with clock.phase("outer"), clock.phase("inner"):
        pass
    assert clock.seconds == {"outer": 1.0 + 4.0, "inner": 2.0}


def test_compiled_policies_read_the_same(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda body, **_: body)
    cpu = torch.device("cpu")
    model = built(LITTLE.policy(), cpu)
    batch = texts(4, 12, 61, cpu)
    plain = log_probabilities(model, batch)
    with compiled("default"):
        found = log_probabilities(model, batch)
    torch.testing.assert_close(found, plain, atol=FLOAT32, rtol=FLOAT32)
    assert "torch._dynamo" in sys.modules


@pytest.mark.slow
def test_the_embedded_language_agrees_with_itself(tmp_path):
    status, found, _ = ran(tmp_path, "embedded")
    part = found["parts"]["embedded"]
    assert status == 0
    assert part["float64 and float32 within tolerance"]
    for row in part["trainings"]:
        assert row["the same responses"] == row["steps"] > 0
        assert {row[name] for name in KEPT} == {0.0}


@pytest.mark.parametrize("precision", ["float64", "float32", "bfloat16"])
def test_it_tells_where_trainings_part(precision):
    same = {"responses": "a", **dict.fromkeys(KEPT, 1.0)}
    there = [same, {**same, "kl": 1.0 + 1e-6}, {**same, "responses": "b", "gold": 9.0}]
    row = gpu_embedded.compared([same] * 3, there, precision)
    assert row["the same responses"] == 2
    assert row["kl"] == pytest.approx(5e-7)
    assert row["gold"] == 0
    assert row["within"] == {"float64": False, "float32": True, "bfloat16": None}[precision]
    lost = gpu_embedded.compared([same], [{**same, "responses": "b"}], precision)
    assert lost["within"] == (None if precision == "bfloat16" else False)
