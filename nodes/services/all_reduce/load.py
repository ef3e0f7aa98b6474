"""What a worker of a training asks of all-reduce: it contributes a gradient, waits for the sum, and goes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from testbed.nodes.core.inputs import draw
from testbed.nodes.services.all_reduce.table import RESULTS
from testbed.nodes.services.spec import Asker
from testbed.nodes.services.words import pack_words, read_words


@dataclass(frozen=True, slots=True)
class Mix:
    """What a worker contributes."""

    elements: int = field(
        default=4, metadata={"about": "How many numbers each worker contributes to a round.", "ge": 1, "le": 10_000}
    )


class AllReduceLoad:
    """One worker's operations. A new life begins with round 0, is told where the others are, and contributes what its
    earlier life did, or would have."""

    def __init__(self, asker: Asker, mix: Mix) -> None:
        self.asker, self.mix = asker, mix
        self.round = 0
        self.waits = False

    def call(self, number: int, now_ns: int) -> bytes:  # noqa: ARG002 - whenever it is
        """The command of operation ``number``."""
        if self.waits:
            return pack_words("poll", self.round)
        gradient = gradient_of(self.asker, self.round, self.mix.elements)
        return pack_words("contribute", self.round, self.asker.place, self.asker.of, gradient)

    def returned(self, call: bytes, result: bytes) -> None:  # noqa: ARG002 - the result says it all
        """Go on with the sum."""
        match read_words(result, RESULTS):
            case ["sum", round_, _] if round_ == self.round:
                self.round, self.waits = self.round + 1, False
            case ["past", now] if now > self.round:
                self.round, self.waits = now, False
            case ["waiting", round_, _] if round_ == self.round:
                self.waits = True


def gradient_of(asker: Asker, step: int, elements: int) -> list[int]:
    """What a worker computes in a step: the same in each of its lives."""
    return [draw(asker.seed, "gradient", asker.place, step, place) % 2001 - 1000 for place in range(elements)]
