"""What objects remember of what they made."""

import copy
import gc
import pickle
import weakref
from dataclasses import dataclass, field, replace

import pytest

from theory.memory import Memory, identity


class Thing:
    """Can be referred to weakly."""


def test_a_thing_is_made_once_for_its_key_and_kind():
    memory, made = Memory(), []
    for kind, key in (("a", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 1)):
        memory.recall(kind, key, lambda: made.append(1))
    assert len(made) == 3


def test_what_was_not_used_longest_goes_first():
    memory, made = Memory(), []
    for key in (1, 2, 1, 3, 1, 2):
        memory.recall("kind", key, lambda key=key: made.append(key), size=2)
    assert made == [1, 2, 3, 2]


def test_nothing_outlives_its_owner():
    memory = Memory()
    thing = weakref.ref(memory.recall("kind", 1, Thing))
    gc.collect()
    assert thing() is not None
    del memory
    gc.collect()
    assert thing() is None


@dataclass(frozen=True)
class Owner:
    """Makes things of its number."""

    number: int
    within: "Owner | None" = None
    memory: Memory = field(default_factory=Memory, compare=False, repr=False)

    def thing(self):
        return self.memory.recall("thing", identity(self), Thing)


def test_an_owner_that_is_dropped_is_gone_with_its_things_at_once():
    """Without the collector of cycles: models are large."""
    gc.disable()
    try:
        owner = Owner(1, Owner(2))
        things = [weakref.ref(owner.thing()), weakref.ref(owner.within.thing())]
        del owner
        assert [thing() for thing in things] == [None, None]
    finally:
        gc.enable()


def test_changed_copies_share_a_memory_and_not_its_things():
    owner = Owner(1)
    assert replace(owner, number=1).thing() is owner.thing()
    assert replace(owner, number=2).thing() is not owner.thing()
    assert replace(owner, within=Owner(3)).thing() is not owner.thing()
    assert Owner(1).thing() is not owner.thing()


def test_what_is_no_value_stands_for_itself():
    @dataclass(eq=False)
    class Single:
        number: int

    one = Single(1)
    assert identity(one) is one
    assert identity(Single) is Single
    assert identity(Owner(1)) == identity(Owner(1)) != identity(Owner(2))


def test_memories_answer_for_themselves_alone():
    assert Memory().recall("kind", 1, lambda: "one") == "one"
    assert Memory().recall("kind", 1, lambda: "other") == "other"


def test_what_could_not_be_made_is_tried_again():
    memory = Memory()
    with pytest.raises(ZeroDivisionError):
        memory.recall("kind", 1, lambda: 1 / 0)
    assert memory.recall("kind", 1, lambda: 2) == 2


def test_copies_in_one_process_share():
    memory = Memory()
    assert pickle.loads(pickle.dumps(memory)) is memory
    assert copy.deepcopy(memory) is memory


def test_another_process_starts_empty_and_keeps_the_last_one_that_came():
    memory = Memory()
    memory.recall("kind", 1, lambda: "here")
    told, name = pickle.dumps(memory), memory.name
    del memory
    gc.collect()
    first = pickle.loads(told)
    assert first.recall("kind", 1, lambda: "there") == "there"
    assert first.name == name
    del first
    gc.collect()
    assert pickle.loads(told).recall("kind", 1, lambda: "again") == "there"
