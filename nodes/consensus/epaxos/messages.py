"""The messages of EPaxos* and their bytes: all have one form, a name, two numbers, two lists of names, an entry."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from testbed.nodes import frames
from testbed.nodes.consensus import logs
from testbed.nodes.consensus.ballots import MAX_BALLOT
from testbed.nodes.consensus.epaxos.commands import UNKNOWN, Phase
from testbed.nodes.consensus.epaxos.needs import Name, Needs
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.layout import Bodies, Body, entry, number, repeat


class Step(IntEnum):
    """A message's type: the ``step`` of its frame; ``round`` is the ballot, 0 for the coordinator's own."""

    PRE_ACCEPT = 1  # what a command is and its dependencies (needs); number: how often it was given up before
    PRE_ACCEPTED = 2  # the answer: what it depends on as far as is known here
    ACCEPT = 3  # the slow path: an entry and its dependencies
    ACCEPTED = 4
    COMMIT = 5  # settled
    RECOVER = 6  # who has nothing to say in a higher ballot?
    RECOVERED = 7  # number: the phase; voted; entry, needs, and those that the coordinator began with (others)
    VALIDATE = 8  # may this have been committed on the fast path?
    VALIDATED = 9  # what speaks against it: commands that are committed (needs), or not yet (others)
    WAITING = 10  # a recovery waits for such commands; number: how many had pre-accepted what the coordinator said
    REJECT = 11  # ``voted`` was promised
    BEAT = 12  # of each source (needs) all commands below are known here to be committed


_STEPS = {int(step): step for step in Step}
_TELLING = (Step.PRE_ACCEPT, Step.ACCEPT, Step.COMMIT, Step.RECOVERED, Step.VALIDATE)
_HEAD = struct.Struct("!HHIBIHH")  # name, number, voted, how many needs, how many others
_NAME = struct.Struct("!HHI")
NOBODY = Name(0, 0, 0)

_NAMED = (number("chain", 2), number("rank", 2), number("place"))
_FORM = (
    *_NAMED, number("number", 1), number("voted"), number("needs", 2), number("others", 2),
    repeat("needs", *_NAMED, of="needs"), repeat("others", *_NAMED, of="others"), entry(),
)  # fmt: skip
BODIES: Bodies = {**{int(step): Body(step.name.lower(), _FORM) for step in Step}, **logs.BODIES}


class Message(NamedTuple):
    """See Step for what each says. Lists are sorted and name no source twice, but for those of a VALIDATED."""

    step: Step
    ballot: int
    name: Name = NOBODY
    needs: Needs = ()
    entry: bytes = UNKNOWN
    number: int = 0
    voted: int = 0
    others: Needs = ()

    def body(self) -> bytes:
        """The bytes that are sent."""
        head = _HEAD.pack(*self.name, self.number, self.voted, len(self.needs), len(self.others))
        return head + b"".join(_NAME.pack(*one) for one in (*self.needs, *self.others)) + self.entry


def read(message: frames.Message) -> Message | None:
    """What ``message`` says; None when it is none of this engine's."""
    step, body = _STEPS.get(message.step), message.body
    if step is None or message.round > MAX_BALLOT or len(body) < _HEAD.size:
        return None
    chain, rank, place, number, voted, count, more = _HEAD.unpack_from(body)
    end = _HEAD.size + (count + more) * _NAME.size
    if len(body) < end or voted > MAX_BALLOT or (len(body) > end and step not in _TELLING):
        return None
    listed = [Name(*one) for one in _NAME.iter_unpack(body[_HEAD.size : end])]
    needs, others = tuple(listed[:count]), tuple(listed[count:])
    if any(list(some) != sorted(set(some)) for some in (needs, others)):
        return None
    if step is Step.RECOVERED and number not in tuple(Phase):
        return None
    entry = body[end:]
    known = entry == logs.NOOP or logs.submission(entry) is not None
    if not known and not (step is Step.RECOVERED and entry == UNKNOWN) and step in _TELLING:
        return None
    return Message(step, message.round, Name(chain, rank, place), needs, entry, number, voted, others)


def falsify(config: NodeConfig, message: frames.Message, which: int) -> frames.Message | None:
    """The same with another value, where it tells one."""
    if message.kind is not frames.Kind.DATA:
        return None
    if message.step == logs.Step.SUBMIT:
        entry = logs.falsify_entry(config, message.body, which)
        return None if entry is None else message._replace(body=entry)
    said = read(message)
    entry = None if said is None else logs.falsify_entry(config, said.entry, which)
    return None if said is None or entry is None else message._replace(body=said._replace(entry=entry).body())


def says(message: frames.Message) -> str:
    """What ``message`` says, in words."""
    said = read(message)
    if said is None:
        return logs.says(message)
    if said.step is Step.BEAT:
        return f"committed: {needs_text(said.needs)}"
    about = f"{said.step.name.lower().replace('_', '-')} {name_text(said.name)}, ballot {said.ballot}"
    told = f"{logs.entry_text(said.entry) if said.entry else 'unknown'} after {needs_text(said.needs)}"
    match said.step:
        case Step.PRE_ACCEPT | Step.ACCEPT | Step.COMMIT | Step.VALIDATE:
            return f"{about}: {told}"
        case Step.PRE_ACCEPTED:
            return f"{about}: after {needs_text(said.needs)}"
        case Step.RECOVERED:
            phase = Phase(said.number).name.lower()
            return f"{about}: {phase} in {said.voted}, {told}, at first after {needs_text(said.others)}"
        case Step.VALIDATED:
            listed = [f"{name_text(one)} is committed" for one in said.needs]
            listed += [f"{name_text(one)} may be" for one in said.others]
            return f"{about}: {', '.join(listed) or 'nothing against it'}"
        case Step.WAITING:
            return f"{about}: {said.number} agreed"
        case Step.REJECT:
            return f"{about}: promised {said.voted}"
        case _:
            return about


def name_text(name: Name) -> str:
    """A command's name: ``2.0.7``, chain, rank and place."""
    return f"{name.chain}.{name.rank}.{name.place}"


def needs_text(needs: Needs) -> str:
    """Dependencies: of each source all below a place."""
    return " ".join(f"{chain}.{rank}.<{place}" for chain, rank, place in needs) or "nothing"
