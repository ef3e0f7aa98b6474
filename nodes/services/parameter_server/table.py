"""A parameter server as a state machine: a model that workers pull, and push gradients to.

push iteration worker gradient -> pushed iteration. pull iteration staleness of -> model clocks values | waiting clocks.
``clocks``: of each worker how many of its iterations are in the model.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from testbed.nodes.core.disk import pack, unpack
from testbed.nodes.services.all_reduce.table import added
from testbed.nodes.services.facts import Facts, Pulled, Pushed
from testbed.nodes.services.words import REFUSED, pack_words, read_words

CALLS = {"push": (int, int, list), "pull": (int, int, int)}
RESULTS = {"pushed": (int,), "model": (list, list), "waiting": (list,)}


class Pitfall(StrEnum):
    """Known bugs that can be planted."""

    WAITS_FOR_NOBODY = "waits_for_nobody"  # who pulls is given the model as it is
    PUSHES_AGAIN = "pushes_again"  # a gradient that comes again, in a worker's next life, is added again


class Model:
    """The state (testbed.nodes.services.spec.StateMachine). Who is in iteration c is given a model that holds all
    iterations below c - staleness of everybody (Ho et al., NIPS 2013); with staleness 0 nobody is ahead of anybody."""

    def __init__(self, pitfalls: Collection[str] = ()) -> None:
        self.pitfalls = frozenset(pitfalls)
        self.clocks: dict[int, int] = {}
        self.values: list[int] = []

    def apply(self, command: bytes) -> bytes:
        """Carry the command out."""
        match read_words(command, CALLS):
            case ["push", iteration, worker, gradient]:
                return self._push(iteration, worker, gradient)
            case ["pull", iteration, staleness, of] if 0 < of <= 1 << 16:
                clocks = [self.clocks.get(worker, 0) for worker in range(of)]
                if min(clocks) < iteration - staleness and Pitfall.WAITS_FOR_NOBODY not in self.pitfalls:
                    return pack_words("waiting", clocks)
                return pack_words("model", clocks, self.values)
        return REFUSED

    def _push(self, iteration: int, worker: int, gradient: list[int]) -> bytes:
        """Gradients of a worker come in order; one that is in the model already changes nothing."""
        clock = self.clocks.get(worker, 0)
        if iteration > clock:
            return REFUSED
        if iteration == clock or Pitfall.PUSHES_AGAIN in self.pitfalls:
            self.values = added(self.values, gradient)
            self.clocks[worker] = max(clock, iteration + 1)
        return pack_words("pushed", iteration)

    def snapshot(self) -> bytes:
        """All of it."""
        return pack(sorted(self.clocks.items()), self.values)

    def restore(self, snapshot: bytes) -> None:
        """The inverse of snapshot."""
        clocks, self.values = unpack(snapshot)
        self.clocks = dict(clocks)


def only_reads(command: bytes) -> bool:
    """Whether it changes nothing, whatever is there."""
    said = read_words(command, CALLS)
    return said is None or said[0] == "pull"


def asks(call: bytes) -> Facts:
    """What a call says by itself."""
    match read_words(call, CALLS):
        case ["push", iteration, worker, gradient]:
            return (Pushed(iteration, worker, tuple(gradient)),)
    return ()


def tells(call: bytes, result: bytes) -> Facts:
    """What became of a call."""
    match read_words(call, CALLS), read_words(result, RESULTS):
        case ["pull", iteration, staleness, _], ["model", clocks, values]:
            return (Pulled(iteration, staleness, tuple(clocks), tuple(values)),)
    return ()
