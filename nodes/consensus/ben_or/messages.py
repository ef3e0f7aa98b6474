"""The messages of Ben-Or and their 8 bytes."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from testbed.nodes import frames
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.layout import Bodies, Body, numbers

_LAYOUT = struct.Struct("!II")

NO_VALUE = 2  # the "?" of a proposal
ASK = 1  # message flag: the sender has not heard the receiver in this phase and asks it to say its message again


class Phase(IntEnum):
    """The two phases of a round: the ``step`` of a frame."""

    REPORT = 1
    PROPOSAL = 2


class Message(NamedTuple):
    """What a node says in one phase of one round (1, 2, ..): 0 or 1, or NO_VALUE in a proposal."""

    round: int
    phase: Phase
    value: int

    def body(self) -> bytes:
        """The bytes that are sent."""
        return _LAYOUT.pack(self.round, self.value)


BODIES: Bodies = {int(phase): Body(phase.name.lower(), numbers(4, "round", "bit")) for phase in Phase}


def read(message: frames.Message) -> Message | None:
    """What ``message`` says; None when it is none of this engine's."""
    if len(message.body) != _LAYOUT.size:
        return None
    round_, value = _LAYOUT.unpack(message.body)
    if message.step not in (Phase.REPORT, Phase.PROPOSAL) or round_ == 0:
        return None
    phase = Phase(message.step)
    return Message(round_, phase, value) if value <= (1 if phase is Phase.REPORT else NO_VALUE) else None


def falsify(config: NodeConfig, message: frames.Message, which: int) -> frames.Message | None:  # noqa: ARG001 - a bit
    """The same report or proposal of the other bit, for every odd ``which``; of a proposal of no value none."""
    said = read(message)
    if said is None or said.value == NO_VALUE:
        return None
    return message._replace(body=said._replace(value=said.value ^ (which & 1)).body())


def says(message: frames.Message) -> str:
    """What ``message`` says, in words."""
    said = read(message)
    if said is None:
        return "not of Ben-Or"
    asks = ", asks for yours" if message.flags & ASK else ""
    value = "?" if said.value == NO_VALUE else said.value
    return f"{said.phase.name.lower()} {value} in round {said.round}{asks}"
