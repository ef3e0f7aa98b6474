"""A storm over machines of any engine, drawn from one seed, and what must hold in it and after it.

Frames are lost, doubled, delayed past windows, overtaken, and damaged bit by bit; nodes are killed between events and
between two effects of one event, paused, and restarted with or without their state. Then it calms down: every node is
up and every frame arrives.
"""

from __future__ import annotations

import heapq
import pickle
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nodes.core import Decide, Effect, Effects, LinkState, Machine, Outcome, Port, Propose, Resolve, SwapId, Transition
from nodes.core.config import NodeConfig, Peer, ProtocolConfig
from nodes.core.driver import Driver, Moment
from nodes.frames import Frame, FrameError, Kind, decode, encode

W = 1000
FAULT, FRAME, TIMER = 0, 1, 2  # at one instant in this order
Build = Callable[[NodeConfig], Machine]


class Node:
    """One node over all its lives (nodes.core.driver.NodeIO). amnesic: a life has begun without the state before it."""

    def __init__(self, storm: Storm, config: NodeConfig) -> None:
        self.storm, self.config = storm, config
        self.machine: Any = None
        self.epoch = self._sent = 0
        self.amnesic = self.paused = False
        self._kept = b""
        self._timers: dict[str, int] = {}
        self._backlog: list[tuple[int, int, int, Frame | str]] = []
        self._driver: Driver

    def start(self, keep_state: bool) -> None:
        self.kill()
        self.epoch += 1
        self._sent = 0
        config, lives = replace(self.config, epoch=self.epoch), []
        if keep_state and self._kept:
            self.machine, lives = pickle.loads(self._kept)
        else:
            self.amnesic = self.epoch > 1
            self.machine = self.storm.build(config)
        self._driver = Driver(self.machine, self, config, self.storm.moments(), lives)
        self._perform(self.machine.on_start(self.storm.now))

    def kill(self) -> None:
        self.machine, self.paused = None, False
        self._timers.clear()
        self._backlog.clear()

    def resume(self) -> None:
        self.paused = False
        while self._backlog and not self.paused:
            self.handle(*heapq.heappop(self._backlog))

    def handle(self, at: int, class_: int, serial: int, what: Frame | str) -> None:
        if self.machine is None:
            return
        if self.paused:
            heapq.heappush(self._backlog, (at, class_, serial, what))
        elif isinstance(what, Frame):
            port = [peer.node for peer in self.config.peers].index(what.key.src)
            self._perform(self._driver.hear(port, what, self.storm.now))
        elif self._timers.get(what) == serial:
            del self._timers[what]
            self._perform(self.machine.on_timer(what, self.storm.now))

    def _perform(self, effects: Effects) -> None:
        """The state is kept before anything is done: a crash in the middle loses effects, never state."""
        self._kept = pickle.dumps((self.machine, self._driver.lives))
        if not self._driver.perform(effects, self.storm.now):
            self.kill()

    # -- NodeIO ------------------------------------------------------------------------------------------------------

    def send(self, port: Port, frame: Frame, now_ns: int) -> None:
        self._sent += 1
        assert frame.key == (self.config.node, self.epoch, self._sent), "a name for every transmission of every life"
        assert frame.dst == self.config.peers[port].node
        self.storm.transmit(frame)

    def set_timer(self, name: str, at_ns: int) -> None:
        serial = self._timers[name] = self.storm.tick()
        if self._backlog and at_ns <= self.storm.now:  # just resumed: it fires among what waits, by its due time
            heapq.heappush(self._backlog, (at_ns, TIMER, serial, name))
        else:
            self.storm.push(max(at_ns, self.storm.now), TIMER, serial, self.config.node, name)

    def cancel_timer(self, name: str) -> None:
        self._timers.pop(name, None)

    def record(self, effect: Effect, now_ns: int) -> None:
        self.storm.judge(self, effect)

    def strike(self, index: int, now_ns: int) -> bool:
        return not self.storm.raging


class Storm:
    """``loss``: probability that a frame is lost. ``amnesias``: how many nodes may lose their state.
    ``strikes``: probability that a life ends at a protocol moment."""

    def __init__(
        self,
        seed: int,
        n: int,
        build: Build,
        *,
        loss: float = 0.0,
        amnesias: int = 0,
        strikes: float = 0.0,
        **protocol: Any,
    ) -> None:
        self.rng, self.build = random.Random(seed), build
        self.loss, self.amnesias, self.strikes = loss, amnesias, strikes
        self.protocol = ProtocolConfig(window_ns=W, seed=seed, **protocol)
        self.raging, self.now = True, -1
        self.nodes = [Node(self, self._config(node, n)) for node in range(n)]
        self.offered: dict[tuple[int, int, int], bytes] = {}  # round, sender, receiver -> the one value swapped
        self.endings: dict[tuple[int, int, SwapId], Outcome] = {}  # node, first epoch of its state, swap
        self.proposed: dict[int, set[int]] = defaultdict(set)
        self.decided: dict[int, dict[int, int]] = defaultdict(dict)  # instance -> node -> value
        self._heap: list[tuple[int, int, int, int, Frame | str]] = []
        self._serial = 0

    def _config(self, node: int, n: int) -> NodeConfig:
        peers = tuple(Peer(other, f"host{other}", "eth0", "") for other in range(n) if other != node)
        return NodeConfig(node, f"host{node}", peers, {}, tuple(range(n)), self.protocol, seed=node)

    # -- time --------------------------------------------------------------------------------------------------------

    def rage(self, until: int, faults: int) -> None:
        """All nodes start; ``faults`` faults strike before ``until``, each mended after a while."""
        for node in self.nodes:
            node.start(keep_state=False)
        for _ in range(faults):
            at, node, verb = self.rng.randrange(until), self.rng.choice(self.nodes), self.rng.choice(list(_MENDED_BY))
            self.push(at, FAULT, self.tick(), node.config.node, verb)
            if _MENDED_BY[verb]:
                later = at + self.rng.randrange(1, 4 * W)
                self.push(later, FAULT, self.tick(), node.config.node, self.rng.choice(_MENDED_BY[verb]))
        self._run(until)

    def calm(self, until: int) -> None:
        """Everybody is up again, with what is left of its state."""
        self.raging = False
        for node in self.nodes:
            if node.machine is None:
                node.start(keep_state=True)
            node.resume()
        self._run(until)

    def push(self, at: int, class_: int, serial: int, node: int, what: Frame | str) -> None:
        heapq.heappush(self._heap, (at, class_, serial, node, what))

    def tick(self) -> int:
        self._serial += 1
        return self._serial

    def _run(self, until: int) -> None:
        while self._heap and self._heap[0][0] <= until:
            at, class_, serial, node, what = heapq.heappop(self._heap)
            self.now = max(self.now, at)
            if class_ == FAULT:
                self._strike(self.nodes[node], str(what))
            else:
                self.nodes[node].handle(at, class_, serial, what)
        self.now = until

    def _strike(self, node: Node, verb: str) -> None:
        if not self.raging:
            return
        if verb == "kill":
            node.kill()
        elif verb == "pause":
            node.paused = node.machine is not None
        elif verb == "resume":
            node.resume()
        elif verb == "restart without state" and (node.amnesic or self.amnesias > 0):
            self.amnesias -= not node.amnesic
            node.start(keep_state=False)
        else:
            node.start(keep_state=True)

    def moments(self) -> list[Moment]:
        """When the life that begins now is to end, if it is."""
        rng = self.rng
        if not self.raging or rng.random() >= self.strikes:
            return []
        return [rng.choice([Moment(0, enters=rng.choice(list(LinkState))), Moment(0, after_sends=rng.randint(1, 9))])]

    # -- the wire ----------------------------------------------------------------------------------------------------

    def transmit(self, frame: Frame) -> None:
        rng = self.rng
        message = frame.message
        if message.kind is Kind.SWAP:
            way = message.round, frame.key.src, frame.dst
            assert self.offered.setdefault(way, message.body) == message.body, "a swap has one value a side"
        if not self.raging:
            self._arrive(encode(frame, bytes(6), bytes(6)), 10)
            return
        for _ in range(rng.choice((1,) * 9 + (2,))):
            if rng.random() >= self.loss:
                wire = bytearray(encode(frame, bytes(6), bytes(6)))
                if rng.random() < 0.05:
                    wire[rng.randrange(60)] ^= 1 << rng.randrange(8)
                self._arrive(bytes(wire), rng.randrange(rng.choice((10, 10, 200, W // 2, 3 * W // 2, 4 * W))))

    def _arrive(self, wire: bytes, delay: int) -> None:
        try:
            frame = decode(wire)
        except FrameError:
            return
        self.push(self.now + delay, FRAME, self.tick(), frame.dst, frame)

    # -- what must hold ----------------------------------------------------------------------------------------------

    def judge(self, node: Node, effect: Effect) -> None:
        """At every effect. Agreement is judged by those who know whether the engine promises it."""
        me = node.config.node
        if isinstance(effect, Transition):
            assert effect.old not in (LinkState.COMMITTED, LinkState.ABORTED), "what is resolved stays so"
        elif isinstance(effect, Resolve):
            self._judge_resolve(me, node, effect)
        elif isinstance(effect, Propose):
            self.proposed[effect.instance].add(effect.value)
        elif isinstance(effect, Decide):
            assert effect.value in self.proposed[effect.instance]
            assert self.decided[effect.instance].setdefault(me, effect.value) == effect.value

    def _judge_resolve(self, me: int, node: Node, effect: Resolve) -> None:
        swap, peer = effect.swap, effect.swap.low + effect.swap.high - me
        assert effect.outcome is not (Outcome.IN_DOUBT if self.protocol.horizon == "abort" else Outcome.ABORTED)
        if effect.outcome is Outcome.COMMITTED:
            assert self.offered[swap.round, peer, me] == effect.value
        if effect.outcome is not Outcome.IN_DOUBT:
            first_epoch = node.machine.links[0].first_epoch
            assert self.endings.setdefault((me, first_epoch, swap), effect.outcome) is effect.outcome

    def disagreements(self) -> int:
        """Instances in which two values were decided."""
        return sum(len(set(values.values())) > 1 for values in self.decided.values())

    @property
    def steady(self) -> list[Node]:
        """The nodes that never lost their state."""
        return [node for node in self.nodes if not node.amnesic]


_MENDED_BY = {
    "kill": ("restart with state", "restart without state"),
    "pause": ("resume",),
    "restart with state": (),
    "restart without state": (),
}
