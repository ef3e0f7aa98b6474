"""Byzantine nodes: what a node says that its machine did not say so. The machine is honest, and knows of nothing.

A node's lies are data at its birth. They are told in one place, between the machine's effects and their being done
(testbed.nodes.core.driver), so that they mean the same in every engine. Channels are authenticated: a liar speaks in
its own name, with frames numbered as ever. No clock, no socket, no random source: equal lies are told alike in every
run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from testbed.nodes.core import Effect, Effects, Port, Send, SetTimer
from testbed.nodes.core.moments import Moment
from testbed.nodes.frames import Message


class LieKind(StrEnum):
    """What a lie is. Those of VALUES need the engine's own way to falsify a message."""

    EQUIVOCATE = "equivocate"  # says different things to different peers
    WITHHOLD = "withhold"  # says nothing to some
    WRONG_VALUE = "wrong_value"  # says the same wrong thing to all
    REPLAY = "replay"  # says an old thing again, in a new frame, behind each thing that it says
    DELAY = "delay"  # says it later
    SILENT = "silent"  # says nothing to anybody


VALUES = (LieKind.EQUIVOCATE, LieKind.WRONG_VALUE)

FOREVER_NS = 1 << 62

Falsify = Callable[[Message, int], Message | None]
"""A message, and which other value it is to tell (1, 2, ..; equal numbers tell equal ones) -> another well-formed
message, or None when it tells no value."""


@dataclass(frozen=True, slots=True)
class Lie:
    """One lie of a node. to: node numbers of the peers that it is told to; empty: all. It is told from ``from_ns`` to
    just before ``until_ns`` on the run's clock; with a moment (of this node, in each of its lives anew), from
    ``after_ns`` after that on, for ``for_ns``. by_ns: how much later, for DELAY."""

    kind: LieKind
    to: tuple[int, ...] = ()
    from_ns: int = -FOREVER_NS
    until_ns: int = FOREVER_NS
    moment: Moment | None = None
    after_ns: int = 0
    for_ns: int = FOREVER_NS
    by_ns: int = 0

    @staticmethod
    def from_json(data: dict[str, Any]) -> Lie:
        """The inverse of ``dataclasses.asdict``."""
        moment = Moment.from_json(data["moment"]) if data["moment"] else None
        return Lie(**{**data, "kind": LieKind(data["kind"]), "to": tuple(data["to"]), "moment": moment})


class Lied(NamedTuple):
    """A lie was told to node number ``dst``, in place of a message of ``round`` and ``step`` or behind it; what was
    sent then, if anything, stands behind this."""

    kind: LieKind
    dst: int
    round: int
    step: int


_TIMER = "driver lie "  # no machine's timers begin with this


@dataclass(slots=True)
class _Said:
    """What was said to one peer: the latest message, and the last one about a round before it."""

    latest: Message | None = None
    old: Message | None = None


@dataclass(slots=True)
class Liar:
    """Tells the lies of one life of a node. peers: node numbers by port. A life's end ends what it holds back."""

    lies: Sequence[Lie]
    peers: Sequence[int]
    falsify: Falsify
    _spans: list[tuple[int, int]] = field(init=False)
    _said: list[_Said] = field(init=False)
    _held: dict[str, Effects] = field(init=False, default_factory=dict)
    _settled: Effects | None = field(init=False, default=None)  # about which all lies have been told
    _count: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._spans = [(lie.from_ns, lie.until_ns) if lie.moment is None else (0, 0) for lie in self.lies]
        self._said = [_Said() for _ in self.peers]

    def moments(self) -> list[Moment]:
        """Those at which lies begin; a lie's index is told by a negative one."""
        return [replace(lie.moment, index=~place) for place, lie in enumerate(self.lies) if lie.moment is not None]

    def begin(self, moment: Moment, now_ns: int) -> None:
        """A lie's moment has come."""
        lie = self.lies[~moment.index]
        self._spans[~moment.index] = (now_ns + lie.after_ns, now_ns + lie.after_ns + lie.for_ns)

    def released(self, timer: str) -> Effects | None:
        """What is to be said now that ``timer`` has run out; None: it is the machine's."""
        self._settled = self._held.pop(timer, None)
        return self._settled

    def twisted(self, effects: Effects, now_ns: int) -> Iterator[Effect | Lied]:
        """What the node does in place of what its machine wants done. Taken one by one: what was done before may be the
        moment at which a lie begins."""
        for effect in effects:
            if isinstance(effect, Send) and effects is not self._settled:
                yield from self._say(effect, now_ns)
            else:
                yield effect

    # -- inside ------------------------------------------------------------------------------------------------------

    def _say(self, send: Send, now_ns: int) -> Iterator[Effect | Lied]:
        port, message = send
        lies = self._told_now(port, now_ns)
        for lie in lies:
            if lie.kind in (LieKind.SILENT, LieKind.WITHHOLD):
                yield self._lied(lie, port, message)
                return
        for lie in lies:
            false = self._falsified(lie, port, message)
            if false is not None:
                yield self._lied(lie, port, message)
                message = false
        said = self._said[port]
        if said.latest is not None and said.latest.round < message.round:
            said.old = said.latest
        said.latest = message
        words: Effects = [Send(port, message)]
        for lie in lies:
            if lie.kind is LieKind.REPLAY and said.old is not None:
                yield self._lied(lie, port, said.old)
                words.append(Send(port, said.old))
        by_ns = max((lie.by_ns for lie in lies if lie.kind is LieKind.DELAY), default=0)
        if by_ns == 0:
            yield from words
            return
        yield from (self._lied(lie, port, message) for lie in lies if lie.kind is LieKind.DELAY)
        self._count += 1
        name = f"{_TIMER}{self._count}"
        self._held[name] = words
        yield SetTimer(name, now_ns + by_ns)

    def _told_now(self, port: Port, now_ns: int) -> list[Lie]:
        peer = self.peers[port]
        return [
            lie
            for lie, (since_ns, until_ns) in zip(self.lies, self._spans, strict=True)
            if since_ns <= now_ns < until_ns and (not lie.to or peer in lie.to)
        ]

    def _falsified(self, lie: Lie, port: Port, message: Message) -> Message | None:
        """What is said in place of ``message``; None: that. Who equivocates towards some says the truth to the others,
        who does towards all, to the first peer only."""
        if lie.kind not in VALUES:
            return None
        which = port if lie.kind is LieKind.EQUIVOCATE and not lie.to else 1
        false = self.falsify(message, which) if which else None
        return None if false == message else false

    def _lied(self, lie: Lie, port: Port, message: Message) -> Lied:
        return Lied(lie.kind, self.peers[port], message.round, message.step)
