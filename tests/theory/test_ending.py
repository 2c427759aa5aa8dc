"""Commands end with a status and a sentence, whatever stops them."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import bandits.__main__
import bandits.command
import figures.__main__
import theory.__main__
from theory.commands.audit import Audit
from theory.ending import check_arguments, ended
from theory.errors import InputError
from theory.stopping import Terminated

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _attended():
    """Ctrl-C arrives, also where the suite runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/summary.csv")


def raising(error):
    def act():
        raise error

    return act


@pytest.mark.parametrize(
    ("act", "status", "told"),
    [
        (lambda: 0, 0, ""),
        (lambda: None, 0, ""),
        (lambda: 1, 1, ""),
        (full, 2, "out/summary.csv (No space left on device)"),
        (lambda: Path("x" * 300).stat(), 2, "File name too long"),
        (lambda: Path("/proc").rename("/proc/1"), 2, "/proc and /proc/1"),
        (raising(InputError("beta", "> 0", -1)), 2, "`beta` must be > 0, got -1"),
        (raising(MemoryError("Unable to allocate 1 TiB")), 1, "Unable to allocate 1 TiB"),
        (raising(ArithmeticError("NaN loss")), 1, "NaN loss"),
        (raising(BrokenPipeError()), 141, ""),
        (raising(KeyboardInterrupt()), 130, "interrupted; run it again"),
        (raising(Terminated(Path("a.pt"))), 143, "go on with --resume (state in a.pt)"),
        (lambda: os.kill(os.getpid(), signal.SIGINT), 130, "interrupted; run it again"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), 143, "stopped on request; run it again"),
    ],
)
def test_what_stops_a_command_is_told_in_a_sentence(act, status, told, capfd):
    before = signal.getsignal(signal.SIGTERM)
    assert ended(act, failures=(ArithmeticError,)) == status
    said = capfd.readouterr().err
    assert told in said
    assert len(said.splitlines()) == bool(told)
    assert signal.getsignal(signal.SIGTERM) == before


def test_mistakes_of_ours_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        ended(lambda: 1 // 0)


def audit(monkeypatch, act):
    monkeypatch.setitem(theory.__main__.COMMANDS, "audit", (Audit, act))
    return theory.__main__.main(["audit"])


def experiment(monkeypatch, act):
    monkeypatch.setattr(bandits.command, "run_experiment", act)
    return bandits.__main__.main([])


def drawing(monkeypatch, act):
    monkeypatch.setattr(figures.__main__, "chosen", act)
    return figures.__main__.main(figures.__main__.Options(out=Path("out")))


def language(monkeypatch, act):
    pytest.importorskip("transformers", reason="needs the extra llm")
    from llm_bridge import __main__ as command
    from llm_bridge.commands import parsing

    monkeypatch.setattr(parsing, "act", act)
    monkeypatch.setattr(sys, "argv", ["llm_bridge", "reward"])
    return command.main()


@pytest.mark.parametrize("command", [audit, experiment, drawing, language])
def test_every_package_ends_so(command, monkeypatch, capfd):
    def kill(number):
        return lambda _: os.kill(os.getpid(), number)

    for act, status in ((kill(signal.SIGINT), 130), (kill(signal.SIGTERM), 143), (full, 2)):
        assert command(monkeypatch, act) == status
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith(("interrupted; ", "stopped on request; ", "error: `out` must be"))


@pytest.mark.parametrize(
    "arguments", [["--out", ""], ["--out="], ["solve", ""], ["--kl", "1", "--out", ""], [""]]
)
def test_empty_values_are_refused(arguments):
    with pytest.raises(InputError, match="given a value, got ''"):
        check_arguments(arguments)


def test_values_that_are_given_pass():
    check_arguments(["solve", "a.csv", "--out", ".", "--kl=0.1", "--", "-"])


@pytest.mark.parametrize(
    "arguments",
    [["--draws", "-1"], ["--draws", "5"], ["--seed", "-1"], ["--workers", "0"], ["--out", ""],
     ["--out", "x" * 300], ["--out", "/dev/null"], ["--only", "x" * 300]],
)  # fmt: skip
def test_an_audit_that_cannot_be_is_refused_before_it_begins(arguments, capfd):
    assert theory.__main__.main(["audit", *arguments]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: `{arguments[0].lstrip('-')}` must be")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_finds_no_room_and_output_that_nobody_reads():
    command = [sys.executable, "-m", "theory", "plan", "--variance-ratio", "2"]
    with Path("/dev/full").open("w") as out:
        found = subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True,
                               check=False)  # fmt: skip
    assert found.returncode == 2
    assert "standard output (No space left on device)" in found.stderr
    reader, writer = os.pipe()
    os.close(reader)
    found = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True,
                           check=False)  # fmt: skip
    os.close(writer)
    assert (found.returncode, found.stderr) == (141, "")
