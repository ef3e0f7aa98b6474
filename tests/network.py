"""Nodes and a wire in memory for tests: real machines behind real drivers, over all their lives.

``Node`` is what any such network needs of a node; ``Network`` is one on which nothing happens by itself: every frame
waits on the wire until it is told what becomes of it, and time stands until it is moved. On a ``Timed`` one frames
take as long as is chosen for them, and time passes.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from testbed.nodes.core import CancelTimer, Decide, Effect, Effects, Machine, Note, Persist, Port, Propose, SetTimer
from testbed.nodes.core.config import START_NS, NodeConfig
from testbed.nodes.core.disk import DiskFullError, Log, State
from testbed.nodes.core.driver import Driver
from testbed.nodes.core.moments import Moment
from testbed.nodes.core.text import Says, body_text, effect_text, message_text, time_text
from testbed.nodes.frames import Frame
from testbed.nodes.registry import build_machine

Build = Callable[[NodeConfig], Machine]
_DISK_BYTES = 1 << 17


class Net(Protocol):
    """What a node is attached to."""

    now_ns: int
    build: Build

    def transmit(self, frame: Frame) -> None:
        """A node sends."""

    def arm(self, node: Any, name: str, at_ns: int) -> None:
        """A node sets a timer, or moves it."""

    def disarm(self, node: Any, name: str) -> None:
        """A node cancels a timer."""

    def record(self, node: Any, effect: Effect) -> None:
        """A node tells something."""

    def strike(self, node: Any, index: int) -> bool:
        """A moment that a fault waits for has come; False ends the node's life."""

    def moments(self, node: Any) -> Sequence[Moment]:
        """What a life that begins now is to be struck by."""


class Node:
    """One node over all its lives (testbed.nodes.core.driver.NodeIO). amnesic: a life has begun without the state
    before it."""

    def __init__(self, net: Net, config: NodeConfig) -> None:
        self.net, self.config = net, config
        self.machine: Any = None  # None while it is down
        self.epoch = 0
        self.amnesic = False
        self.keeps = True  # False saves much time where nobody is restarted
        self.disk = Log(bytearray(_DISK_BYTES))
        self._driver: Driver

    def start(self, state: State) -> None:
        """The next life begins, with what is found on the last one's disk."""
        self.kill()
        self.epoch += 1
        config = replace(self.config, epoch=self.epoch, keeps=self.keeps)
        found = self.disk.recover(state)
        if not found:
            self.amnesic = self.epoch > 1
        self.machine = self.net.build(config)
        self._driver = Driver(self.machine, self, config, self.net.moments(self), found)
        self._do(self._driver.wake(self.net.now_ns))

    def kill(self) -> None:
        """The life ends, if there is one."""
        self.machine = None

    def hear(self, frame: Frame) -> None:
        """A frame comes in."""
        port = [peer.node for peer in self.config.peers].index(frame.key.src)
        self._do(self._driver.hear(port, frame, self.net.now_ns))

    def fire(self, name: str) -> None:
        """A timer is due."""
        self._do(self._driver.ring(name, self.net.now_ns))

    def _do(self, effects: Effects) -> None:
        if not self._driver.perform(effects, self.net.now_ns):
            self.kill()

    # -- NodeIO ------------------------------------------------------------------------------------------------------

    def send(self, port: Port, frame: Frame, now_ns: int) -> None:
        assert frame.dst == self.config.peers[port].node
        self.net.transmit(frame)

    def set_timer(self, name: str, at_ns: int) -> None:
        self.net.arm(self, name, at_ns)

    def cancel_timer(self, name: str) -> None:
        self.net.disarm(self, name)

    def record(self, effect: Effect, now_ns: int) -> None:
        self.net.record(self, effect)

    def persist(self, key: str, data: bytes | None, more: bool, now_ns: int) -> bool:
        try:
            self.disk.append(key, data, more)
        except DiskFullError:
            return False
        return True

    def sync(self, now_ns: int) -> None:
        self.disk.sync()

    def strike(self, index: int, now_ns: int) -> bool:
        return self.net.strike(self, index)


class Way(NamedTuple):
    """A frame under way since ``sent_ns``."""

    sent_ns: int
    frame: Frame


EVERYTHING = frozenset(
    ("send", "timer", "cancel", "transition", "resolve", "propose", "decide", "roundstart", "note", "frame")
)
"""What a Network tells, by the kinds of effects in small letters; ``frame``: what became of a frame."""

KINDS = EVERYTHING | {"persist"}
"""What it can tell if it is asked to: what goes to a disk follows from the rest, and would drown it."""


class Heard(Node):
    """A node that also tells its network what it persists."""

    net: Network

    def persist(self, key: str, data: bytes | None, more: bool, now_ns: int) -> bool:
        self.net.persisted(self, Persist(key, data, more=more))
        return super().persist(key, data, more, now_ns)


class Network:
    """Nodes whose frames wait on one wire, and whose clock stands still, until told otherwise.

    ``told`` gathers what happens as lines: a heading for each event and what the node does in it, indented.
    """

    def __init__(self, configs: Sequence[NodeConfig], says: Says = body_text, build: Build = build_machine) -> None:
        self.build, self.says = build, says
        self.now_ns = START_NS
        self.nodes = {config.name: Heard(self, config) for config in configs}
        self.wire: list[Way] = []
        self.cuts: set[tuple[str, str]] = set()
        self.doomed: dict[str, list[Moment]] = {}
        self.shows: frozenset[str] = EVERYTHING
        self.told: list[str] = []
        self.names = {config.node: config.name for config in configs}
        self._timers: dict[tuple[str, str], int] = {}  # in the order in which they were set
        self._heading = ""

    # -- what happens to nodes ---------------------------------------------------------------------------------------

    def start(self, name: str, state: State = State.LOST) -> None:
        """The node's next life begins."""
        node = self.nodes[name]
        self._head(f"{name} starts" + (f", life {node.epoch + 1}" if node.epoch else ""))
        self._forget_timers(name)
        node.start(state)

    def crash(self, name: str) -> None:
        """The node dies between two events."""
        self._head(f"{name} dies")
        self._forget_timers(name)
        self.nodes[name].kill()

    def tick(self, until_ns: int) -> None:
        """Time passes; timers fire, in the order in which they are due."""
        while (due_ns := self._next_timer()) is not None and due_ns <= until_ns:
            self._fire_next()
        self.now_ns = max(self.now_ns, until_ns)

    # -- what happens to frames --------------------------------------------------------------------------------------

    def deliver(self, way: Way) -> None:
        """It arrives."""
        self.wire.remove(way)
        self.hear(way.frame)

    def hear(self, frame: Frame) -> None:
        """``frame`` comes in at its receiver, wherever it comes from."""
        name = self.names[frame.dst]
        what = f"{name} hears {self.names[frame.key.src]}: {message_text(frame.message, self.says)}"
        if self.nodes[name].machine is None:
            self._head(f"{what} (is down)")
        else:
            self._head(what)
            self.nodes[name].hear(frame)

    def lose(self, way: Way) -> None:
        """It never arrives."""
        self.wire.remove(way)
        self._head(f"lost: {self.way_text(way)}")

    def copy(self, way: Way) -> None:
        """It will arrive twice."""
        self.wire.insert(self.wire.index(way), way)
        self._head(f"copied: {self.way_text(way)}")

    def play(self, until_ns: int, delay_ns: int, is_lost: Callable[[], bool] = lambda: False) -> None:
        """Time passes and every frame takes ``delay_ns``; at one instant frames come before timers."""
        while True:
            due_ns = self._next_timer()
            arrival_ns = self.wire[0].sent_ns + delay_ns if self.wire else until_ns + 1
            if arrival_ns <= min(until_ns, until_ns if due_ns is None else due_ns):
                self.now_ns = max(self.now_ns, arrival_ns)
                (self.lose if is_lost() else self.deliver)(self.wire[0])
            elif due_ns is not None and due_ns <= until_ns:
                self._fire_next()
            else:
                break
        self.now_ns = until_ns

    def way_text(self, way: Way) -> str:
        """Whose frame it is and what it says."""
        key, dst, _, message = way.frame
        return f"{self.names[key.src]}->{self.names[dst]} {message_text(message, self.says)}"

    # -- Net ---------------------------------------------------------------------------------------------------------

    def transmit(self, frame: Frame) -> None:
        src, dst = self.names[frame.key.src], self.names[frame.dst]
        cut = (src, dst) in self.cuts
        self._tell("send", f"send {dst}: {message_text(frame.message, self.says)}" + (" (cut off)" if cut else ""))
        if not cut:
            self.wire.append(Way(self.now_ns, frame))

    def arm(self, node: Node, name: str, at_ns: int) -> None:
        self._tell("timer", effect_text(SetTimer(name, at_ns), node.config))
        self._timers.pop((node.config.name, name), None)
        self._timers[node.config.name, name] = at_ns

    def disarm(self, node: Node, name: str) -> None:
        self._tell("cancel", effect_text(CancelTimer(name), node.config))
        self._timers.pop((node.config.name, name), None)

    def record(self, node: Node, effect: Effect) -> None:
        self._tell(type(effect).__name__.lower(), effect_text(effect, node.config, self.says))

    def persisted(self, node: Node, effect: Persist) -> None:
        self._tell("persist", effect_text(effect, node.config))

    def strike(self, node: Node, index: int) -> bool:
        self._tell("frame", "dies here")
        self._forget_timers(node.config.name)
        return False

    def moments(self, node: Node) -> Sequence[Moment]:
        return self.doomed.pop(node.config.name, ())

    # -- inside ------------------------------------------------------------------------------------------------------

    def _next_timer(self) -> int | None:
        return min(self._timers.values(), default=None)

    def _fire_next(self) -> None:
        (node, name), due_ns = min(self._timers.items(), key=lambda timer: timer[1])  # the earlier set comes first
        self.now_ns = max(self.now_ns, due_ns)
        del self._timers[node, name]
        self._head(f"{node} timer {name}")
        self.nodes[node].fire(name)

    def _forget_timers(self, node: str) -> None:
        self._timers = {timer: at_ns for timer, at_ns in self._timers.items() if timer[0] != node}

    def _head(self, text: str) -> None:
        self._heading = f"{time_text(self.now_ns)} {text}"
        if "frame" in self.shows:
            self.told.append(self._heading)
            self._heading = ""

    def _tell(self, kind: str, text: str) -> None:
        if kind not in self.shows:
            return
        if self._heading:
            self.told.append(self._heading)
            self._heading = ""
        self.told.append(f"  {text}")


class Timed:
    """Machines on a network with chosen delays (ns; None = lost). Frames come before timers at one instant.

    machines: by node number; who is to live again is given its next one here. told: what nodes recorded, in order.
    """

    def __init__(self, machines: Mapping[int, Any], delay_ns: Callable[[int, int, Frame], int | None]) -> None:
        self.machines = dict(machines)
        self.nodes = {number: Node(self, machine.config) for number, machine in self.machines.items()}
        for number, machine in self.machines.items():
            self.nodes[number].keeps = machine.config.keeps
        self.delay_ns = delay_ns
        self.now_ns = 0
        self.frames: list[tuple[int, Frame]] = []
        self.told: list[tuple[int, int, Effect]] = []  # when, which node, what
        self._queue: list[tuple[int, int, int, int, object]] = []
        self._timers: dict[tuple[int, str], int] = {}
        self._count = 0

    def start(self, *numbers: int, state: State = State.KEPT) -> None:
        """These nodes come up now (all, when none is named), with what is left of their disks."""
        for number in numbers or tuple(self.machines):
            node = self.nodes[number]
            node.epoch = max(node.epoch, self.machines[number].config.epoch - 1)
            node.start(state)

    def kill(self, number: int) -> None:
        """Its machine is gone; frames on the wire go on."""
        self.nodes[number].kill()
        self._timers = {key: at for key, at in self._timers.items() if key[0] != number}

    def run(self, until_ns: int) -> None:
        """Let time pass up to and including ``until_ns``."""
        while self._queue and self._queue[0][0] <= until_ns:
            at_ns, _, _, number, what = heapq.heappop(self._queue)
            self.now_ns = max(self.now_ns, at_ns)
            node = self.nodes[number]
            if isinstance(what, Frame):
                if node.machine is not None:
                    node.hear(what)
            elif isinstance(what, str) and self._timers.get((number, what)) == at_ns:
                del self._timers[number, what]
                node.fire(what)
        self.now_ns = until_ns

    # -- what happened -----------------------------------------------------------------------------------------------

    def of(self, number: int, kind: type) -> list[Any]:
        """What a node recorded of one kind."""
        return [effect for _, node, effect in self.told if node == number and isinstance(effect, kind)]

    @property
    def decisions(self) -> list[tuple[int, int, Decide]]:
        """When, who, what."""
        return [(at_ns, node, effect) for at_ns, node, effect in self.told if isinstance(effect, Decide)]

    @property
    def proposals(self) -> list[tuple[int, Propose]]:
        """Who, what."""
        return [(node, effect) for _, node, effect in self.told if isinstance(effect, Propose)]

    @property
    def notes(self) -> list[tuple[int, Note]]:
        """Who, what."""
        return [(node, effect) for _, node, effect in self.told if isinstance(effect, Note)]

    def decided(self, instance: int = 0) -> dict[int, tuple[int, Decide]]:
        """node -> when and what; a second decision of one node is an error, but a later life may tell it again."""
        found: dict[int, tuple[int, Decide]] = {}
        for at_ns, node, decide in self.decisions:
            if decide.instance == instance:
                assert node not in found or (found[node][1] == decide and self.nodes[node].epoch > 1)
                found.setdefault(node, (at_ns, decide))
        return found

    # -- Net ---------------------------------------------------------------------------------------------------------

    def build(self, config: NodeConfig) -> Machine:
        machine: Machine = self.machines[config.node]
        return machine

    def transmit(self, frame: Frame) -> None:
        self.frames.append((self.now_ns, frame))
        delay_ns = self.delay_ns(frame.key.src, frame.dst, frame)
        if delay_ns is not None:
            self._push(self.now_ns + delay_ns, 0, frame.dst, frame)

    def arm(self, node: Node, name: str, at_ns: int) -> None:
        self._timers[node.config.node, name] = at_ns
        self._push(at_ns, 1, node.config.node, name)

    def disarm(self, node: Node, name: str) -> None:
        self._timers.pop((node.config.node, name), None)

    def record(self, node: Node, effect: Effect) -> None:
        self.told.append((self.now_ns, node.config.node, effect))

    def strike(self, node: Node, index: int) -> bool:
        raise AssertionError("there are no faults here")

    def moments(self, node: Node) -> Sequence[Moment]:
        return ()

    def _push(self, at_ns: int, order: int, number: int, what: object) -> None:
        self._count += 1
        heapq.heappush(self._queue, (at_ns, order, self._count, number, what))
