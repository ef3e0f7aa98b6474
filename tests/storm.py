"""A storm over machines of any engine, drawn from one seed, and what must hold in it and after it.

Frames are lost, doubled, delayed past windows, overtaken, and damaged bit by bit; nodes are killed between events and
between two effects of one event, paused, slowed down, and restarted with or without their state. Then it calms down:
every node is up and as fast as ever, and every frame arrives.
"""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from collections.abc import Hashable
from typing import Any

from builders import engine
from network import Build, Node

from testbed.explore.model import all_pairs
from testbed.nodes.consensus.spec import PARTIAL
from testbed.nodes.core import Decide, Effect, LinkState, Outcome, Port, Propose, Resolve, SwapId, Transition
from testbed.nodes.core.commuting import Places
from testbed.nodes.core.config import NodeConfig, ProtocolConfig
from testbed.nodes.core.disk import State
from testbed.nodes.core.moments import Moment
from testbed.nodes.frames import Frame, FrameError, Kind, decode, encode
from testbed.nodes.registry import commuting, engine_spec

W = 1000
FAULT, FRAME, TIMER, WORK = 0, 1, 2, 3  # at one instant in this order


class StormNode(Node):
    """A node that may also be paused, and slow: what comes to it then waits, and is handled one after the other."""

    def __init__(self, storm: Storm, config: NodeConfig) -> None:
        super().__init__(storm, config)
        self.storm = storm
        self.paused = False
        self._slow_ns = 0  # handling takes so much longer
        self._free_ns = 0  # nothing that waits is begun before
        self._sent = 0
        self._timers: dict[str, int] = {}
        self._backlog: list[tuple[int, int, int, Frame | str]] = []

    def start(self, state: State) -> None:
        self._sent = 0
        self._free_ns = self.storm.now_ns
        if self.storm.log is not None:
            self.storm.log.begin(self.config.node)
        super().start(state)

    def kill(self) -> None:
        super().kill()
        self.paused = False
        self._timers.clear()
        self._backlog.clear()

    def resume(self) -> None:
        self.paused = False
        self.set_pace(self._slow_ns)

    def set_pace(self, slow_ns: int) -> None:
        self._slow_ns, self._free_ns = slow_ns, self.storm.now_ns
        self._work_off()

    def handle(self, at: int, class_: int, serial: int, what: Frame | str) -> None:
        if self.machine is None:
            return
        if class_ == WORK:
            self._work_off()
        elif self.paused or self._slow_ns:
            heapq.heappush(self._backlog, (at, class_, serial, what))
            self._work_off()
        else:
            self._take(serial, what)

    def _work_off(self) -> None:
        """Handles what waits as far as it can be handled by now."""
        while self._backlog and not self.paused:
            ready = max(self._backlog[0][0], self._free_ns) + self._slow_ns
            if ready > self.storm.now_ns:
                self.storm.push(ready, WORK, self.storm.tick(), self.config.node, "")
                return
            _, _, serial, what = heapq.heappop(self._backlog)
            self._take(serial, what)
            self._free_ns = self.storm.now_ns

    def _take(self, serial: int, what: Frame | str) -> None:
        if isinstance(what, Frame):
            self.hear(what)
        elif self._timers.get(what) == serial:
            del self._timers[what]
            self.fire(what)

    def send(self, port: Port, frame: Frame, now_ns: int) -> None:
        self._sent += 1
        assert frame.key == (self.config.node, self.epoch, self._sent), "a name for every transmission of every life"
        super().send(port, frame, now_ns)

    def arm(self, name: str, at_ns: int) -> None:
        serial = self._timers[name] = self.storm.tick()
        if self._backlog and at_ns <= self.storm.now_ns:  # it fires among what waits, by its due time
            heapq.heappush(self._backlog, (at_ns, TIMER, serial, name))
        else:
            self.storm.push(max(at_ns, self.storm.now_ns), TIMER, serial, self.config.node, name)

    def disarm(self, name: str) -> None:
        self._timers.pop(name, None)


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
        self._paces = random.Random(f"paces {seed}")  # apart, so that storms without slow nodes don't depend on them
        self.loss, self.amnesias, self.strikes = loss, amnesias, strikes
        self.protocol = ProtocolConfig(window_ns=W, seed=seed, **protocol)
        self.raging, self.now_ns = True, -1
        self.nodes = [StormNode(self, config) for config in all_pairs(n, self.protocol, "host")]
        self.offered: dict[tuple[int, int, int], bytes] = {}  # round, sender, receiver -> the one value swapped
        self.endings: dict[tuple[int, int, SwapId], Outcome] = {}  # node, first epoch of its state, swap
        self.proposed: dict[int, set[int]] = defaultdict(set)
        self.decided: dict[Hashable, dict[int, Any]] = defaultdict(dict)  # instance -> node -> value
        spec = engine_spec(self.protocol.consensus)
        self.recovers = spec.recovers
        self.log = LogJudge(self) if spec.keeps_a_log else None
        self._heap: list[tuple[int, int, int, int, Frame | str]] = []
        self._serial = 0

    # -- time --------------------------------------------------------------------------------------------------------

    def rage(self, until: int, faults: int, slowed: int = 0) -> None:
        """All nodes start; ``faults`` faults strike before ``until``, each mended after a while, and ``slowed`` times a
        node becomes slow for a while."""
        for node in self.nodes:
            node.start(State.LOST)
        for _ in range(faults):
            at, node, verb = self.rng.randrange(until), self.rng.choice(self.nodes), self.rng.choice(list(_MENDED_BY))
            self.push(at, FAULT, self.tick(), node.config.node, verb)
            if _MENDED_BY[verb]:
                later = at + self.rng.randrange(1, 4 * W)
                self.push(later, FAULT, self.tick(), node.config.node, self.rng.choice(_MENDED_BY[verb]))
        for _ in range(slowed):
            node, at = self._paces.randrange(len(self.nodes)), self._paces.randrange(until)
            for when, verb in ((at, "slow"), (at + self._paces.randrange(1, 4 * W), "quick")):
                self.push(when, FAULT, self.tick(), node, verb)
        self._run(until)

    def calm(self, until: int) -> None:
        """Everybody is up again, with what is left of its state. A log is done when all is told; it would beat on."""
        self.raging = False
        for node in self.nodes:
            if node.machine is None:
                node.start(self._left())
            node.set_pace(0)
            node.resume()
        if self.log is None:
            self._run(until)
            return
        step = self.protocol.length_ns + 100 * self.protocol.retry_ns
        for at in range(self.now_ns + step, self.now_ns + 20 * step, step):
            self._run(at)
            if 2 * len(self.steady) <= len(self.nodes) or not self.log.untold():
                break
        self.now_ns = until

    def push(self, at: int, class_: int, serial: int, node: int, what: Frame | str) -> None:
        heapq.heappush(self._heap, (at, class_, serial, node, what))

    def tick(self) -> int:
        self._serial += 1
        return self._serial

    def _run(self, until: int) -> None:
        while self._heap and self._heap[0][0] <= until:
            at, class_, serial, node, what = heapq.heappop(self._heap)
            self.now_ns = max(self.now_ns, at)
            if class_ == FAULT:
                self._hit(self.nodes[node], str(what))
            else:
                self.nodes[node].handle(at, class_, serial, what)
        self.now_ns = until

    def _hit(self, node: StormNode, verb: str) -> None:
        if not self.raging:
            return
        if verb == "kill":
            node.kill()
        elif verb == "pause":
            node.paused = node.machine is not None
        elif verb == "resume":
            node.resume()
        elif verb in ("slow", "quick"):
            node.set_pace(self._paces.randrange(1, W // 4) if verb == "slow" else 0)
        elif verb == "restart without state" and (node.amnesic or self.amnesias > 0):
            self.amnesias -= not node.amnesic
            node.start(State.LOST)
        else:
            node.start(self._left())

    def _left(self) -> State:
        """What is left of a state that is not lost."""
        return self.rng.choice([state for state in State if state is not State.LOST])

    # -- Net ---------------------------------------------------------------------------------------------------------

    def arm(self, node: StormNode, name: str, at_ns: int) -> None:
        node.arm(name, at_ns)

    def disarm(self, node: StormNode, name: str) -> None:
        node.disarm(name)

    def record(self, node: StormNode, effect: Effect) -> None:
        self.judge(node, effect)

    def strike(self, node: StormNode, index: int) -> bool:
        return not self.raging

    def moments(self, node: StormNode) -> list[Moment]:
        """When the life that begins now is to end, if it is."""
        rng = self.rng
        if not self.raging or rng.random() >= self.strikes:
            return []
        return [
            rng.choice(
                [
                    Moment(0, enters=rng.choice(list(LinkState))),
                    Moment(0, after_sends=rng.randint(1, 9)),
                    Moment(0, after_writes=rng.randint(1, 20)),
                ]
            )
        ]

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
        self.push(self.now_ns + delay, FRAME, self.tick(), frame.dst, frame)

    # -- what must hold ----------------------------------------------------------------------------------------------

    def judge(self, node: StormNode, effect: Effect) -> None:
        """At every effect. Agreement is judged by those who know whether the engine promises it."""
        me = node.config.node
        if isinstance(effect, Transition):
            assert effect.old not in (LinkState.COMMITTED, LinkState.ABORTED), "what is resolved stays so"
        elif isinstance(effect, Resolve):
            self._judge_resolve(me, node, effect)
        elif self.log is not None:
            self.log.judge(me, effect)
        elif isinstance(effect, Propose):
            self.proposed[effect.instance].add(effect.value)
        elif isinstance(effect, Decide):
            assert effect.value in self.proposed[effect.instance]
            assert self.decided[effect.instance].setdefault(me, effect.value) == effect.value

    def _judge_resolve(self, me: int, node: StormNode, effect: Resolve) -> None:
        swap, peer = effect.swap, effect.swap.low + effect.swap.high - me
        assert effect.outcome is not (Outcome.IN_DOUBT if self.protocol.horizon == "abort" else Outcome.ABORTED)
        if effect.outcome is Outcome.COMMITTED:
            assert self.offered[swap.round, peer, me] == effect.value
        if effect.outcome is not Outcome.IN_DOUBT:
            first_epoch = engine(node.machine).links[0].first_epoch
            assert self.endings.setdefault((me, first_epoch, swap), effect.outcome) is effect.outcome

    def disagreements(self) -> int:
        """Instances in which two values were decided."""
        return sum(len(set(values.values())) > 1 for values in self.decided.values())

    @property
    def steady(self) -> list[StormNode]:
        """The nodes that never lost their state; of an engine that keeps none on a disk, those that never died."""
        return [node for node in self.nodes if not node.amnesic and not (self.recovers and node.epoch > 1)]


class LogJudge:
    """What an engine that keeps a log must hold at every effect, and what it has not told yet. In a partial order
    nodes agree about places (testbed.nodes.core.commuting), not about entries."""

    def __init__(self, storm: Storm) -> None:
        self.storm = storm
        partial = engine_spec(storm.protocol.consensus).order == PARTIAL
        self.rules = commuting(storm.protocol, "") if partial else None
        self.places: dict[int, Places] = {}
        self.submitted: dict[int, set[bytes]] = defaultdict(set)  # by this life of the node
        self.life: dict[int, list[bytes]] = {}  # what this life of it was told
        self.told: dict[int, set[bytes]] = defaultdict(set)

    def begin(self, node: int) -> None:
        """A life begins."""
        self.submitted[node] = set()
        self.life[node] = []
        if self.rules is not None:
            self.places[node] = Places(self.rules)

    def judge(self, node: int, effect: Effect) -> None:
        """Validity, order and integrity; agreement is for those to judge who know whether it is promised."""
        if isinstance(effect, Propose):
            self.storm.proposed[0].add(effect.value)
            self.submitted[node].add(effect.value)
        elif isinstance(effect, Decide):
            assert effect.value in self.storm.proposed[0], "validity"
            assert effect.instance == len(self.life[node]), "order"
            assert effect.value not in self.life[node], "integrity"
            self.life[node].append(effect.value)
            for where, what in self._agreed(node, effect):
                assert self.storm.decided[where].setdefault(node, what) == what
            self.told[node].add(effect.value)

    def _agreed(self, node: int, told: Decide) -> list[tuple[Hashable, object]]:
        """What must be the same in all lives: a place, or an entry, and what stands there."""
        if self.rules is None:
            return [(told.instance, told.value)]
        place = self.places[node].add(told.value)
        where: list[tuple[Hashable, object]] = [(told.value, place)]
        return where if place.number is None else [*where, ((place.chain, place.number), told.value)]

    def untold(self) -> set[bytes]:
        """What was submitted in lives that go on, and what somebody was told, that some node was not told."""
        up = [node.config.node for node in self.storm.nodes if node.machine is not None]
        wanted = set().union(*(self.submitted[node] for node in up), *self.told.values())
        return {value for value in wanted if any(value not in self.told[node] for node in up)}


_MENDED_BY = {
    "kill": ("restart with state", "restart without state"),
    "pause": ("resume",),
    "restart with state": (),
    "restart without state": (),
}
