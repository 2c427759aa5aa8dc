"""Files are whole, left-overs go, one writer a folder."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from theory import files
from theory.errors import InputError


def test_text_is_written_byte_for_byte(tmp_path):
    path = files.write_text(tmp_path / "a.txt", "α\r\nb\n\r")
    assert path.read_bytes() == "α\r\nb\n\r".encode()


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = files.write_text(tmp_path / "a.txt", "old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        files.write(path, fail)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "old")]


@pytest.mark.parametrize("name", [".{}-7.rows.csv", ".{node}~{}-7.state.pt"])
def test_temporary_files_of_killed_processes_are_swept(tmp_path, name):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    node = files.NODE
    left = tmp_path / name.format(gone, node=node)
    others = [
        tmp_path / name.format(os.getpid(), node=node),
        tmp_path / f".elsewhere~{gone}-7.rows.csv",
        tmp_path / ".gitignore",
        tmp_path / "12-7.rows.csv",
    ]
    for path in (left, *others):
        path.write_text("x")
    files.output_folder(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(others)


def _count(folder: Path, times: int) -> None:
    for _ in range(times):
        with files.locked(folder):
            path = folder / "count"
            before = int(path.read_text()) if path.exists() else 0
            files.write_text(path, str(before + 1))


def test_read_modify_write_under_a_lock_loses_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count, args=(tmp_path, 20)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "60"


def test_a_held_folder_is_refused_by_name(tmp_path):
    with files.locked(tmp_path), files.locked(tmp_path, wait=0):
        holder = "from pathlib import Path; from theory import files; import sys\n" \
                 "with files.locked(Path(sys.argv[1]), wait=0): pass"  # fmt: skip
        found = subprocess.run(
            [sys.executable, "-c", holder, str(tmp_path)],
            capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
        )  # fmt: skip
    assert found.returncode
    assert "no other process is at work" in found.stderr
    with files.locked(tmp_path, wait=0):
        pass


def test_a_folder_that_cannot_be_written_names_the_option(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cache.*--cache"):
        files.output_folder(tmp_path / "file", argument="cache", option="--cache")
