"""The messages of Multi-Paxos and their bytes: numbers, and then an entry, votes, or a state."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from testbed.nodes import frames
from testbed.nodes.consensus import logs
from testbed.nodes.consensus.ballots import MAX_BALLOT
from testbed.nodes.consensus.multi_paxos.roles import Vote
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.layout import Bodies, Body, entry, number, parts


class Step(IntEnum):
    """A message's type: the ``step`` of its frame; ``round`` is the ballot."""

    PREPARE = 1  # phase 1a, for all slots from one on
    PROMISE = 2  # phase 1b: the first slot that votes are told of, and the votes
    ACCEPT = 3  # phase 2a: a slot, how many slots are chosen, and the entry
    ACCEPTED = 4  # phase 2b: the slot
    COMMIT = 5  # how many slots are chosen
    BEAT = 6  # the same, for how many intervals its sender has led, and the heartbeat's number
    ALIVE = 7  # the answer to it: its number
    REJECT = 8  # the acceptor has promised a ballot above this one
    LEARN = 9  # what was chosen from this slot on?
    CHOSEN = 10  # in this slot and ballot, this entry
    STATE = 11  # a base (testbed.nodes.consensus.logs), in place of the slots below it


_LAYOUTS = {
    Step.PREPARE: struct.Struct("!Q"),
    Step.PROMISE: struct.Struct("!Q"),
    Step.ACCEPT: struct.Struct("!QQ"),
    Step.ACCEPTED: struct.Struct("!Q"),
    Step.COMMIT: struct.Struct("!Q"),
    Step.BEAT: struct.Struct("!QII"),
    Step.ALIVE: struct.Struct("!I"),
    Step.REJECT: struct.Struct("!I"),
    Step.LEARN: struct.Struct("!Q"),
    Step.CHOSEN: struct.Struct("!QI"),
    Step.STATE: struct.Struct(""),
}
_WITH_DATA = (Step.PROMISE, Step.ACCEPT, Step.CHOSEN, Step.STATE)
_WITH_BALLOT = (Step.REJECT, Step.CHOSEN)  # as the last of their numbers
_OF_NO_BALLOT = (Step.LEARN, Step.CHOSEN, Step.STATE)
_STEPS = {int(step): step for step in Step}
_VOTE = struct.Struct("!QI")

_SLOT, _CHOSEN, _BALLOT = number("slot", 8), number("chosen", 8), number("ballot")
BODIES: Bodies = {
    Step.PREPARE: Body("prepare", (_SLOT,)),
    Step.PROMISE: Body("promise", (_SLOT, parts("votes", _SLOT, _BALLOT, entry()))),
    Step.ACCEPT: Body("accept", (_SLOT, _CHOSEN, entry())),
    Step.ACCEPTED: Body("accepted", (_SLOT,)),
    Step.COMMIT: Body("commit", (_CHOSEN,)),
    Step.BEAT: Body("beat", (_CHOSEN, number("led"), number("heartbeat"))),
    Step.ALIVE: Body("alive", (number("heartbeat"),)),
    Step.REJECT: Body("reject", (_BALLOT,)),
    Step.LEARN: Body("learn", (_SLOT,)),
    Step.CHOSEN: Body("chosen", (_SLOT, _BALLOT, entry())),
    Step.STATE: Body("state", logs.BASE),
    **logs.BODIES,
}


class Message(NamedTuple):
    """ballot: 1 .. MAX_BALLOT, or 0 where it does not matter. numbers: as Step says, in that order; data: the rest."""

    step: Step
    ballot: int
    numbers: tuple[int, ...] = ()
    data: bytes = b""

    def body(self) -> bytes:
        """The bytes that are sent."""
        return _LAYOUTS[self.step].pack(*self.numbers) + self.data


def read(message: frames.Message) -> Message | None:
    """What ``message`` says; None when it is none of this engine's."""
    step = _STEPS.get(message.step)
    if step is None or not (message.round or step in _OF_NO_BALLOT) or message.round > MAX_BALLOT:
        return None
    layout = _LAYOUTS[step]
    if len(message.body) < layout.size or (len(message.body) > layout.size and step not in _WITH_DATA):
        return None
    numbers = layout.unpack_from(message.body)
    if step in _WITH_BALLOT and numbers[-1] > MAX_BALLOT:
        return None
    return Message(step, message.round, numbers, message.body[layout.size :])


def pack_votes(votes: Mapping[int, Vote]) -> bytes:
    """Votes by slot, as a PROMISE tells them."""
    return logs.pack_parts(_VOTE.pack(slot, vote.ballot) + vote.entry for slot, vote in sorted(votes.items()))


def read_votes(data: bytes) -> dict[int, Vote] | None:
    """The inverse; None for bytes that are none."""
    parts = logs.read_parts(data)
    if parts is None or any(len(part) < _VOTE.size for part in parts):
        return None
    votes = {}
    for part in parts:
        slot, ballot = _VOTE.unpack_from(part)
        votes[slot] = Vote(ballot, part[_VOTE.size :])
    return votes


def falsify(config: NodeConfig, message: frames.Message, which: int) -> frames.Message | None:
    """The same with another value, where it tells one: an entry that is submitted, to be accepted or chosen, votes."""
    if message.kind is not frames.Kind.DATA:
        return None
    if message.step == logs.Step.SUBMIT:
        entry = logs.falsify_entry(config, message.body, which)
        return None if entry is None else message._replace(body=entry)
    said = read(message)
    if said is None or said.step not in (Step.ACCEPT, Step.CHOSEN, Step.PROMISE):
        return None
    false = _false_votes(config, said, which) if said.step is Step.PROMISE else None
    if said.step is not Step.PROMISE:
        false = logs.falsify_entry(config, said.data, which)
    return None if false is None else message._replace(body=said._replace(data=false).body())


def _false_votes(config: NodeConfig, said: Message, which: int) -> bytes | None:
    votes = read_votes(said.data) or {}
    false = {slot: vote._replace(entry=logs.falsify_entry(config, vote.entry, which) or vote.entry)
             for slot, vote in votes.items()}  # fmt: skip
    return None if false == votes else pack_votes(false)


def says(message: frames.Message) -> str:
    """What ``message`` says, in words."""
    said = read(message)
    if said is None:
        return logs.says(message)
    name = said.step.name.lower()
    if said.step is Step.STATE:
        base = logs.read_base(said.data)
        return "no state" if base is None else f"state in place of the slots below {base.slot}"
    if said.step is Step.PROMISE:
        votes = read_votes(said.data) or {}
        told = "; ".join(f"{slot}: {logs.entry_text(vote.entry)} in {vote.ballot}" for slot, vote in votes.items())
        return f"promise, ballot {said.ballot}, votes from slot {said.numbers[0]} on: {told or 'none'}"
    if said.step is Step.ACCEPT:
        slot, chosen = said.numbers
        return f"accept, ballot {said.ballot}, slot {slot}: {logs.entry_text(said.data)}; {chosen} chosen"
    if said.step is Step.CHOSEN:
        slot, ballot = said.numbers
        return f"chosen in slot {slot}, ballot {ballot}: {logs.entry_text(said.data)}"
    words = {
        Step.PREPARE: "from slot {} on",
        Step.ACCEPTED: "slot {}",
        Step.COMMIT: "{} chosen",
        Step.BEAT: "{} chosen, led for {}, heartbeat {}",
        Step.ALIVE: "heartbeat {}",
        Step.REJECT: "promised {}",
        Step.LEARN: "from slot {} on",
    }[said.step]
    return f"{name}, ballot {said.ballot}, {words.format(*said.numbers)}"
