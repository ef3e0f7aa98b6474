"""FloodSet, in its FloodMin form, with early deciding (Dolev, Reischuk, Strong 1990). See notes.md."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import pack, unpack
from testbed.nodes.core.inputs import another_value
from testbed.nodes.core.layout import Bodies, Body, numbers, pad
from testbed.nodes.frames import BODY_BYTES, Kind, Message

_REGISTER = struct.Struct("!II8x")  # early flag, estimate
BODIES: Bodies = {0: Body("register", (*numbers(4, "early", "estimate"), pad(8)))}
assert _REGISTER.size == BODY_BYTES


class Pitfall(StrEnum):
    """Known bugs that a test puts in on purpose, to show that its checker finds them."""

    NO_FORWARDING = "no_forwarding"  # decides in the round that gives the evidence, before anybody else has it
    ONE_ROUND_SHORT = "one_round_short"  # f rounds instead of f + 1


def rounds_needed(f: int) -> int:
    """Rounds after which every node has decided whatever ``f`` nodes crash: f + 1 (Fischer, Lynch 1982: no fewer)."""
    return f + 1


def says(message: Message) -> str:
    """A register in words."""
    early, estimate = _REGISTER.unpack(message.body)
    return f"estimate {estimate}" + (", final" if early else "")


def falsify(config: NodeConfig, message: Message, which: int) -> Message | None:
    """A register with another estimate."""
    if message.kind is not Kind.SWAP:
        return None
    early, estimate = _REGISTER.unpack(message.body)
    return message._replace(body=_REGISTER.pack(early, another_value(config, estimate, which)))


@dataclass(slots=True)
class FloodSet:
    """One instance at one node (testbed.nodes.oae.algorithm.RoundAlgorithm).

    value: the input, 32 bits unsigned. early_deciding: decide in min(f' + 2, f + 1) rounds for f' actual crashes;
    without it always in f + 1. Decides the least value that it has seen.
    """

    me: int
    members: tuple[int, ...]
    f: int
    value: int
    early_deciding: bool = True
    pitfalls: Collection[Pitfall] = ()
    estimate: int = field(init=False)
    early: bool = field(init=False, default=False)  # nobody alive can know a value below the estimate any more
    heard_before: int = field(init=False)  # how many were heard in the round before
    decision: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.estimate = self.value
        self.heard_before = len(self.members)

    def message(self, round_: int) -> bytes:  # noqa: ARG002 - the register does not depend on it
        """The estimate, and whether it is known to be final."""
        return _REGISTER.pack(self.early, self.estimate)

    def deliver(self, round_: int, heard: Mapping[int, bytes]) -> int | None:
        """Take the least estimate; decide one round after it became known to be final, or in round f (from 0)."""
        forwarded = self.early  # what made it final has gone out with this round's register
        registers = [_REGISTER.unpack(register) for register in heard.values()]
        self.estimate = min([self.estimate, *(estimate for _, estimate in registers)])
        if self.early_deciding:
            self.early = forwarded or len(heard) == self.heard_before or any(early for early, _ in registers)
        self.heard_before = len(heard)
        if self.decision is not None or not self._may_decide(round_, forwarded):
            return None
        self.decision = self.estimate
        return self.decision

    def snapshot(self) -> bytes:
        """The estimate, what is known about it, and the decision."""
        return pack(self.value, self.estimate, self.early, self.heard_before, self.decision)

    def restore(self, snapshot: bytes) -> None:
        """The inverse of snapshot."""
        self.value, self.estimate, self.early, self.heard_before, self.decision = unpack(snapshot)

    def _may_decide(self, round_: int, forwarded: bool) -> bool:
        if Pitfall.NO_FORWARDING in self.pitfalls and self.early:
            return True
        last = rounds_needed(self.f) - 1 - (Pitfall.ONE_ROUND_SHORT in self.pitfalls)
        return forwarded or round_ >= last
