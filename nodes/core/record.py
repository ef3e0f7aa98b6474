"""What a history is made of: every kind of thing that can be recorded of a node, and the columns of each kind.

An effect is recorded as itself; what happens to a node besides has a kind of its own here. The agent's journal, the
simulator, the files of a run and the verdicts share these kinds. Columns follow from a kind's annotations: nested
tuples are flattened (``swap: SwapId`` gives swap_round, swap_low, swap_high), so that a new kind is its class and its
place in ``KINDS``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple, get_args, get_type_hints

from testbed.nodes.core import (
    Apply,
    Decide,
    Effect,
    Install,
    Invoke,
    Note,
    Propose,
    Resolve,
    Return,
    RoundStart,
    SwapId,
    Transition,
    swap_id,
)
from testbed.nodes.core.lies import Lied
from testbed.nodes.frames import NO_ENDS, WIRE_BYTES, Frame, FrameKey


class Started(NamedTuple):
    """The node came up, with the state of its last life or without. told_ns: the time that its machine was told."""

    kept: bool
    told_ns: int


KILLED, DISK_FULL = "killed", "disk full"
"""Why lives end."""


class Died(NamedTuple):
    """The node's life ended; what it does later belongs to another. why: a fault ended it (KILLED), or it could not
    write what it had to (DISK_FULL)."""

    why: str = KILLED


class Sent(NamedTuple):
    """A frame was handed to the NIC, for node number ``dst``. size: its bytes, where software sees them. ends: of the
    swap that it carries for two nodes (testbed.nodes.frames.ends_of)."""

    key: FrameKey
    dst: int
    round: int
    step: int
    size: int = WIRE_BYTES
    ends: int = NO_ENDS

    @property
    def swap(self) -> SwapId:
        """The swap that it is about, where it is about one."""
        if self.ends == NO_ENDS:
            return swap_id(self.round, self.key.src, self.dst)
        return SwapId(self.round, self.ends >> 16, self.ends & 0xFFFF)


class Received(NamedTuple):
    """A frame was handed to the machine. at_ns: the stamp of its arrival at the NIC; the event's time is when the node
    acted on it."""

    key: FrameKey
    round: int
    step: int
    at_ns: int


class Dropped(NamedTuple):
    """A frame arrived that was not for the machine. why: FrameError.reason, or ``foreign``. An unreadable one has no
    key, and -1 for its round and step."""

    why: str
    key: FrameKey | None
    round: int
    step: int
    at_ns: int


class Refused(NamedTuple):
    """The operating system refused to send a frame. why: the error's name, as ENOBUFS."""

    why: str
    key: FrameKey
    dst: int
    round: int
    step: int


class Overrun(NamedTuple):
    """The NIC's ring was full and lost so many frames, before the one that was stamped at ``at_ns``."""

    frames: int
    at_ns: int


class TimerFired(NamedTuple):
    """A timer fired that was due at ``due_ns``; the event's time minus that is its lag."""

    name: str
    due_ns: int


class Struck(NamedTuple):
    """Fault number ``fault`` of the plan struck; the event's node is its target, if it has one."""

    fault: int
    verb: str


class Noted(NamedTuple):
    """The effect Note, with the frame that it concerns by its key."""

    what: str
    round: int
    text: str
    key: FrameKey | None
    step: int


What = (
    Started
    | Died
    | Sent
    | Received
    | Dropped
    | Refused
    | Overrun
    | TimerFired
    | Struck
    | Noted
    | Lied
    | Transition
    | Resolve
    | Propose
    | Decide
    | RoundStart
    | Apply
    | Invoke
    | Return
    | Install
)
KINDS: tuple[type[What], ...] = get_args(What)


def recorded(effect: Effect | Lied) -> What:
    """What the history keeps of an effect that is recorded: the effect, but of a note's frame the key alone."""
    if isinstance(effect, Note):
        what, round_, text, about = effect
        if isinstance(about, Frame):
            return Noted(what, round_, text, about.key, about.message.step)
        return Noted(what, round_, text, None, -1 if about is None else about.step)
    return effect  # type: ignore[return-value]  # Send and timers are performed, not recorded


_NO_TUPLE = -1
"""What stands in every column of a nested tuple that is None."""


class Column(NamedTuple):
    """One column of a kind. holds: int, bool, str or bytes."""

    name: str
    holds: type


class Part(NamedTuple):
    """One field of a kind: the columns it fills, the nested tuple that they make (None: none, and there is one column),
    and what makes the field's value of a column's."""

    columns: tuple[Column, ...]
    nested: Callable[..., Any] | None
    value: Callable[[Any], Any] | None = None


class Schema(NamedTuple):
    """The columns of a kind. name: what files and journals call it (``timer_fired``). nested: the places of the fields
    that are nested tuples, the last one first, and what stands in their columns when they are None."""

    kind: Callable[..., What]
    name: str
    parts: tuple[Part, ...]
    columns: tuple[Column, ...]
    nested: tuple[tuple[int, tuple[int, ...]], ...]

    def flat(self, what: What) -> list[Any]:
        """The values of the columns."""
        row: list[Any] = list(what)
        for place, missing in self.nested:  # from the end, so that the places before it stay right
            value = row[place]
            row[place : place + 1] = missing if value is None else value
        return row

    def paths(self) -> list[tuple[int, ...]]:
        """Where in one of the kind each column's value is: the place of its field and, in a nested tuple, its place
        there."""
        return [
            (field,) if part.nested is None else (field, place)
            for field, part in enumerate(self.parts)
            for place in range(len(part.columns))
        ]

    def whats(self, columns: Sequence[Sequence[Any]], rows: int) -> Iterator[Any]:
        """The inverse of ``flat`` for columns of many: ``rows`` of this kind."""
        fields: list[Iterator[Any]] = []
        at = 0
        for part in self.parts:
            here = columns[at : at + len(part.columns)]
            at += len(part.columns)
            fields.append(_fields(part, here))
        if not fields:
            return iter([self.kind()] * rows)
        return map(self.kind, *fields)


def _fields(part: Part, columns: Sequence[Sequence[Any]]) -> Iterator[Any]:
    if part.nested is None:
        return iter(columns[0]) if part.value is None else map(part.value, columns[0])
    nested = part.nested
    return (None if row[0] == _NO_TUPLE else nested(*row) for row in zip(*columns, strict=True))


_known: dict[type[Any], Schema] = {}


def schema(kind: type[What]) -> Schema:
    """The columns of ``kind``, from its annotations. Raises TypeError for a field that has no form as columns."""
    if kind not in _known:
        parts = tuple(_part(kind, name, hint) for name, hint in get_type_hints(kind).items())
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
        nested = [
            (place, (_NO_TUPLE,) * len(part.columns)) for place, part in enumerate(parts) if part.nested is not None
        ]
        columns = tuple(column for part in parts for column in part.columns)
        _known[kind] = Schema(kind, name, parts, columns, tuple(reversed(nested)))
    return _known[kind]


def _part(kind: type, name: str, hint: Any) -> Part:
    if hint in (int, bool, str, bytes):
        return Part((Column(name, hint),), None)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return Part((Column(name, str),), None, {str(member): member for member in hint}.__getitem__)
    inner = [choice for choice in get_args(hint) if choice is not type(None)] or [hint]
    nested = inner[0]
    if len(inner) == 1 and isinstance(nested, type) and hasattr(nested, "_fields"):
        hints = get_type_hints(nested)
        if set(hints.values()) == {int}:
            return Part(tuple(Column(f"{name}_{field}", int) for field in hints), nested)
    raise TypeError(f"{kind.__name__}.{name}: {hint} has no form as columns")


@cache
def kind_named(name: str) -> type[What]:
    """The inverse of ``Schema.name``. Raises KeyError."""
    return {schema(kind).name: kind for kind in KINDS}[name]
