"""What a member knows of one command, and what its coordinator, or who recovers it, is about to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from testbed.nodes.consensus.epaxos.needs import Name, Needs
from testbed.nodes.core.disk import pack, unpack

UNKNOWN = b""
"""In place of a command's entry: nobody has told what it is."""


class Phase(IntEnum):
    """How far a command has come here. All but the last may be taken back by a higher ballot."""

    INITIAL = 0
    PREACCEPTED = 1
    ACCEPTED = 2
    COMMITTED = 3


@dataclass(slots=True)
class Command:
    """One command, as it stands at one member. promised: it answers no ballot below this one. voted: the latest ballot
    in which it accepted. entry: what the command is, NOOP for one that was given up; needs: what it depends on.
    first_entry, first_needs: the same as the coordinator began with. tries: how often what it carries was given up
    before, under other names. executed: whether this life has carried it out."""

    promised: int = 0
    voted: int = 0
    phase: Phase = Phase.INITIAL
    entry: bytes = UNKNOWN
    needs: Needs = ()
    first_entry: bytes = UNKNOWN
    first_needs: Needs = ()
    tries: int = 0
    executed: bool = False

    @property
    def committed(self) -> bool:
        """Whether it is settled."""
        return self.phase is Phase.COMMITTED

    def pack(self) -> bytes:
        """All that a later life must know."""
        again = self.first_entry == self.entry
        return pack(
            self.promised,
            self.voted,
            self.phase,
            self.entry.hex(),
            self.needs,
            None if again else self.first_entry.hex(),
            self.first_needs,
            self.tries,
        )


def read_command(data: bytes) -> Command:
    """The inverse of Command.pack."""
    promised, voted, phase, entry, needs, first_entry, first_needs, tries = unpack(data)
    return Command(
        promised,
        voted,
        Phase(phase),
        bytes.fromhex(entry),
        tuple(Name(*one) for one in needs),
        bytes.fromhex(entry if first_entry is None else first_entry),
        tuple(Name(*one) for one in first_needs),
        tries,
    )


class Stage(IntEnum):
    """What an attempt waits for."""

    PREACCEPT = 1
    RECOVER = 2
    VALIDATE = 3
    WAIT = 4
    ACCEPT = 5


class Told(NamedTuple):
    """What a member tells of a command to who recovers it."""

    phase: Phase
    voted: int
    entry: bytes
    needs: Needs
    first_needs: Needs


@dataclass(slots=True)
class Attempt:
    """To get a command committed in ``ballot``; 0 is its coordinator's own. entry, needs: what is proposed.

    told: who has answered a RECOVER, and what; quorum: whose answers counted; agreed: how many of these had
    pre-accepted just what the coordinator began with. sound: who has answered a VALIDATE; conflicts: commands that may
    be committed without this one among their dependencies, and whether they are. preaccepted, accepted: who has
    answered those.
    """

    ballot: int
    stage: Stage
    entry: bytes = UNKNOWN
    needs: Needs = ()
    tries: int = 0
    beats: int = 0  # for how many intervals this has been its stage
    preaccepted: dict[int, Needs] = field(default_factory=dict)
    told: dict[int, Told] = field(default_factory=dict)
    quorum: frozenset[int] = frozenset()
    agreed: int = 0
    sound: set[int] = field(default_factory=set)
    conflicts: dict[Name, bool] = field(default_factory=dict)
    accepted: set[int] = field(default_factory=set)
