"""What needs no order: values of which it does not matter which comes first, and where a value stands among the others.

Values fall into chains: of each class one of those that write and one of those that only read, and one of what touches
more than one class. What stands in chains that conflict is put in the same order everywhere; of the rest each node is
told in an order of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Touch(NamedTuple):
    """What a value is about. part: a number for the part of the state that alone it touches; None: more than one.
    reads: it changes nothing, so that those that do the same commute."""

    part: int | None
    reads: bool = False


Touches = Callable[[bytes], Touch]


def by_number(value: bytes) -> Touch:
    """For values that are numbers: each has a part of its own, until classes throw them together."""
    return Touch(int.from_bytes(value, "big"))


@dataclass(frozen=True)
class Commuting:
    """Which values commute: those of different classes, and those that only read. classes: into so many the parts of
    the state fall; with one of them all that writes is put into one order. touches: what a value is about."""

    classes: int
    touches: Touches = by_number

    @property
    def chains(self) -> int:
        """How many there are."""
        return 2 * self.classes + 1

    def chain(self, value: bytes) -> int:
        """Where it stands."""
        part, reads = self.touches(value)
        return 2 * self.classes if part is None else 2 * (part % self.classes) + reads

    def writing(self, chain: int) -> int:
        """The chain of the same class in which all is in order, whatever it does."""
        everything = 2 * self.classes
        return chain if chain == everything else chain - chain % 2

    def conflicting(self, chain: int) -> range | tuple[int, ...]:
        """The chains whose values must keep an order with those of ``chain``."""
        everything = 2 * self.classes
        if chain == everything:
            return range(self.chains)
        return (chain - 1, everything) if chain % 2 else (chain, chain + 1, everything)


class Place(NamedTuple):
    """Where a value stands. number: its own in its chain, where that is an order; None: it only reads. behind: how
    many stand before it in each of the chains that it conflicts with. Lives that agree tell each value in the same
    place, and in each place the same value; then whatever conflicts has the same order in all of them."""

    chain: int
    number: int | None
    behind: tuple[int, ...]


class Places:
    """The places of what one life is told, one value after another."""

    def __init__(self, commuting: Commuting) -> None:
        self.commuting = commuting
        self.told: Counter[int] = Counter()

    def next(self, value: bytes) -> Place:
        """Where ``value`` would stand if it were told now."""
        chain = self.commuting.chain(value)
        conflicting = self.commuting.conflicting(chain)
        number = self.told[chain] if chain in conflicting else None
        return Place(chain, number, tuple(self.told[other] for other in conflicting))

    def add(self, value: bytes) -> Place:
        """It is told now."""
        place = self.next(value)
        self.told[place.chain] += 1
        return place
