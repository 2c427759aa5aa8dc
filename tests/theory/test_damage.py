"""Errors of readers, as sentences that name the file."""

import json
import zlib

import pytest

from theory.damage import readable
from theory.errors import InputError


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


@pytest.mark.parametrize(
    "error",
    [OSError("disk"), KeyError("name"), TypeError("kind"), EOFError(), zlib.error("bits"),
     json.JSONDecodeError("bad", "", 0), RecursionError("deep"), IndexError("far"),
     InputError("weights", "finite", "NaN"), UnicodeDecodeError("utf-8", b"x", 0, 1, "start")],
)  # fmt: skip
def test_whatever_goes_wrong_names_the_file(error, tmp_path):
    with pytest.raises(InputError) as told, readable(tmp_path / "it", "thing", "whole", "try"):
        raise error
    assert str(told.value).startswith(f"`thing` must be whole, got {tmp_path / 'it'} (")
    assert str(told.value).endswith("); try")
    assert "\n" not in str(told.value)


def test_an_error_that_names_the_file_stays_as_it_is(tmp_path):
    first = InputError("thing", "there", tmp_path)
    with pytest.raises(InputError) as told, readable(tmp_path, "other", "whole"):
        raise first
    assert told.value is first


def test_a_line_that_announces_the_next_is_told_with_it(tmp_path):
    error = RuntimeError("Error(s) in loading:\n\tsize mismatch for x\n\tfor y")
    with (
        pytest.raises(InputError, match=r"in loading: size mismatch for x\)"),
        readable(tmp_path, "weights", "whole"),
    ):
        raise error


@pytest.mark.parametrize("error", [MemoryError(), OutOfMemoryError(), KeyboardInterrupt()])
def test_what_says_nothing_about_the_file_passes(error):
    with pytest.raises(type(error)) as told, readable("it", "thing", "whole"):
        raise error
    assert told.value is error
