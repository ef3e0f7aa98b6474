"""The "New Algorithm" of Marić, Sprenger and Basin, "Consensus Refined" (DSN 2015), section VIII. See notes.md.

Three rounds make a phase: find a safe candidate, agree on a vote for it, decide. Verified in Isabelle by its authors
(Archive of Formal Proofs, Consensus_Refined, theory New_Algorithm_Defs); the names below follow that theory.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple

from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import pack, unpack
from testbed.nodes.core.inputs import another_value
from testbed.nodes.core.layout import Bodies, Body, numbers
from testbed.nodes.frames import BODY_BYTES, Kind, Message

ROUNDS_PER_PHASE = 3


class Pitfall(StrEnum):
    """Known bugs that a test puts in on purpose, to show that its checker finds them."""

    HALF_IS_ENOUGH = "half_is_enough"  # n // 2 of n counts as a quorum: two quorums need not meet
    PHASE_IGNORED = "phase_ignored"  # takes the least vote heard of, however old, in place of the latest
    VOTE_NOT_KEPT = "vote_not_kept"  # votes, but does not remember it for the phases to come


class Tag(IntEnum):
    """What a register says. NOTHING stands for the dummy message of the Heard-Of model."""

    NOTHING = 0
    PROPOSAL = 1  # sub-round 0, no vote cast so far: value is the input
    MRU_VOTE = 2  # sub-round 0: the most recently used vote and its phase, besides the input
    CANDIDATE = 3  # sub-round 1
    VOTE = 4  # sub-round 2


class Vote(NamedTuple):
    """A vote for ``value`` cast in ``phase``; the greater phase is the more recent."""

    phase: int
    value: int


class Register(NamedTuple):
    """The 16 bytes of a swap: four unsigned numbers of 32 bits."""

    tag: int = Tag.NOTHING
    phase: int = 0
    vote: int = 0
    value: int = 0


_REGISTER = struct.Struct("!IIII")
assert _REGISTER.size == BODY_BYTES
BODIES: Bodies = {0: Body("register", numbers(4, "tag", "phase", "vote", "input"))}


def says(message: Message) -> str:
    """A register in words."""
    tag, phase, vote, value = _REGISTER.unpack(message.body)
    if tag == Tag.MRU_VOTE:
        return f"last voted {vote} in phase {phase}, input {value}"
    if tag in (Tag.CANDIDATE, Tag.VOTE):
        return f"{Tag(tag).name.lower()} {value} in phase {phase}"
    return f"proposal {value}" if tag == Tag.PROPOSAL else "nothing"


def falsify(config: NodeConfig, message: Message, which: int) -> Message | None:
    """A register with another value, and another vote where it tells one; of one that says nothing none."""
    if message.kind is not Kind.SWAP:
        return None
    tag, phase, vote, value = _REGISTER.unpack(message.body)
    if tag == Tag.NOTHING:
        return None
    other = another_value(config, vote, which) if tag == Tag.MRU_VOTE else vote
    return message._replace(body=_REGISTER.pack(tag, phase, other, another_value(config, value, which)))


def rounds_needed(f: int) -> int:
    """Rounds after which every node has decided if at most ``f`` nodes crash and no window is missed: 3 (f + 1).

    A phase decides unless some node crashes in its first round and is heard by a part of the others only; f crashes
    spoil at most f phases.
    """
    return ROUNDS_PER_PHASE * (f + 1)


@dataclass(slots=True)
class Oae:
    """One instance at one node (testbed.nodes.oae.algorithm.RoundAlgorithm).

    value: the input, 32 bits unsigned. f does not enter: quorums are majorities of all members. A node that has decided
    goes on taking part. Rounds that the node missed altogether count as rounds in which it heard nobody.
    """

    me: int
    members: tuple[int, ...]
    f: int
    value: int
    pitfalls: Collection[Pitfall] = ()
    candidate: Vote | None = field(init=False, default=None)  # prop_vote, with the phase that it belongs to
    mru_vote: Vote | None = field(init=False, default=None)
    vote: Vote | None = field(init=False, default=None)  # what this node votes for in sub-round 2 of its phase
    decision: int | None = field(init=False, default=None)

    def message(self, round_: int) -> bytes:
        """The register for ``round_``, by its place in the phase."""
        phase, step = divmod(round_, ROUNDS_PER_PHASE)
        return _REGISTER.pack(*(self._opening(), self._support(phase), self._ballot(phase))[step])

    def deliver(self, round_: int, heard: Mapping[int, bytes]) -> int | None:
        """Sub-round 0 finds a candidate, sub-round 1 a vote, sub-round 2 a decision."""
        phase, step = divmod(round_, ROUNDS_PER_PHASE)
        registers = [Register(*_REGISTER.unpack(register)) for register in heard.values()]
        if step == 0:
            self._find_candidate(phase, registers)
        elif step == 1:
            self._cast_vote(phase, registers)
        else:
            return self._try_to_decide(registers)
        return None

    def snapshot(self) -> bytes:
        """The input, the votes and the decision."""
        return pack(self.value, self.candidate, self.mru_vote, self.vote, self.decision)

    def restore(self, snapshot: bytes) -> None:
        """The inverse of snapshot."""
        self.value, *votes, self.decision = unpack(snapshot)
        self.candidate, self.mru_vote, self.vote = (None if vote is None else Vote(*vote) for vote in votes)

    # -- what is said ------------------------------------------------------------------------------------------------

    def _opening(self) -> Register:
        if self.mru_vote is None:
            return Register(Tag.PROPOSAL, value=self.value)
        return Register(Tag.MRU_VOTE, self.mru_vote.phase, self.mru_vote.value, self.value)

    def _support(self, phase: int) -> Register:
        if self.candidate is None or self.candidate.phase != phase:
            return Register()
        return Register(Tag.CANDIDATE, phase, value=self.candidate.value)

    def _ballot(self, phase: int) -> Register:
        if self.vote is None or self.vote.phase != phase:
            return Register()
        return Register(Tag.VOTE, phase, value=self.vote.value)

    # -- what is made of it ------------------------------------------------------------------------------------------

    def _find_candidate(self, phase: int, registers: list[Register]) -> None:
        openings = [register for register in registers if register.tag in (Tag.PROPOSAL, Tag.MRU_VOTE)]
        if not self._is_quorum(len(openings)):
            return
        votes = [Vote(register.phase, register.vote) for register in openings if register.tag == Tag.MRU_VOTE]
        value = self._latest(votes).value if votes else min(register.value for register in openings)
        self.candidate = Vote(phase, value)

    def _latest(self, votes: list[Vote]) -> Vote:
        if Pitfall.PHASE_IGNORED in self.pitfalls:
            return min(votes, key=lambda vote: vote.value)
        return max(votes)  # votes of one phase are all for the same value

    def _cast_vote(self, phase: int, registers: list[Register]) -> None:
        value = self._agreed(register.value for register in registers if register.tag == Tag.CANDIDATE)
        if value is None:
            return
        self.vote = Vote(phase, value)
        if Pitfall.VOTE_NOT_KEPT not in self.pitfalls:
            self.mru_vote = self.vote

    def _try_to_decide(self, registers: list[Register]) -> int | None:
        value = self._agreed(register.value for register in registers if register.tag == Tag.VOTE)
        if value is None or self.decision is not None:
            return None
        self.decision = value
        return value

    def _agreed(self, values: Iterable[int]) -> int | None:
        """The value that a quorum named."""
        for value, count in Counter(values).most_common(1):
            if self._is_quorum(count):
                return value
        return None

    def _is_quorum(self, count: int) -> bool:
        if Pitfall.HALF_IS_ENOUGH in self.pitfalls:
            return count >= len(self.members) // 2
        return 2 * count > len(self.members)
