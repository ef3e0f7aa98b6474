"""The messages that delegation adds to those of Multi-Paxos, and their bytes."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from testbed.nodes import frames
from testbed.nodes.consensus import logs
from testbed.nodes.consensus.ballots import MAX_BALLOT
from testbed.nodes.consensus.multi_paxos import messages as multi_paxos
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.layout import Bodies, Body, entry, numbers


class Step(IntEnum):
    """A message's type: the ``step`` of its frame; ``round`` is the ballot."""

    ORDER = 12  # to a coordinator: replicate this entry in this slot. How many slots are chosen, too
    DONE = 13  # from it to all: the slot's entry is chosen


_ORDER = struct.Struct("!QQ")
_DONE = struct.Struct("!Q")


BODIES: Bodies = {
    **multi_paxos.BODIES,
    Step.ORDER: Body("order", (*numbers(8, "slot", "chosen"), entry())),
    Step.DONE: Body("done", numbers(8, "slot")),
}


class Order(NamedTuple):
    """The leader of ``ballot`` has voted for ``entry`` in ``slot``, and knows that ``chosen`` slots are chosen."""

    ballot: int
    slot: int
    chosen: int
    entry: bytes

    def body(self) -> bytes:
        """The bytes that are sent."""
        return _ORDER.pack(self.slot, self.chosen) + self.entry


class Done(NamedTuple):
    """A replication quorum has voted in ``ballot`` for the entry in ``slot``."""

    ballot: int
    slot: int

    def body(self) -> bytes:
        """The bytes that are sent."""
        return _DONE.pack(self.slot)


def read(message: frames.Message) -> Order | Done | None:
    """What ``message`` says; None when it is none of these."""
    if not 0 < message.round <= MAX_BALLOT:
        return None
    if message.step == Step.ORDER and len(message.body) >= _ORDER.size:
        slot, chosen = _ORDER.unpack_from(message.body)
        return Order(message.round, slot, chosen, message.body[_ORDER.size :])
    if message.step == Step.DONE and len(message.body) == _DONE.size:
        return Done(message.round, _DONE.unpack(message.body)[0])
    return None


def falsify(config: NodeConfig, message: frames.Message, which: int) -> frames.Message | None:
    """The same with another value, where it tells one: an order, and whatever does in Multi-Paxos."""
    said = read(message) if message.kind is frames.Kind.DATA else None
    if not isinstance(said, Order):
        return None if said is not None else multi_paxos.falsify(config, message, which)
    false = logs.falsify_entry(config, said.entry, which)
    return None if false is None else message._replace(body=said._replace(entry=false).body())


def says(message: frames.Message) -> str:
    """What ``message`` says, in words."""
    said = read(message)
    if isinstance(said, Order):
        entry = logs.entry_text(said.entry)
        return f"order, ballot {said.ballot}, slot {said.slot}: {entry}; {said.chosen} chosen"
    if isinstance(said, Done):
        return f"done, ballot {said.ballot}, slot {said.slot}"
    return multi_paxos.says(message)
