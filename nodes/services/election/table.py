"""Who leads, as a state machine: a lease whose token is the term.

campaign office candidate stamp lease -> leads term | follows leader term. resign office term -> resigned | stale term.
observe office -> leader candidate term | nobody term.
"""

from __future__ import annotations

from collections.abc import Collection

from testbed.nodes.core.disk import pack, unpack
from testbed.nodes.services.facts import Facts, Granted, Holds
from testbed.nodes.services.leases import Leases
from testbed.nodes.services.words import REFUSED, pack_words, read_words

CALLS = {"campaign": (str, str, int, int), "resign": (str, int), "observe": (str,)}
RESULTS = {"leads": (int,), "follows": (str, int), "resigned": (), "stale": (int,), "leader": (str, int),
           "nobody": (int,)}  # fmt: skip


class Offices:
    """The state (testbed.nodes.services.spec.StateMachine). A leader stays until it resigns, or until somebody
    campaigns whose stamp is past its lease."""

    def __init__(self, pitfalls: Collection[str] = ()) -> None:
        self.leases = Leases(pitfalls)

    def apply(self, command: bytes) -> bytes:
        """Carry the command out."""
        match read_words(command, CALLS):
            case ["campaign", office, candidate, stamp, lease]:
                elected, held = self.leases.take(office, candidate, stamp, lease)
                return pack_words("leads", held.token) if elected else pack_words("follows", held.holder, held.token)
            case ["resign", office, term]:
                resigned = self.leases.give_up(office, term)
                return pack_words("resigned") if resigned else pack_words("stale", self.leases.of(office).token)
            case ["observe", office]:
                held = self.leases.of(office)
                return (
                    pack_words("leader", held.holder, held.token) if held.holder else pack_words("nobody", held.token)
                )
        return REFUSED

    def snapshot(self) -> bytes:
        """All of it."""
        return pack(self.leases.packed())

    def restore(self, snapshot: bytes) -> None:
        """The inverse of snapshot."""
        (leases,) = unpack(snapshot)
        self.leases.unpacked(leases)


def office_of(command: bytes) -> str:
    """The office that a command is about; none where it is no command, which touches nothing."""
    said = read_words(command, CALLS)
    return "" if said is None else said[1]


def only_reads(command: bytes) -> bool:
    """Whether it changes nothing, whatever is there."""
    said = read_words(command, CALLS)
    return said is None or said[0] == "observe"


def tells(call: bytes, result: bytes) -> Facts:
    """What became of a call."""
    match read_words(call, CALLS), read_words(result, RESULTS):
        case ["campaign", office, candidate, _, _], ["leads", term]:
            return (Granted(office, term, candidate),)
        case [_, office, *_], ["follows" | "leader", leader, term]:
            return (Holds(office, term, leader),)
    return ()
