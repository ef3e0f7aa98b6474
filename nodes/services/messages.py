"""What replicas and clients say to each other: DATA messages, told from an engine's own by their step."""

from __future__ import annotations

import struct
from enum import IntEnum

from testbed.nodes.core.layout import Bodies, Body, number, rest
from testbed.nodes.frames import Kind, Message

ENGINE_STEPS = 128
"""Steps below this one are the engine's."""

_NUMBER = struct.Struct("!Q")


class Step(IntEnum):
    """A message's type; ``round`` is the entry of the log that it is about, where there is one."""

    REQUEST = 130  # a client's: an entry with its operation; so many entries had been applied by what it was told last
    ANSWER = 131  # to a client: the operation's number and its result, by the entries before ``round``
    TOLD = 132  # among replicas: an entry with operations that clients ask for
    ASK = 133  # what stands in the log from ``round`` on?
    ENTRY = 134  # that entry
    STATE = 135  # the state before entry ``round``, in place of the entries before it


BODIES: Bodies = {
    Step.REQUEST: Body("request", (rest("operations"),)),
    Step.ANSWER: Body("answer", (number("operation", 8), rest("result"))),
    Step.TOLD: Body("told", (rest("operations"),)),
    Step.ASK: Body("ask"),
    Step.ENTRY: Body("entry", (rest("operations"),)),
    Step.STATE: Body("state", (rest("state"),)),
}

_STEPS = {int(step): step for step in Step}


def step_of(message: Message) -> Step | None:
    """The type of a message of the service; None for any other message."""
    return _STEPS.get(message.step) if message.kind is Kind.DATA else None


def say(step: Step, body: bytes, index: int = 0) -> Message:
    """A message of the service."""
    return Message(Kind.DATA, index, step, body)


def pack_answer(number: int, result: bytes) -> bytes:
    """The body of an ANSWER."""
    return _NUMBER.pack(number) + result


def read_answer(body: bytes) -> tuple[int, bytes] | None:
    """The inverse; None for what is none."""
    if len(body) < _NUMBER.size:
        return None
    return _NUMBER.unpack_from(body)[0], body[_NUMBER.size :]
