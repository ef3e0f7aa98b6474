"""The messages of Zab and their bytes. A frame's ``round`` is the epoch, its ``step`` the type.

The names are the paper's; what ZooKeeper calls them stands in notes.md.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum, IntFlag
from itertools import pairwise
from typing import NamedTuple

from testbed.nodes import frames
from testbed.nodes.consensus import logs
from testbed.nodes.consensus.zab.election import Choice, Standing
from testbed.nodes.consensus.zab.history import Txn, Zxid
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.layout import Bodies, Body, entry, number, numbers, part, parts

MAX_EPOCH = (1 << 31) - 1
"""A greater number in a frame is no epoch, so that an epoch above all that are heard of always fits its 32 bits."""

MAX_NUMBER = (1 << 62) - 1
"""The same of slots, counters and elections' numbers, which have 64."""


class Step(IntEnum):
    """A message's type: the ``step`` of its frame. Numbers and data: see Message."""

    VOTE = 1  # looking for a leader, or (LEADS) being one: the election's number, the standing and rank of the choice
    CEPOCH = 2  # to the leader that was found: the epoch is the last that was promised
    NEWEPOCH = 3  # promise this epoch
    ACK_EPOCH = 4  # it is promised (PROMISED), or was before; the standing of who promised
    NEWLEADER = 5  # from this slot on, behind this zxid, the history is: a base or nothing, transactions
    ACK = 6  # the history is the leader's up to this slot; the first one answers NEWLEADER
    PROPOSE = 7  # from this slot on stands: how many are committed; transactions
    COMMIT = 8  # so many are committed
    PING = 9  # the same; a number. LEADS: a quorum has the history
    PONG = 10  # the number


class Flag(IntFlag):
    """What else a message says."""

    LEADS = 1
    PROMISED = 2
    LEARNS = 4  # the word of who says it does not count


_STANDING = "IIQQ"  # current epoch, zxid, end
_LAYOUTS = {
    Step.VOTE: struct.Struct(f"!Q{_STANDING}H"),
    Step.CEPOCH: struct.Struct(""),
    Step.NEWEPOCH: struct.Struct(""),
    Step.ACK_EPOCH: struct.Struct(f"!{_STANDING}"),
    Step.NEWLEADER: struct.Struct("!QIQ"),
    Step.ACK: struct.Struct("!Q"),
    Step.PROPOSE: struct.Struct("!QQ"),
    Step.COMMIT: struct.Struct("!Q"),
    Step.PING: struct.Struct("!QI"),
    Step.PONG: struct.Struct("!I"),
}
_WITH_PARTS = (Step.NEWLEADER, Step.PROPOSE)
_OF_ANY_EPOCH = (Step.VOTE, Step.CEPOCH)  # 0: none yet
_STEPS = {int(step): step for step in Step}
_TXN = struct.Struct("!IQ")

_OF_STANDING = (number("current"), number("epoch"), number("counter", 8), number("end", 8))
_TXNS = parts("transactions", number("epoch"), number("counter", 8), entry())
BODIES: Bodies = {
    Step.VOTE: Body("vote", (number("election", 8), *_OF_STANDING, number("rank", 2))),
    Step.CEPOCH: Body("cepoch"),
    Step.NEWEPOCH: Body("newepoch"),
    Step.ACK_EPOCH: Body("ack_epoch", _OF_STANDING),
    Step.NEWLEADER: Body("newleader", (number("slot", 8), number("epoch"), number("counter", 8), part("state"), _TXNS)),
    Step.ACK: Body("ack", numbers(8, "slot")),
    Step.PROPOSE: Body("propose", (*numbers(8, "slot", "committed"), _TXNS)),
    Step.COMMIT: Body("commit", numbers(8, "committed")),
    Step.PING: Body("ping", (number("committed", 8), number("heartbeat"))),
    Step.PONG: Body("pong", (number("heartbeat"),)),
    **logs.BODIES,
}


class Message(NamedTuple):
    """numbers: as Step says, in that order. parts: what follows them, each behind its length."""

    step: Step
    epoch: int
    numbers: tuple[int, ...] = ()
    parts: tuple[bytes, ...] = ()
    flags: Flag = Flag(0)

    def frame(self) -> frames.Message:
        """What is sent."""
        body = _LAYOUTS[self.step].pack(*self.numbers) + logs.pack_parts(self.parts)
        return frames.Message(frames.Kind.DATA, self.epoch, self.step, body, int(self.flags))


def read(heard: frames.Message) -> Message | None:
    """What was said; None when it is no message of this engine's."""
    step, body = _STEPS.get(heard.step), heard.body
    if step is None or heard.round > MAX_EPOCH or not (heard.round or step in _OF_ANY_EPOCH):
        return None
    layout = _LAYOUTS[step]
    if len(body) < layout.size or (len(body) > layout.size and step not in _WITH_PARTS):
        return None
    numbers, parts = layout.unpack_from(body), logs.read_parts(body[layout.size :])
    if parts is None or any(number > MAX_NUMBER for number in numbers):
        return None
    flags = Flag(heard.flags & int(Flag.LEADS | Flag.PROMISED | Flag.LEARNS))
    return Message(step, heard.round, numbers, tuple(parts), flags)


# -- what the numbers and parts are ------------------------------------------------------------------------------------


def of_standing(standing: Standing) -> tuple[int, ...]:
    """Its numbers."""
    return standing.current, *standing.last, standing.end


def read_standing(numbers: tuple[int, ...]) -> Standing:
    """The inverse."""
    current, epoch, counter, end = numbers
    return Standing(current, Zxid(epoch, counter), end)


def read_choice(vote: Message) -> Choice:
    """Whom a VOTE is for."""
    return Choice(read_standing(vote.numbers[1:5]), vote.numbers[5])


def pack_txn(txn: Txn) -> bytes:
    """The bytes of a transaction."""
    return _TXN.pack(*txn.zxid) + txn.data


def read_txn(part: bytes) -> Txn | None:
    """The inverse; None for bytes that are none."""
    if len(part) < _TXN.size:
        return None
    zxid = Zxid(*_TXN.unpack_from(part))
    return Txn(zxid, part[_TXN.size :]) if zxid.counter <= MAX_NUMBER else None


def read_txns(parts: Sequence[bytes]) -> list[Txn] | None:
    """Transactions in the order of their zxids; None if these are none."""
    txns = [txn for txn in map(read_txn, parts) if txn is not None]
    in_order = all(one.zxid < other.zxid for one, other in pairwise(txns))
    return txns if in_order and len(txns) == len(parts) else None


# -- lies and words ----------------------------------------------------------------------------------------------------


def falsify(config: NodeConfig, heard: frames.Message, which: int) -> frames.Message | None:
    """The same with other values in its transactions, where it tells one."""
    if heard.kind is not frames.Kind.DATA:
        return None
    if heard.step == logs.Step.SUBMIT:
        entry = logs.falsify_entry(config, heard.body, which)
        return None if entry is None else heard._replace(body=entry)
    said = read(heard)
    if said is None or said.step not in _WITH_PARTS:
        return None
    state = said.parts[:1] if said.step is Step.NEWLEADER else ()
    txns = read_txns(said.parts[len(state) :]) or []
    false = [txn._replace(data=logs.falsify_entry(config, txn.data, which) or txn.data) for txn in txns]
    return None if false == txns else said._replace(parts=(*state, *map(pack_txn, false))).frame()


def _txn_text(txn: Txn) -> str:
    return f"{txn.zxid.epoch}.{txn.zxid.counter} {logs.entry_text(txn.data)}"


def _standing_text(standing: Standing) -> str:
    epoch, counter = standing.last
    return f"took part in {standing.current}, has {standing.end} up to {epoch}.{counter}"


def _history_text(said: Message) -> str:
    state = said.parts[:1] if said.step is Step.NEWLEADER else ()
    txns = read_txns(said.parts[len(state) :])
    told = "no history" if txns is None else ", ".join(map(_txn_text, txns)) or "nothing"
    return f"a state of {len(state[0])} bytes, {told}" if state and state[0] else told


def says(heard: frames.Message) -> str:
    """What a message says, in words."""
    if heard.step >= logs.LOG_STEPS:
        return logs.says(heard)
    said = read(heard)
    if said is None:
        return "not of Zab"
    return f"{_words(said)}, epoch {said.epoch}{', learns only' if Flag.LEARNS in said.flags else ''}"


def _words(said: Message) -> str:
    match said.step:
        case Step.VOTE:
            choice = read_choice(said)
            what = "leads" if Flag.LEADS in said.flags else "votes for"
            return f"{what} member {choice.rank} ({_standing_text(choice.standing)}), election {said.numbers[0]}"
        case Step.CEPOCH:
            return "follows, has promised"
        case Step.NEWEPOCH:
            return "promise"
        case Step.ACK_EPOCH:
            what = "promises" if Flag.PROMISED in said.flags else "had promised"
            return f"{what}, {_standing_text(read_standing(said.numbers))}"
        case Step.NEWLEADER:
            slot, epoch, counter = said.numbers
            return f"new leader, history behind {epoch}.{counter} from slot {slot} on: {_history_text(said)}"
        case Step.ACK:
            return f"has all below slot {said.numbers[0]}"
        case Step.PROPOSE:
            slot, committed = said.numbers
            return f"propose from slot {slot} on: {_history_text(said)}; {committed} committed"
        case Step.COMMIT:
            return f"{said.numbers[0]} committed"
        case Step.PING:
            return f"ping {said.numbers[1]}, {said.numbers[0]} committed"
        case Step.PONG:
            return f"pong {said.numbers[0]}"
