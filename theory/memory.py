"""What an object has made already, kept by the object itself: it goes when the object goes."""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from threading import RLock
from typing import Any, TypeVar
from uuid import uuid4
from weakref import WeakValueDictionary

T = TypeVar("T")


class Memory:
    """Things that were made, by what they were made of; those that were not used longest go first.

    An object that makes things has one, which its changed copies (`dataclasses.replace`) share: so
    a thing goes by a key that holds all that it depends on, see `identity`. Other processes get an
    empty one, and copies that they get of the same object share that.

    >>> memory = Memory()
    >>> memory.recall("square", 3, lambda: 3**2), memory.recall("square", 3, lambda: 0)
    (9, 9)
    """

    name: str
    """By which another process finds it again."""

    def __init__(self) -> None:
        self.name = uuid4().hex
        self._start()

    def _start(self) -> None:
        self._kinds: dict[str, OrderedDict[Hashable, Any]] = {}
        self._lock = RLock()
        _LIVING[self.name] = self

    def recall(self, kind: str, key: Hashable, make: Callable[[], T], *, size: int = 2) -> T:
        """Return what was made of this key, or make it now; of a kind `size` things are kept."""
        with self._lock:
            kept = self._kinds.setdefault(kind, OrderedDict())
            if key not in kept:
                made = make()
                while len(kept) >= size:
                    kept.popitem(last=False)
                kept[key] = made
            kept.move_to_end(key)
            return kept[key]

    def __reduce__(self) -> tuple[Callable[[str], "Memory"], tuple[str]]:
        return _living, (self.name,)


def identity(owner: Any) -> Hashable:
    """Return what makes a dataclass equal to another, without the object, to serve as a key.

    A memory whose keys held its owner would keep it alive. Other objects stand for themselves.
    """
    if (
        not is_dataclass(owner)
        or isinstance(owner, type)
        or type(owner).__hash__ is object.__hash__
    ):
        return owner
    values = (getattr(owner, field.name) for field in fields(owner) if field.compare)
    return type(owner), *map(identity, values)


_LIVING: WeakValueDictionary[str, Memory] = WeakValueDictionary()
_LAST: deque[Memory] = deque(maxlen=1)
"""The one that arrived last from another process: tasks of one object often follow each other."""


def _living(name: str) -> Memory:
    """The memory of that name, empty where it is another process's."""
    found = _LIVING.get(name)
    if found is None:
        found = Memory.__new__(Memory)
        found.name = name
        found._start()
        _LAST.append(found)
    return found
