"""What a worker of a training asks of a parameter server: it pulls the model, pushes a gradient, and goes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from testbed.nodes.services.all_reduce.load import gradient_of
from testbed.nodes.services.parameter_server.table import CALLS, RESULTS
from testbed.nodes.services.spec import Asker
from testbed.nodes.services.words import pack_words, read_words


@dataclass(frozen=True, slots=True)
class Mix:
    """What workers train."""

    staleness: int = field(
        default=0,
        metadata={
            "about": "So many iterations a worker may be ahead of the slowest; 0: none.",
            "ge": 0,
            "le": 1_000_000,
        },
    )
    elements: int = field(default=4, metadata={"about": "How many numbers the model has.", "ge": 1, "le": 10_000})


class TrainingLoad:
    """One worker's operations. A new life is told by the model where the last one was."""

    def __init__(self, asker: Asker, mix: Mix) -> None:
        self.asker, self.mix = asker, mix
        self.iteration = 0
        self.pulled = False

    def call(self, number: int, now_ns: int) -> bytes:  # noqa: ARG002 - whenever it is
        """The command of operation ``number``."""
        if not self.pulled:
            return pack_words("pull", self.iteration, self.mix.staleness, self.asker.of)
        gradient = gradient_of(self.asker, self.iteration, self.mix.elements)
        return pack_words("push", self.iteration, self.asker.place, gradient)

    def returned(self, call: bytes, result: bytes) -> None:
        """Compute with the model; what was pushed is over."""
        match read_words(call, CALLS), read_words(result, RESULTS):
            case ["pull", iteration, *_], ["model", clocks, _] if iteration == self.iteration:
                behind = clocks[self.asker.place] > self.iteration
                self.iteration, self.pulled = max(self.iteration, clocks[self.asker.place]), not behind
            case ["push", *_], ["pushed", iteration] if iteration == self.iteration:
                self.iteration, self.pulled = self.iteration + 1, False
