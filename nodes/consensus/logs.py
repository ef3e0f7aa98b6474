"""What the engines share that keep a log: submissions on their way, each told once, the log cut short, lives of nodes.

An engine fills slots, one after another, with entries: what was submitted at some member, or something of its own (a
no-op, a change of members). The holder is told of the first alone, each once, and counts them (its index); slots are
the engine's and this module's affair.

A submission has an id: the rank and life of who submitted it, and its place in that life. It is handed to whoever
leads, again when that is another one, and again when it is not told in time; so it may stand in several slots, and
counts in the first. What is pending here is lost with the life. So a log that was cut short is a state of the holder,
the number of entries that it stands for, and which submissions they were: the base.

Of an engine that keeps it on its disk (LogMachine), what an event changes is persisted before anything that comes of it
is said: the vows of the engine, slots, the base.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from testbed.nodes.core import (
    CONFIRMED,
    Decide,
    Effects,
    Install,
    Life,
    Note,
    Port,
    Propose,
    Readable,
    Send,
    SetTimer,
    layout,
    values,
)
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import Written, pack, unpack
from testbed.nodes.frames import Kind, Message

LOG_STEPS = 112
"""Steps below this one are the engine's own, those from it on this module's (up to testbed.nodes.services'
ENGINE_STEPS)."""


class Step(IntEnum):
    """A message's type; its ``round`` is the term that its sender is in."""

    SUBMIT = 112  # to whoever leads: an entry to put in order
    READ = 113  # to whoever leads: when may I read? A ticket
    READ_AT = 114  # the answer: a slot, and the ticket


# -- entries ----------------------------------------------------------------------------------------------------------

_SUBMITTED, _OWN = 0, 1
_ENTRY = struct.Struct("!BHII")  # _SUBMITTED, rank, life, place in it
NOOP = bytes([_OWN])
"""An entry of the engine's own that says nothing."""


class Submission(NamedTuple):
    """One of ``sequence`` 0, 1, .. in life ``epoch`` of the member with this ``rank``."""

    rank: int
    epoch: int
    sequence: int
    value: bytes

    def entry(self) -> bytes:
        """As it stands in a slot."""
        return _ENTRY.pack(_SUBMITTED, self.rank, self.epoch, self.sequence) + self.value


def own_entry(data: bytes) -> bytes:
    """An entry that the holder is never told of: what an engine puts into its log besides submissions."""
    return NOOP + data


def submission(entry: bytes) -> Submission | None:
    """What was submitted; None: an entry of the engine's own, or bytes that are none at all."""
    if len(entry) < _ENTRY.size or entry[0] != _SUBMITTED:
        return None
    _, rank, epoch, sequence = _ENTRY.unpack_from(entry)
    return Submission(rank, epoch, sequence, entry[_ENTRY.size :])


_TICKET_FORM = (layout.number("life"), layout.number("read", 8), layout.number("mode", 1))
BODIES: layout.Bodies = {
    Step.SUBMIT: layout.Body("submit", (layout.entry(),)),
    Step.READ: layout.Body("read", _TICKET_FORM),
    Step.READ_AT: layout.Body("read_at", (layout.number("slot", 8), *_TICKET_FORM)),
}
BASE = (layout.part("base", *layout.numbers(8, "slot", "index")), layout.part("seen"), layout.part("state"))
"""What stands in a base: see Base."""

# -- bytes ------------------------------------------------------------------------------------------------------------

_LENGTH = struct.Struct("!I")


def pack_parts(parts: Iterable[bytes]) -> bytes:
    """Any number of parts, one behind the other, each with its length."""
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def read_parts(data: bytes) -> list[bytes] | None:
    """The inverse; None for bytes that are no such parts."""
    parts, at = [], 0
    while at < len(data):
        if at + _LENGTH.size > len(data):
            return None
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + length
        if at > len(data):
            return None
        parts.append(data[at - length : at])
    return parts


# -- what was told ----------------------------------------------------------------------------------------------------


_LIFE = struct.Struct("!HII")  # rank, life, floor


class Seen:
    """Which submissions have been told: of each life all below a floor, and some beyond."""

    def __init__(self) -> None:
        self.floors: dict[tuple[int, int], int] = {}
        self.beyond: dict[tuple[int, int], set[int]] = {}

    def has(self, one: Submission) -> bool:
        """Whether it has been told."""
        life = one.rank, one.epoch
        return one.sequence < self.floors.get(life, 0) or one.sequence in self.beyond.get(life, ())

    def add(self, one: Submission) -> None:
        """It is told now."""
        life = one.rank, one.epoch
        beyond = self.beyond.setdefault(life, set())
        beyond.add(one.sequence)
        floor = self.floors.get(life, 0)
        while floor in beyond:
            beyond.remove(floor)
            floor += 1
        self.floors[life] = floor

    def pack(self) -> bytes:
        """All of it."""
        return pack_parts(
            _LIFE.pack(*life, floor) + b"".join(map(_LENGTH.pack, sorted(self.beyond[life])))
            for life, floor in sorted(self.floors.items())
        )

    @classmethod
    def read(cls, data: bytes) -> Seen | None:
        """The inverse; None for bytes that are none."""
        seen, lives = cls(), read_parts(data)
        if lives is None or any(len(life) < _LIFE.size or (len(life) - _LIFE.size) % 4 for life in lives):
            return None
        for life in lives:
            rank, epoch, floor = _LIFE.unpack_from(life)
            seen.floors[rank, epoch] = floor
            seen.beyond[rank, epoch] = {number for (number,) in _LENGTH.iter_unpack(life[_LIFE.size :])}
        return seen


_BASE = struct.Struct("!QQ")


class Base(NamedTuple):
    """What stands for all slots below ``slot``: the holder's ``state``, which is made of ``told`` entries; and which
    submissions these were."""

    slot: int
    told: int
    seen: bytes
    state: bytes

    def pack(self) -> bytes:
        """As it is kept, and sent to who lacks it."""
        return pack_parts((_BASE.pack(self.slot, self.told), self.seen, self.state))


def read_base(data: bytes) -> Base | None:
    """The inverse of Base.pack; None for bytes that are none."""
    parts = read_parts(data)
    if parts is None or len(parts) != 3 or len(parts[0]) != _BASE.size or Seen.read(parts[1]) is None:
        return None
    slot, told = _BASE.unpack(parts[0])
    return Base(slot, told, parts[1], parts[2])


# -- the frame --------------------------------------------------------------------------------------------------------

_BASE_KEY, _VOWS, _SLOT = "base", "vows", "slot"  # the keys on the disk, the last with a number behind it
_AGAIN = "again"
_TICKET = struct.Struct("!IQB")  # life of the reader, its number, the mode
_SLOT_NUMBER = struct.Struct("!Q")


class Reading(NamedTuple):
    """A read that waits: its ticket, and from which slot on it may be answered (None: not known yet)."""

    ticket: bytes
    slot: int | None = None


class VolatileLog(ABC):
    """The frame of an engine that keeps a log (testbed.nodes.core.Log), and nothing of it on a disk.

    Its messages are DATA, ``round`` the term and ``step`` (below LOG_STEPS) the type. Its timers may have any name but
    ``again``. term: the highest that this node knows of. slot: the first that has not been told here; the engine calls
    ``tell`` for one after another.
    """

    def __init__(self, config: NodeConfig, patience: int) -> None:
        self.config = config
        self.rank = config.members.index(config.node)
        self.ports = config.member_ports()
        self.again_ns = patience * config.protocol.retry_ns
        self.term = 0
        self.slot = 0
        self.told = 0
        self.seen = Seen()
        self.base = Base(0, 0, b"", b"")
        self.base_data: bytes | None = None  # the same, packed, once there is one
        self.submitted = 0
        self.pending: dict[int, bytes] = {}  # of this life's submissions, those not told: place -> entry
        self.reading: dict[int, Reading] = {}
        self.handed_to: int | None = None  # who leads and has been told of all that is pending
        self.taken: set[tuple[int, int, int]] = set()  # ids put in order since this node leads

    # -- what an engine adds -----------------------------------------------------------------------------------------

    @abstractmethod
    def begin(self, now_ns: int) -> Effects:
        """The node comes up with nothing: in its first life, or in a later one that knows of no earlier."""

    @abstractmethod
    def receive(self, src: int, message: Message, now_ns: int) -> Effects:
        """Member ``src`` said something to the engine."""

    @abstractmethod
    def expire(self, name: str, now_ns: int) -> Effects:
        """A timer of the engine is due."""

    @abstractmethod
    def leader(self) -> int | None:
        """Who puts entries in order, as far as is known here: maybe this node. None: nobody that is known."""

    @abstractmethod
    def append(self, entry: bytes, now_ns: int) -> Effects:
        """This node leads: put ``entry`` into the next slot."""

    @abstractmethod
    def confirm(self, reader: int, ticket: bytes, mode: str, now_ns: int) -> Effects:
        """This node leads, and member ``reader`` (maybe this one) wants to read: ``answer_read`` with the first slot
        that was not decided when it asked, once it is certain, as ``mode`` has it, that nobody led after this node
        before that. One of which that never gets certain is dropped; it is asked for again."""

    @abstractmethod
    def forget(self) -> Iterable[int]:
        """What is below ``self.base.slot`` is needed no more. The slots of which something was known."""

    # -- events ------------------------------------------------------------------------------------------------------

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:  # noqa: ARG002 - there is nothing on it
        """All is to come."""
        return self._done(self.begin(now_ns), now_ns)

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:  # noqa: ARG002
        """What is not for this machine is noted and dropped."""
        src = self.config.peers[port].node
        if message.kind is not Kind.DATA or src not in self.ports:
            return [Note("stray", message.round, "no message of this engine, or not from a member", message)]
        if message.step < LOG_STEPS:
            return self._done(self.receive(src, message, now_ns), now_ns)
        return self._done(self._asked(src, message, now_ns), now_ns)

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """``again``: hand over what is still pending. Others are the engine's."""
        if name != _AGAIN:
            return self._done(self.expire(name, now_ns), now_ns)
        self.handed_to = None
        return self._done([self._await(now_ns)] if self._waits else [], now_ns)

    def submit(self, value: bytes, now_ns: int) -> Effects:
        """It is handed to whoever leads, at once if that is known.

        That it was submitted is told first: a life that ends when its entry is on the disk must not leave one of which
        nobody knows where it came from.
        """
        place, first = self.submitted, not self._waits
        self.submitted += 1
        self.pending[place] = Submission(self.rank, self.config.epoch, place, value).entry()
        effects: Effects = [self._await(now_ns)] if first else []
        if self.handed_to is not None and self.handed_to == self.leader():
            effects += self._hand_over(self.pending[place], now_ns)
        return [Propose(place, value), *self._done(effects, now_ns)]

    def compact(self, index: int, state: bytes, now_ns: int) -> Effects:
        """Slots that were told are forgotten."""
        if index != self.told:
            raise ValueError(f"a state of {index} entries can't stand for the {self.told} that were told")
        self._rebase(Base(self.slot, self.told, self.seen.pack(), state))
        return self._done([], now_ns)

    def read(self, number: int, mode: str, now_ns: int) -> Effects:
        """Whoever leads is asked, at once if that is known."""
        first = not self._waits
        reading = self.reading[number] = Reading(
            _TICKET.pack(self.config.epoch, number, CONFIRMED.index(mode)),
        )
        effects: Effects = [self._await(now_ns)] if first else []
        if self.handed_to is not None and self.handed_to == self.leader():
            effects += self._ask_to_read(reading.ticket, now_ns)
        return self._done(effects, now_ns)

    # -- for the engine ----------------------------------------------------------------------------------------------

    def send(self, peer: int, term: int, step: int, body: bytes) -> Send:
        """A message to another member."""
        return Send(self.ports[peer], Message(Kind.DATA, term, step, body))

    def tell(self, entry: bytes, term: int) -> Effects:
        """``entry`` is decided in ``self.slot``, brought there in ``term``."""
        self.slot += 1
        one = submission(entry)
        if one is None or one.rank >= self.config.n or self.seen.has(one):
            return []
        self.seen.add(one)
        if (one.rank, one.epoch) == (self.rank, self.config.epoch):
            self.pending.pop(one.sequence, None)
        self.told += 1
        return [Decide(self.told - 1, one.value, term)]

    def take_on(self, data: bytes) -> Effects:
        """Another's base (or an earlier life's), where it reaches further than what was told here."""
        base = read_base(data)
        if base is None or base.slot <= self.slot:
            return []
        seen = Seen.read(base.seen)
        assert seen is not None, "read_base has read it"
        self.slot, self.told, self.seen = base.slot, base.told, seen
        for place, entry in tuple(self.pending.items()):
            one = submission(entry)
            if one is not None and seen.has(one):
                del self.pending[place]
        self._rebase(base)
        return [Install(base.told, base.state)]

    def answer_read(self, reader: int, ticket: bytes, slot: int) -> Effects:
        """Who asked with ``ticket`` may read what comes of the slots below ``slot``."""
        if reader != self.config.node:
            return [self.send(reader, self.term, Step.READ_AT, _SLOT_NUMBER.pack(slot) + ticket)]
        self._may_read(ticket, slot)
        return []

    # -- inside ------------------------------------------------------------------------------------------------------

    @property
    def _waits(self) -> bool:
        return bool(self.pending or self.reading)

    def _await(self, now_ns: int) -> SetTimer:
        return SetTimer(_AGAIN, now_ns + self.again_ns)

    def _done(self, effects: Effects, now_ns: int) -> Effects:
        """The effects of an event, and what comes of them: a new leader is told what is pending, reads are answered."""
        return [*effects, *self._follow(now_ns), *self._answered()]

    def _follow(self, now_ns: int) -> Effects:
        leader = self.leader()
        if leader != self.config.node:
            self.taken.clear()
        if leader == self.handed_to:
            return []
        self.handed_to = leader
        effects: Effects = []
        if leader is not None:
            for entry in tuple(self.pending.values()):
                effects += self._hand_over(entry, now_ns)
            for _, reading in sorted(self.reading.items()):
                if reading.slot is None:
                    effects += self._ask_to_read(reading.ticket, now_ns)
        return effects

    def _hand_over(self, entry: bytes, now_ns: int) -> Effects:
        if self.handed_to == self.config.node:
            return self._take(entry, now_ns)
        assert self.handed_to is not None
        return [self.send(self.handed_to, self.term, Step.SUBMIT, entry)]

    def _take(self, entry: bytes, now_ns: int) -> Effects:
        """This node leads: an entry is put in order once."""
        one = submission(entry)
        if one is None or self.seen.has(one) or one[:3] in self.taken:
            return []
        self.taken.add(one[:3])
        return self.append(entry, now_ns)

    def _ask_to_read(self, ticket: bytes, now_ns: int) -> Effects:
        if self.handed_to == self.config.node:
            return self.confirm(self.config.node, ticket, CONFIRMED[_TICKET.unpack(ticket)[2]], now_ns)
        assert self.handed_to is not None
        return [self.send(self.handed_to, self.term, Step.READ, ticket)]

    def _asked(self, src: int, message: Message, now_ns: int) -> Effects:
        body = message.body
        if message.step == Step.READ_AT and len(body) == _SLOT_NUMBER.size + _TICKET.size:
            self._may_read(body[_SLOT_NUMBER.size :], _SLOT_NUMBER.unpack_from(body)[0])
            return []
        if message.step == Step.READ and len(body) == _TICKET.size and body[-1] < len(CONFIRMED):
            leads = self.leader() == self.config.node
            return self.confirm(src, body, CONFIRMED[body[-1]], now_ns) if leads else []
        if message.step == Step.SUBMIT and submission(body) is not None:
            return self._take(body, now_ns) if self.leader() == self.config.node else []
        return [Note("stray", message.round, "no message of this engine", message)]

    def _may_read(self, ticket: bytes, slot: int) -> None:
        epoch, number, _ = _TICKET.unpack(ticket)
        if epoch == self.config.epoch and number in self.reading and self.reading[number].slot is None:
            self.reading[number] = Reading(ticket, slot)

    def _answered(self) -> Effects:
        ready = [number for number, (_, slot) in self.reading.items() if slot is not None and slot <= self.slot]
        for number in ready:
            del self.reading[number]
        return [Readable(number, self.told) for number in ready]

    def _rebase(self, base: Base) -> Iterable[int]:
        """The slots that are forgotten for it."""
        self.base, self.base_data = base, base.pack()
        return self.forget()


Vows = tuple[Any, ...]


class LogMachine(VolatileLog):
    """The frame of an engine that keeps its log, and its vows, on its disk.

    touched: slots of which what must be kept has changed in this event. learns_only: what earlier lives did is not
    known any more: the engine may vouch for nothing. vowed: the vows when they were looked at last; vows_data: packed.
    """

    def __init__(self, config: NodeConfig, patience: int) -> None:
        super().__init__(config, patience)
        self.touched: set[int] = set()
        self.learns_only = False
        self.written = Written(config.keeps)
        self.vowed: Vows = ()
        self.vows_data = b""

    # -- what an engine adds -----------------------------------------------------------------------------------------

    @abstractmethod
    def resume(self, now_ns: int) -> Effects:
        """The node came up again with its disk, and has recalled what stood on it: set the timers anew."""

    @abstractmethod
    def vows(self) -> Vows:
        """What a later life must know besides the log: plain data (testbed.nodes.core.disk.pack)."""

    @abstractmethod
    def known(self, slot: int) -> bytes | None:
        """What a later life must know of ``slot``; None: nothing."""

    @abstractmethod
    def recall(self, vows: Vows, slots: Mapping[int, bytes]) -> None:
        """An earlier life knew this, in which tuples are lists now; the base is in its place already."""

    # -- the disk ----------------------------------------------------------------------------------------------------

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """First life: all is to come. Kept state: go on with it. Without it: only learn."""
        if not disk:
            self.learns_only = self.config.epoch > 1
            return super().on_start(now_ns, disk)
        self.written.read(disk)
        effects = self.take_on(disk[_BASE_KEY]) if _BASE_KEY in disk else []
        slots = {int(key.split()[1]): data for key, data in disk.items() if key.startswith(_SLOT)}
        self.recall(tuple(unpack(disk[_VOWS])), dict(sorted(slots.items())))
        return self._done([*effects, *self.resume(now_ns)], now_ns)

    def _done(self, effects: Effects, now_ns: int) -> Effects:
        return self.keep(super()._done(effects, now_ns))

    def keep(self, effects: Effects) -> Effects:
        """The effects of an event, behind all that must be on the disk before them."""
        touched, self.touched = self.touched, set()
        if not self.written.keeps:
            return effects
        vows = self.vows()
        if vows != self.vowed:
            self.vowed, self.vows_data = vows, pack(*vows)
        wanted: dict[str, bytes | None] = {_VOWS: self.vows_data, _BASE_KEY: self.base_data}
        wanted |= {f"{_SLOT} {slot}": self.known(slot) for slot in sorted(touched)}
        return [*self.written.news(wanted), *effects]

    def _rebase(self, base: Base) -> Iterable[int]:
        forgotten = super()._rebase(base)
        self.touched.update(forgotten)
        return forgotten


# -- words ------------------------------------------------------------------------------------------------------------


def entry_text(entry: bytes) -> str:
    """An entry in words: ``7 (0.1.3)``, the value and whose submission it is."""
    one = submission(entry)
    if one is None:
        return "no-op" if entry == NOOP else f"own entry {entry.hex()}"
    return f"{values.text(one.value)} ({one.rank}.{one.epoch}.{one.sequence})"


def says(message: Message) -> str:
    """A message of this module in words."""
    body = message.body
    if message.step == Step.SUBMIT and submission(body) is not None:
        return f"submit {entry_text(body)}"
    if message.step == Step.READ and len(body) == _TICKET.size:
        return f"read {_TICKET.unpack(body)[1]}?"
    if message.step == Step.READ_AT and len(body) == _SLOT_NUMBER.size + _TICKET.size:
        return f"read {_TICKET.unpack(body[_SLOT_NUMBER.size :])[1]} from slot {_SLOT_NUMBER.unpack_from(body)[0]} on"
    return "not of a log"


def falsify_entry(config: NodeConfig, entry: bytes, which: int) -> bytes | None:
    """The same with another value, where it is a submission that begins with a number."""
    one = submission(entry)
    false = None if one is None else falsify_value(config, one.value, which)
    return None if one is None or false is None else one._replace(value=false).entry()


def falsify_value(config: NodeConfig, value: bytes, which: int) -> bytes | None:
    """Another one, where it begins with a number: the ``which``-th after it."""
    size = len(values.of_int(0))
    if len(value) < size:
        return None
    number = (values.to_int(value[:size]) + which * config.n) % (1 << 8 * size)
    return values.of_int(number) + value[size:]
