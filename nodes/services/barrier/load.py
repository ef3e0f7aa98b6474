"""What a worker asks of a barrier: it enters, waits until it is open, and enters the next round."""

from __future__ import annotations

from dataclasses import dataclass

from testbed.nodes.services.barrier.table import RESULTS
from testbed.nodes.services.spec import Asker
from testbed.nodes.services.words import pack_words, read_words


@dataclass(frozen=True, slots=True)
class Mix:
    """Nothing to choose: as many take part as there are clients."""


class BarrierLoad:
    """One worker's operations. A new life begins with round 0, and finds open what was."""

    def __init__(self, asker: Asker, mix: Mix) -> None:  # noqa: ARG002 - there is nothing in it
        self.asker = asker
        self.round = 0
        self.entered = False

    def call(self, number: int, now_ns: int) -> bytes:  # noqa: ARG002 - whenever it is
        """The command of operation ``number``."""
        if self.entered:
            return pack_words("poll", self.round)
        return pack_words("enter", self.round, self.asker.place, self.asker.of)

    def returned(self, call: bytes, result: bytes) -> None:  # noqa: ARG002 - the result says it all
        """Go on when the round is open."""
        match read_words(result, RESULTS):
            case ["open", round_] if round_ == self.round:
                self.round, self.entered = self.round + 1, False
            case ["waiting", round_, _] if round_ == self.round:
                self.entered = True
