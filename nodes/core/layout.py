"""What stands in the body of a message, field by field: the forms that engines declare, and the fields of one body.

Nothing is sent or read by these: they tell other programs, such as Wireshark, what an engine's own code packs, and the
tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

LENGTH_BYTES = 4
"""Of the length before a part."""

ENTRY_HEAD = (("entry_rank", 2), ("entry_life", 4), ("entry_place", 4))
"""What stands between the 0 and the value of an entry that was submitted (testbed.nodes.consensus.logs)."""


class Item(NamedTuple):
    """One thing in a body, and how it stands there.

    number: ``size`` bytes, unsigned, big-endian. pad: so many that say nothing. rest: all that is left. entry: the
    same, an entry of a log. sized: as many bytes as the number ``of`` before it said, with ``items`` in them, or as
    they are. part: the same, behind a length of its own. parts: such ones until the end. repeat: ``items``, until the
    end or as often as the number ``of`` said.
    """

    name: str
    form: str
    size: int = 0
    of: str = ""
    items: tuple[Item, ...] = ()


class Body(NamedTuple):
    """A kind of message: what it is called and what its body holds."""

    name: str
    items: tuple[Item, ...] = ()


Bodies = Mapping[int, Body]
"""By step; of engines that are made of swaps one, under 0, for every step."""

Fields = list[tuple[str, int | bytes]]


def number(name: str, size: int = 4) -> Item:
    """See Item."""
    return Item(name, "number", size)


def numbers(size: int, *names: str) -> tuple[Item, ...]:
    """Some of the same size."""
    return tuple(number(name, size) for name in names)


def pad(size: int) -> Item:
    """See Item."""
    return Item("", "pad", size)


def rest(name: str) -> Item:
    """See Item."""
    return Item(name, "rest")


def entry(name: str = "entry") -> Item:
    """See Item."""
    return Item(name, "entry")


def sized(name: str, of: str, *items: Item) -> Item:
    """See Item."""
    return Item(name, "sized", of=of, items=items)


def part(name: str, *items: Item) -> Item:
    """See Item."""
    return Item(name, "part", items=items)


def parts(name: str, *items: Item) -> Item:
    """See Item."""
    return Item(name, "parts", items=items)


def repeat(name: str, *items: Item, of: str = "") -> Item:
    """See Item."""
    return Item(name, "repeat", of=of, items=items)


def fields(items: tuple[Item, ...], data: bytes) -> Fields:
    """What stands in ``data``, in its order; of bytes only such as are any. Raises ValueError for what is no such body,
    or more."""
    found: Fields = []
    if _read(items, data, 0, len(data), found) != len(data):
        raise ValueError("more than its form has")
    return found


def _read(items: tuple[Item, ...], data: bytes, at: int, end: int, found: Fields) -> int:
    said: dict[str, int] = {}
    for item in items:
        match item.form:
            case "number":
                said[item.name] = _number(data, at, item.size, end)
                found.append((item.name, said[item.name]))
                at += item.size
            case "pad":
                at += item.size
            case "rest":
                found += [(item.name, data[at:end])] if at < end else []
                at = end
            case "entry":
                _read_entry(item.name, data, at, end, found)
                at = end
            case "sized":
                at = _read_whole(item, data, at, at + said[item.of], found)
            case "part":
                start = at + LENGTH_BYTES
                at = _read_whole(item, data, start, start + _number(data, at, LENGTH_BYTES, end), found)
            case "parts":
                while at < end:
                    start = at + LENGTH_BYTES
                    at = _read_whole(item, data, start, start + _number(data, at, LENGTH_BYTES, end), found)
            case "repeat":
                left = said[item.of] if item.of else -1
                while left if item.of else at < end:
                    at = _read(item.items, data, at, end, found)
                    left -= 1
        if at > end:
            raise ValueError("shorter than its form")
    return at


def _read_whole(item: Item, data: bytes, at: int, end: int, found: Fields) -> int:
    """What must be filled by its items, or is as it is."""
    if end > len(data):
        raise ValueError("shorter than its form")
    if item.items and at < end and _read(item.items, data, at, end, found) != end:
        raise ValueError("more than its form has")
    if not item.items and at < end:
        found.append((item.name, data[at:end]))
    return end


def _number(data: bytes, at: int, size: int, end: int) -> int:
    if at + size > end:
        raise ValueError("shorter than its form")
    return int.from_bytes(data[at : at + size], "big")


def _read_entry(name: str, data: bytes, at: int, end: int, found: Fields) -> None:
    if at >= end:
        return
    if data[at] != 0 or at + 1 + sum(size for _, size in ENTRY_HEAD) > end:
        found.append((name, data[at:end]))
        return
    at += 1
    for head, size in ENTRY_HEAD:
        found.append((head, int.from_bytes(data[at : at + size], "big")))
        at += size
    if at < end:
        found.append(("value", data[at:end]))
