"""The messages of Fast Paxos and their bytes: two numbers, and then the value."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from testbed.nodes import frames
from testbed.nodes.consensus.ballots import MAX_BALLOT
from testbed.nodes.consensus.fast_paxos.roles import FAST
from testbed.nodes.core import values
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.inputs import another_bytes
from testbed.nodes.core.layout import Bodies, Body, number, rest

_LAYOUT = struct.Struct("!II")


class Step(IntEnum):
    """A message's type: the ``step`` of its frame."""

    OFFER = 1  # a proposer's value, to all acceptors
    ANY = 2  # phase 2a of the fast ballot: an acceptor may vote for any value that it is offered
    PREPARE = 3  # phase 1a
    PROMISE = 4  # phase 1b: voted and value tell the acceptor's vote, voted = 0 if it has none
    ACCEPT = 5  # phase 2a
    ACCEPTED = 6  # phase 2b, to all
    DECIDE = 7  # what was chosen, and in which ballot
    REJECT = 8  # the acceptor has promised the ballot ``voted``, which is above ``ballot``


class Message(NamedTuple):
    """ballot is FAST .. MAX_BALLOT, voted 0 .. MAX_BALLOT, value as long as it is."""

    step: Step
    ballot: int
    voted: int = 0
    value: bytes = b""

    def body(self) -> bytes:
        """The bytes that are sent."""
        return _LAYOUT.pack(self.ballot, self.voted) + self.value


_FORM = (number("ballot"), number("voted"), rest("value"))
BODIES: Bodies = {int(step): Body(step.name.lower(), _FORM) for step in Step}

_STEPS = {int(step): step for step in Step}
_IN_ANY = (Step.ACCEPTED, Step.DECIDE)
"""What is said in the fast ballot and in classic ones; offers and "any" are for the fast one only."""

_TELLING = (Step.OFFER, Step.ACCEPT, Step.ACCEPTED, Step.DECIDE)


def read(message: frames.Message) -> Message | None:
    """What ``message`` says; None when it is none of this engine's."""
    step = _STEPS.get(message.step)
    if len(message.body) < _LAYOUT.size:
        return None
    ballot, voted = _LAYOUT.unpack_from(message.body)
    if step is None or not FAST <= ballot <= MAX_BALLOT or voted > MAX_BALLOT:
        return None
    if step not in _IN_ANY and (ballot == FAST) != (step in (Step.OFFER, Step.ANY)):
        return None
    return Message(step, ballot, voted, message.body[_LAYOUT.size :])


def falsify(config: NodeConfig, message: frames.Message, which: int) -> frames.Message | None:
    """The same with another value, where it tells one: an offer, a vote, what is to be accepted, what was decided."""
    said = read(message) if message.kind is frames.Kind.DATA else None
    if said is None or not (said.step in _TELLING or (said.step is Step.PROMISE and said.voted)):
        return None
    other = another_bytes(config, said.value, which)
    return None if other is None else message._replace(body=said._replace(value=other).body())


def says(message: frames.Message) -> str:
    """What ``message`` says, in words."""
    said = read(message)
    if said is None:
        return "not of Fast Paxos"
    text = f"{said.step.name.lower()}, ballot {said.ballot}"
    if said.step is Step.PROMISE:
        return f"{text}, voted " + (
            f"{values.text(said.value)} in ballot {said.voted}" if said.voted else "for nothing"
        )
    if said.step is Step.REJECT:
        return f"{text}, promised {said.voted}"
    return f"{text}, value {values.text(said.value)}" if said.step in _TELLING else text
