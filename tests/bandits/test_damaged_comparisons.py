"""Files of comparisons after accidents: what the file says, or a refusal."""

from bandits.preferences import Preferences
from tests.mutations import TEXT, accidents, number, strictly_read
from theory.errors import InputError

DATA = b"""prompt,chosen,rejected,by
0,1,2,"a, b"
1,0,2,NA
1,2.0,1e0,
12,10,-1,x
"""


def comparisons(rows):
    names = ("prompt", "chosen", "rejected")
    if rows is None or (rows and not set(names) <= set(rows[0])):
        return None
    found = [tuple(number(row[name]) for name in names) for row in rows]
    whole = all(cell is not None and cell % 1 == 0 for row in found for cell in row)
    return tuple(tuple(map(int, row)) for row in found) if whole else None


def test_what_the_file_says_or_a_refusal(tmp_path):
    """Some 400 accidents; a strict reader of the same bytes knows the right answer."""
    accepted = total = 0
    for ending, name, changed in accidents(DATA, each=17):
        path, total = tmp_path / f"pairs{ending}", total + 1
        path.write_bytes(changed)
        wanted = comparisons(strictly_read(ending, changed))
        try:
            found = Preferences.read(path).given
        except InputError:
            continue
        assert wanted is not None, name
        assert found == wanted, name
        accepted += 1
    assert 30 < accepted < total - 100
    assert total == 17 * (len(TEXT) + 6)
