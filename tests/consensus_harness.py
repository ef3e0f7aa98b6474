"""What the stories of this room are told with: rounds under chosen heard-of sets, a chaotic network, islands."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from network import Timed

from testbed.nodes.core import CancelTimer, Decide, Effects, Life, Port, Send, SetTimer
from testbed.nodes.frames import Frame, Message
from testbed.nodes.oae.algorithm import RoundAlgorithm

HeardOf = Callable[[int, int], "set[int] | frozenset[int]"]
"""(round, receiver) -> the senders that it hears."""


# -- rounds -----------------------------------------------------------------------------------------------------------


class Decision(NamedTuple):
    """round counts from 0."""

    round: int
    value: int


def run_rounds(
    algorithms: Mapping[int, RoundAlgorithm],
    heard_of: HeardOf,
    rounds: int,
    alive: Callable[[int, int], bool] | None = None,
) -> dict[int, Decision]:
    """Who decided what, and when. alive(node, round): whether the node lives to the end of the round."""
    decisions: dict[int, Decision] = {}
    for round_ in range(rounds):
        offered = {node: algorithm.message(round_) for node, algorithm in algorithms.items()}
        for node, algorithm in algorithms.items():
            if alive is not None and not alive(node, round_):
                continue
            value = algorithm.deliver(round_, {sender: offered[sender] for sender in heard_of(round_, node)})
            if value is not None:
                assert node not in decisions, "a node decides once"
                decisions[node] = Decision(round_, value)
    return decisions


class Crash(NamedTuple):
    """``node`` dies in ``round``, having reached only ``reached``."""

    node: int
    round: int
    reached: frozenset[int]


def subsets(items: Sequence[int]) -> Iterator[frozenset[int]]:
    """All of them, by size."""
    for size in range(len(items) + 1):
        for chosen in itertools.combinations(items, size):
            yield frozenset(chosen)


def crash_patterns(n: int, most: int, rounds: int) -> Iterator[tuple[Crash, ...]]:
    """Every way in which at most ``most`` of n nodes can crash within ``rounds`` rounds."""
    ways = [
        [
            Crash(node, round_, reached)
            for round_ in range(rounds)
            for reached in subsets([p for p in range(n) if p != node])
        ]
        for node in range(n)
    ]
    for count in range(most + 1):
        for nodes in itertools.combinations(range(n), count):
            yield from itertools.product(*(ways[node] for node in nodes))


def run_crashes(algorithms: Mapping[int, RoundAlgorithm], crashes: Sequence[Crash], rounds: int) -> dict[int, Decision]:
    """Rounds without any missed window; a node that dies in a round does not end it."""
    death = {crash.node: crash for crash in crashes}

    def hears(round_: int, receiver: int) -> set[int]:
        return {
            sender
            for sender in algorithms
            if sender == receiver
            or sender not in death
            or round_ < death[sender].round
            or (round_ == death[sender].round and receiver in death[sender].reached)
        }

    return run_rounds(algorithms, hears, rounds, lambda node, round_: node not in death or round_ < death[node].round)


FIRST = Life(1, 0)
"""Whose word a message is when no life but the first has been."""


def port_to(machine: Any, peer: int) -> Port:
    """Where ``machine`` is attached to node ``peer``."""
    return [other.node for other in machine.config.peers].index(peer)


# -- messages ---------------------------------------------------------------------------------------------------------


class Chaos:
    """What asynchrony allows, in stages. In each stage some nodes hear each other and the frames between them come in
    any order, in part or all of them, some twice; what is on the way between the others waits for a later stage or is
    lost. Timers fire at any time. (Picking frames one by one from all that is pending hardly ever leads two
    quorums past each other; stages do.)"""

    def __init__(
        self, machines: Mapping[int, Any], rng: random.Random, loss: float = 0.3, double: float = 0.05
    ) -> None:
        self.machines = machines
        self.rng = rng
        self.loss = loss
        self.double = double
        self.pending: list[tuple[int, int, Message]] = []  # sender, receiver
        self.armed: set[tuple[int, str]] = set()
        self.decisions: list[Decide] = []

    def run(self, stages: int) -> list[Decide]:
        """All decisions, in the order in which they are made."""
        for node, machine in self.machines.items():
            self._perform(node, machine.on_start(0, {}))
        for _ in range(stages):
            self._stage()
        return self.decisions

    def _stage(self) -> None:
        rng = self.rng
        group = set(rng.sample(sorted(self.machines), rng.randint(2, len(self.machines))))
        due = sorted(timer for timer in self.armed if timer[0] in group)
        if due and rng.random() < 0.7:
            node, name = rng.choice(due)
            self.armed.remove((node, name))
            self._perform(node, self.machines[node].on_timer(name, 0))
        left = rng.choice((2, 4, 8, 16, 1000))
        while left > 0:
            ready = [i for i, (src, dst, _) in enumerate(self.pending) if {src, dst} <= group]
            if not ready:
                break
            index = rng.choice(ready)
            src, dst, message = self.pending[index]
            if rng.random() >= self.double:
                self.pending.pop(index)
            self._perform(dst, self.machines[dst].on_message(port_to(self.machines[dst], src), message, FIRST, 0))
            left -= 1
        self.pending = [way for way in self.pending if rng.random() >= self.loss]

    def _perform(self, node: int, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                dst = self.machines[node].config.peers[effect.port].node
                self.pending.append((node, dst, effect.message))
            elif isinstance(effect, SetTimer):
                self.armed.add((node, effect.name))
            elif isinstance(effect, CancelTimer):
                self.armed.discard((node, effect.name))
            elif isinstance(effect, Decide):
                self.decisions.append(effect)


def islands(machines: Mapping[int, Any], seed: int, calm_ns: int, delay_ns: int = 10) -> Timed:
    """A run in which, until ``calm_ns``, a minority is cut off again and again for long enough to be given up, often
    in the middle of what it was about, and some of all frames are lost. It ends long after that."""
    rng = random.Random(f"islands {seed}")
    n = len(machines)
    spans: list[tuple[int, int, list[int]]] = []
    at_ns = 0
    while at_ns < calm_ns:
        at_ns += delay_ns * rng.choice((1, 2, 4, 10, 100)) * rng.randint(1, 4)
        until_ns = at_ns + delay_ns * rng.randrange(30, 400)
        spans.append((at_ns, until_ns, rng.sample(range(n), rng.randint(1, (n - 1) // 2))))
        at_ns = until_ns
    loss = rng.choice((0, 0.2, 0.5))

    def takes_ns(src: int, dst: int, _: Frame) -> int | None:
        if net.now_ns > calm_ns:
            return delay_ns
        cut = any(begin <= net.now_ns < end and (src in alone) != (dst in alone) for begin, end, alone in spans)
        return None if cut or rng.random() < loss else rng.randrange(delay_ns - 2, delay_ns + 3)

    net = Timed(machines, takes_ns)
    net.start()
    net.run(6 * calm_ns)
    return net
