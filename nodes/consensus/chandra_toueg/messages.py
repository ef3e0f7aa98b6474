"""The messages of Chandra and Toueg's consensus and their bytes: two rounds, and then the value."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from testbed.nodes import frames
from testbed.nodes.core import values
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.inputs import another_bytes
from testbed.nodes.core.layout import Bodies, Body, number, rest

_LAYOUT = struct.Struct("!II")

ANSWER = 1  # message flag of ROUND: an answer, which is not answered in turn: the two could go on for ever

MAX_ROUND = (1 << 31) - 1
"""A greater number in a frame is no round, so that the rounds after all that are heard of fit its 32 bits."""


class Step(IntEnum):
    """A message's type: the ``step`` of its frame."""

    ESTIMATE = 1  # phase 1: what the sender would decide, and the round in which it adopted that
    PROPOSAL = 2  # phase 2: the coordinator's
    ACK = 3  # phase 3: adopted
    NACK = 4  # phase 3: the coordinator was suspected, and its proposal will not be adopted any more
    DECIDE = 5  # phase 4, by reliable broadcast
    ROUND = 6  # the sender is in that round: who is in an earlier one goes on to it, who is in a later one says so
    ALIVE = 7  # a heartbeat, of no instance


class Message(NamedTuple):
    """round is 1 .. MAX_ROUND, adopted below it (0: the estimate is the sender's input), value as long as it is."""

    step: Step
    round: int
    adopted: int = 0
    value: bytes = b""

    def body(self) -> bytes:
        """The bytes that are sent."""
        return _LAYOUT.pack(self.round, self.adopted) + self.value


_FORM = (number("round"), number("adopted"), rest("value"))
BODIES: Bodies = {int(step): Body(step.name.lower(), () if step is Step.ALIVE else _FORM) for step in Step}

_STEPS = {int(step): step for step in Step}


def read(message: frames.Message) -> Message | None:
    """What ``message`` says of its instance; None when it is none of this engine's, or a heartbeat."""
    step = _STEPS.get(message.step)
    if step in (None, Step.ALIVE) or len(message.body) < _LAYOUT.size:
        return None
    round_, adopted = _LAYOUT.unpack_from(message.body)
    if step is None or not 1 <= round_ <= MAX_ROUND or adopted >= round_:
        return None
    return Message(step, round_, adopted, message.body[_LAYOUT.size :])


def falsify(config: NodeConfig, message: frames.Message, which: int) -> frames.Message | None:
    """The same with another value, where it tells one: an estimate, a proposal, what was decided."""
    said = read(message) if message.kind is frames.Kind.DATA else None
    if said is None or said.step not in (Step.ESTIMATE, Step.PROPOSAL, Step.DECIDE):
        return None
    other = another_bytes(config, said.value, which)
    return None if other is None else message._replace(body=said._replace(value=other).body())


def says(message: frames.Message) -> str:
    """What ``message`` says, in words."""
    if message.step == Step.ALIVE:
        return "alive"
    said = read(message)
    if said is None:
        return "not of Chandra and Toueg"
    text = f"{said.step.name.lower()}, round {said.round}" + (", in answer" if message.flags & ANSWER else "")
    if said.step is Step.ESTIMATE:
        origin = f"adopted in round {said.adopted}" if said.adopted else "its own"
        return f"{text}, {values.text(said.value)}, {origin}"
    return f"{text}, {values.text(said.value)}" if said.step in (Step.PROPOSAL, Step.DECIDE) else text
