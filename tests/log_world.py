"""A world for an engine that keeps a log, drawn from a seed: partitions come and go, frames are lost, doubled and late,
nodes die between two effects and come back; values are submitted, the log is cut short, reads are asked for.

What must hold of any log is in Told, for the conformance suite's world as well (conformance/log_worlds.py).
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from network import Node

from testbed.explore.model import all_pairs
from testbed.nodes.consensus.logs import LOG_STEPS, pack_parts, read_parts
from testbed.nodes.core import Decide, Effect, Install, Propose, Readable
from testbed.nodes.core.config import NodeConfig, ProtocolConfig
from testbed.nodes.core.disk import State
from testbed.nodes.core.moments import Moment
from testbed.nodes.core.segmented import Segmented
from testbed.nodes.frames import Frame

RETRY_NS = 100
DELAY_NS = 20  # at most, while nothing is wrong

Build = Callable[[NodeConfig], Any]


class BrokenError(AssertionError):
    """Something that an engine promises does not hold."""


def must(holds: bool, what: str) -> None:
    """Raises BrokenError unless it holds."""
    if not holds:
        raise BrokenError(what)


class Told:
    """What ``n`` nodes are told of one log, looked at with every effect (BrokenError): one order, each value once,
    nothing that nobody submitted, no read that is older than what was over when it was asked for. A holder's state is
    the list of all that it was told, so that a log that comes in as a snapshot is held against the others as well.

    order: the log, as somebody was told it first. held: what each node's life was told. reads: those that wait, each
    with how much had been decided when it was asked for.
    """

    def __init__(self, n: int) -> None:
        self.order: list[bytes] = []
        self.held: list[list[bytes]] = [[] for _ in range(n)]
        self.submitted: set[bytes] = set()
        self.reads: dict[int, int] = {}
        self.answered = 0

    def begin(self, number: int) -> None:
        """A life of this node begins."""
        self.held[number] = []

    def ask(self) -> int:
        """The number of a read that is asked for now."""
        number = self.answered + len(self.reads)
        self.reads[number] = len(self.order)
        return number

    def tell(self, number: int, effect: Effect) -> None:
        """A node records it."""
        held = self.held[number]
        if isinstance(effect, Propose):
            self.submitted.add(effect.value)
        elif isinstance(effect, Decide):
            must(effect.instance == len(held), "order: the log has no holes and goes on where it was")
            held.append(effect.value)
            self.extend(number, effect.instance)
        elif isinstance(effect, Install):
            must(effect.below >= len(held), "order: nobody goes back")
            held[:] = read_parts(effect.state) or []
            must(effect.below == len(held), "agreement: a snapshot stands for what it says")
            self.extend(number, 0)
        elif isinstance(effect, Readable):
            known = self.reads.pop(effect.number)
            must(effect.below >= known, f"reads: one misses what was over: {effect.below} of {known}")
            self.answered += 1

    def extend(self, number: int, since: int) -> None:
        """What a node holds from there on is a part of the one order, or goes on with it."""
        held = self.held[number]
        known = min(len(held), len(self.order))
        must(held[since:known] == self.order[since:known], "agreement: all logs are one")
        for value in held[known:]:
            must(value in self.submitted, "validity: somebody submitted it")
            must(value not in self.order, "integrity: each value is there once")
            self.order.append(value)


class LogWorld(Told):
    """``n`` nodes. loss: probability that a frame is lost; it is doubled with the same, or late."""

    def __init__(self, seed: int, n: int, build: Build, loss: float = 0.05, **protocol: Any) -> None:
        super().__init__(n)
        self.rng = random.Random(seed)
        self.build = lambda config: Segmented(build(config))
        self.loss = loss
        self.now_ns = 0
        self.calmed = False
        settings = ProtocolConfig(retry_ns=RETRY_NS, seed=seed, **protocol)
        self.nodes = [Node(self, config) for config in all_pairs(n, settings)]
        self.cuts: set[tuple[int, int]] = set()  # who does not hear whom
        self.doomed: dict[int, int] = {}  # node -> the send with which its next life ends
        self._submissions = 0
        self._heap: list[tuple[int, int, int, Any]] = []
        self._serial = 0
        self._timers: dict[tuple[int, str], int] = {}

    # -- what is done ------------------------------------------------------------------------------------------------

    def start(self, number: int, state: State = State.KEPT) -> None:
        self.begin(number)
        self._forget(number)
        self.nodes[number].start(state)

    def kill(self, number: int) -> None:
        self.nodes[number].kill()
        self._forget(number)

    def submit(self, number: int) -> None:
        """Another value."""
        self._submissions += 1
        self._do(number, lambda machine: machine.submit(self._submissions.to_bytes(4, "big"), self.now_ns))

    def read(self, number: int, mode: str = "index") -> None:
        """The node wants to read."""
        read = self.ask()
        self._do(number, lambda machine: machine.read(read, mode, self.now_ns))

    def compact(self, number: int) -> None:
        """The node's log is cut short."""
        held = self.held[number]
        self._do(number, lambda machine: machine.compact(len(held), pack_parts(held), self.now_ns))

    def part(self, *numbers: int) -> None:
        """These hear each other, the others hear each other; in place of the partition that was."""
        ends = [(one, other) for one in range(len(self.nodes)) for other in range(len(self.nodes))]
        self.cuts = {(one, other) for one, other in ends if (one in numbers) != (other in numbers)}

    def run(self, until_ns: int) -> None:
        """Time passes."""
        while self._heap and self._heap[0][0] <= until_ns:
            self.now_ns, serial, number, what = heapq.heappop(self._heap)
            node = self.nodes[number]
            if isinstance(what, Frame):
                if node.machine is not None and (what.key.src, number) not in self.cuts:
                    node.hear(what)
            elif self._timers.get((number, what)) == serial:
                del self._timers[number, what]
                node.fire(what)
        self.now_ns = until_ns

    def rage(self, steps: int, step_ns: int, kills: float = 0.2, compacts: float = 0.2) -> None:
        """So many times: other partitions, perhaps a death or a return, values and reads; then time for it."""
        rng, n = self.rng, len(self.nodes)
        for number in range(n):
            self.start(number)
        for _ in range(steps):
            self.run(self.now_ns + rng.randrange(1, step_ns))
            number = rng.randrange(n)
            if self.nodes[number].machine is None:
                self.start(number, rng.choice((State.KEPT, State.TORN, State.UNSYNCED_LOST)))
            elif rng.random() < kills:
                self.kill(number)
            elif rng.random() < kills:
                self.kill(number)
                self.doomed[number] = rng.randrange(1, 3 * n)
                self.start(number)
            if rng.random() < 0.5:
                self.part(*([one for one in range(n) if rng.random() < 0.5] if rng.random() < 0.8 else ()))
            for number in (one for one in range(n) if self.nodes[one].machine is not None):
                deed = rng.random()
                if deed < 0.3:
                    self.submit(number)
                elif deed < 0.5:
                    self.read(number)
                elif deed < 0.5 + compacts and self.held[number]:
                    self.compact(number)

    def calm(self, for_ns: int) -> None:
        """Everybody is up, hears everybody, and nothing is lost any more."""
        self.cuts, self.loss, self.calmed = set(), 0.0, True
        for node in self.nodes:
            if node.machine is None:
                self.start(node.config.node)
        self.run(self.now_ns + for_ns)

    # -- Net ---------------------------------------------------------------------------------------------------------

    def transmit(self, frame: Frame) -> None:
        fate = self.rng.random()
        if fate < self.loss or (frame.key.src, frame.dst) in self.cuts:
            return
        for _ in range(2 if fate < 2 * self.loss else 1):
            most_ns = 30 * DELAY_NS if fate > 1 - self.loss else DELAY_NS
            self._push(self.now_ns + self.rng.randint(1, most_ns), frame.dst, frame)

    def arm(self, node: Node, name: str, at_ns: int) -> None:
        number = node.config.node
        self._timers[number, name] = self._push(max(at_ns, self.now_ns), number, name)

    def disarm(self, node: Node, name: str) -> None:
        self._timers.pop((node.config.node, name), None)

    def record(self, node: Node, effect: Effect) -> None:
        self.tell(node.config.node, effect)

    def strike(self, node: Node, index: int) -> bool:
        if self.calmed:
            return True
        self._forget(node.config.node)
        return False

    def moments(self, node: Node) -> Sequence[Moment]:
        sends = self.doomed.pop(node.config.node, 0)
        return [Moment(0, after_sends=sends)] if sends else []

    # -- inside ------------------------------------------------------------------------------------------------------

    def _do(self, number: int, deed: Callable[[Any], Any]) -> None:
        node = self.nodes[number]
        node._do(deed(node.machine.machine))

    def _forget(self, number: int) -> None:
        self._timers = {timer: at for timer, at in self._timers.items() if timer[0] != number}

    def _push(self, at_ns: int, number: int, what: Any) -> int:
        self._serial += 1
        heapq.heappush(self._heap, (at_ns, self._serial, number, what))
        return self._serial


class Clocked(LogWorld):
    """Nothing is lost, every frame takes DELAY_NS, and all are up; told: when which node decided which entry."""

    DELAY_NS = 10

    def __init__(self, n: int, build: Build, seed: int = 0) -> None:
        self.told: list[tuple[int, int, int]] = []
        self.sent: list[tuple[int, Frame]] = []
        super().__init__(seed, n, build, loss=0.0)
        for number in range(n):
            self.start(number)

    def transmit(self, frame: Frame) -> None:
        self.sent.append((self.now_ns, frame))
        if (frame.key.src, frame.dst) not in self.cuts:
            self._push(self.now_ns + self.DELAY_NS, frame.dst, frame)

    def record(self, node: Any, effect: Effect) -> None:
        super().record(node, effect)
        if isinstance(effect, Decide):
            self.told.append((self.now_ns, node.config.node, effect.instance))

    def wait(self, for_ns: int) -> None:
        self.run(self.now_ns + for_ns)


class Staged(LogWorld):
    """Nothing arrives by itself: frames wait on the wire, in the order in which they were sent. No timer fires."""

    def __init__(self, n: int, build: Build) -> None:
        self.wire: list[Frame] = []
        super().__init__(0, n, build, loss=0.0)
        for number in range(n):
            self.start(number)

    def transmit(self, frame: Frame) -> None:
        self.wire.append(frame)

    def let(self, *numbers: int, only: Iterable[int] = range(LOG_STEPS)) -> None:
        """What these say to each other arrives, and what they answer, until all is said; the rest waits. only: the
        engine's own messages, if nothing else is said."""
        steps = set(only)
        while True:
            due = [one for one in self.wire if {one.key.src, one.dst} <= set(numbers) and one.message.step in steps]
            if not due:
                return
            self.arrive(due[0])

    def deliver(self, src: int, dst: int) -> None:
        """The first that waits on this way arrives."""
        self.arrive(next(one for one in self.wire if (one.key.src, one.dst) == (src, dst)))

    def arrive(self, frame: Frame) -> None:
        """It waits no longer."""
        self.wire.remove(frame)
        if self.nodes[frame.dst].machine is not None:
            self.nodes[frame.dst].hear(frame)

    def lose(self) -> None:
        """All that waits is lost."""
        self.wire.clear()

    def fire(self, number: int, timer: str) -> None:
        self.nodes[number].fire(timer)


def wrong(story: Callable[..., None], *arguments: Any) -> str:
    """What a world sees in it that must not be, if anything."""
    try:
        story(*arguments)
    except BrokenError as broken:
        return str(broken)
    return ""


def goes_wrong(story: Callable[[Any], None], pitfalls: Any = ()) -> bool:
    """Whether there is anything."""
    return wrong(story, pitfalls) != ""
