"""A world for engines that keep a log: parts of it lose each other, clocks drift as far as the engine bears, nodes die
and come back, and whoever holds a log submits, reads and cuts it short.

What every entry, state and read must be is judged as it is told (log_world.Told); in the end all are together again,
and what was submitted in lives that go on is told everywhere.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from builders import engine
from log_world import BrokenError, Told, must, wrong
from network import Build, Node, Timed

from testbed.explore.model import all_pairs
from testbed.nodes.consensus import logs
from testbed.nodes.consensus.spec import PARTIAL, EngineSpec
from testbed.nodes.core import CONFIRMED, Decide, Effect, Effects, Install, Life, Log, Port, Propose, Readable
from testbed.nodes.core.clock import Clock
from testbed.nodes.core.commuting import Commuting, Places, Touch
from testbed.nodes.core.config import NodeConfig, ProtocolConfig
from testbed.nodes.core.disk import State
from testbed.nodes.core.moments import Moment
from testbed.nodes.core.segmented import Segmented
from testbed.nodes.frames import Frame, Message

RETRY_NS = 1_000
DRIFT_PPM = 100_000
"""Clocks that are off by a tenth, so that it shows in little time."""


def touched(value: bytes) -> Touch:
    """Of values ``node.number``: a part for each number, and one in three only reads."""
    number = int(value.split(b".")[1])
    return Touch(number, number % 3 == 0)


class Holder:
    """Holds a log (testbed.nodes.core.Machine): its state is all that it was told; every so many entries it hands it
    over."""

    def __init__(self, machine: Log, every: int) -> None:
        self.machine = machine
        self.every = every
        self.values: list[bytes] = []
        self.kept = 0  # how many of them stand in the state handed over last

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """What an earlier life was told comes again, one way or the other."""
        return self.hear(self.machine.on_start(now_ns, disk), now_ns)

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        """The engine's."""
        return self.hear(self.machine.on_message(port, message, life, now_ns), now_ns)

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """The engine's."""
        return self.hear(self.machine.on_timer(name, now_ns), now_ns)

    def hear(self, effects: Effects, now_ns: int) -> Effects:
        """Takes in what it is told."""
        for effect in effects:
            if isinstance(effect, Decide):
                self.values.append(effect.value)
            elif isinstance(effect, Install):
                self.values = logs.read_parts(effect.state) or []
                self.kept = len(self.values)
            elif isinstance(effect, Readable):
                assert effect.below <= len(self.values), "it may be read when all of it was told"
        if len(self.values) < self.kept + self.every:
            return effects
        self.kept = len(self.values)
        return effects + self.machine.compact(self.kept, logs.pack_parts(self.values), now_ns)


class InPart(Told):
    """The same of an order in which what commutes has no place: of each value everybody tells the same place, and of
    each place the same value."""

    def __init__(self, n: int, rules: Commuting) -> None:
        super().__init__(n)
        self.rules = rules
        self.places = [Places(rules) for _ in range(n)]
        self.agreed: dict[Hashable, object] = {}  # a value's place, a place's value

    def begin(self, number: int) -> None:
        super().begin(number)
        self.places[number] = Places(self.rules)

    def extend(self, number: int, since: int) -> None:
        for index, value in enumerate(self.held[number][since:], since):
            place = self.places[number].add(value)
            facts: list[tuple[Hashable, object]] = [(value, place)]
            if place.number is not None:
                facts.append(((place.chain, place.number), value))
            must(value in self.submitted, "validity: somebody submitted it")
            must(value not in self.held[number][:index], "integrity: each value is there once")
            must(all(self.agreed.setdefault(where, what) == what for where, what in facts), "agreement: on every place")
            if value not in self.order:
                self.order.append(value)


class LogWorld(Timed):
    """An engine's world in a seed. log: what was told."""

    def __init__(self, spec: EngineSpec, build: Build, seed: int) -> None:
        rng = self.rng = random.Random(f"log {spec.name} {seed}")
        self.n = rng.choice((3, 3, 5))
        parameters = {"drift_ppm": DRIFT_PPM} if hasattr(spec.parameters(), "drift_ppm") else {}
        self.protocol = ProtocolConfig(
            consensus=spec.name, retry_ns=RETRY_NS, period_ns=RETRY_NS, f=(self.n - 1) // 2, parameters=parameters
        )
        self.spec = spec
        self.make = build
        self.every = rng.choice((3, 8, 1000))
        configs = [replace(config, keeps=True) for config in all_pairs(self.n, self.protocol)]
        if parameters:
            drifts = [rng.choice((-1, 0, 1)) * DRIFT_PPM * 1000 for _ in configs]
            configs = [
                replace(config, clock=Clock(drift_ppb=drift)) for config, drift in zip(configs, drifts, strict=True)
            ]
        super().__init__({config.node: _Known(config) for config in configs}, self._delay_ns)
        self.cut: set[tuple[int, int]] = set()
        self.loss = rng.choice((0.0, 0.0, 0.2))
        self.rules = Commuting(rng.choice((1, 1, 2, 4)), touched) if spec.order == PARTIAL else None
        self.log = Told(self.n) if self.rules is None else InPart(self.n, self.rules)
        self.goes_on: dict[int, set[bytes]] = {node: set() for node in range(self.n)}  # submitted in lives that go on
        self.over = False  # nothing more happens to anybody

    def build(self, config: NodeConfig) -> Segmented:
        machine = engine(self.make(config))
        if self.rules is not None:
            machine.order_by(self.rules)
        return Segmented(Holder(machine, self.every))  # type: ignore[arg-type]  # of engines that keep a log

    # -- what happens ------------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Raises BrokenError."""
        rng = self.rng
        self.start(state=State.LOST)
        for _ in range(rng.randrange(20, 60)):
            self.run(self.now_ns + rng.randrange(rng.choice((200, 2000, 6000))))
            deed = rng.choices((self._submit, self._read, self._part, self._restart), (5, 4, 2, 1))[0]
            deed()
        self.cut.clear()
        self.loss, self.over = 0.0, True
        for node in range(self.n):
            if self.nodes[node].machine is None:
                self._start(node)
        log = self.log
        wanted = log.submitted & set().union(*self.goes_on.values(), log.order)
        for _ in range(40):
            self.run(self.now_ns + 20 * RETRY_NS)
            if all(len(held) == len(log.order) for held in log.held) and wanted <= set(log.order):
                return
        raise BrokenError("termination")

    def depose(self) -> None:
        """Whoever leads is cut off, again and again, and reads on while others submit. Raises BrokenError."""
        rng = self.rng
        self.start(state=State.LOST)
        for _ in range(2):
            self.run(self.now_ns + rng.randrange(10 * RETRY_NS, 15 * RETRY_NS))
            leader = next((node for node in range(self.n) if self._leads(node)), 0)
            others = [node for node in range(self.n) if node != leader]
            self.cut = {pair for other in others for pair in ((leader, other), (other, leader))}
            for _ in range(100):
                self.run(self.now_ns + rng.randrange(2 * RETRY_NS // 10))
                self._submit(rng.choice(others))
                self._read(leader)
            self.cut.clear()

    def _leads(self, number: int) -> bool:
        node = self.nodes[number]
        return node.machine is not None and engine(node.machine).leader() == number

    def _submit(self, node: int | None = None) -> None:
        node = self.rng.randrange(self.n) if node is None else node
        value = b"%d.%d" % (node, len(self.log.submitted))
        self._ask(node, lambda machine, now_ns: machine.submit(value, now_ns))

    def _read(self, node: int | None = None) -> None:
        node = self.rng.randrange(self.n) if node is None else node
        modes = [mode for mode in CONFIRMED if mode in self.spec.reads]
        if modes and self.nodes[node].machine is not None:
            number, mode = self.log.ask(), self.rng.choice(modes)
            self._ask(node, lambda machine, now_ns: machine.read(number, mode, now_ns))

    def _ask(self, number: int, what: Any) -> None:
        node = self.nodes[number]
        if node.machine is not None:
            clock = node.config.clock
            now_ns = self.now_ns if clock is None else clock.local_ns(self.now_ns)
            holder = node.machine.machine
            node._do(node.machine._cut(holder.hear(what(holder.machine, now_ns), now_ns)))

    def _part(self) -> None:
        rng, all_ = self.rng, range(self.n)
        self.cut.clear()
        way = rng.randrange(4)
        alone = set(rng.sample(all_, rng.randint(1, (self.n + 1) // 2)))
        if way == 1:  # they are deaf
            self.cut = {(src, dst) for src in all_ for dst in alone}
        elif way > 1:
            self.cut = {(src, dst) for src in all_ for dst in all_ if (src in alone) != (dst in alone)}

    def _restart(self) -> None:
        number = self.rng.randrange(self.n)
        if self.nodes[number].machine is None:
            self._start(number)
        elif self._may_die(number):
            self.kill(number)

    def _may_die(self, number: int) -> bool:
        """With a disk any number may be down at a time, without one no more than are borne."""
        others = [node.machine for node in self.nodes.values() if node.config.node != number]
        away = sum(machine is None or not engine(machine).takes_part for machine in others) if self.spec.recovers else 0
        return away < self.protocol.f or not self.spec.recovers

    def _start(self, number: int) -> None:
        self.log.begin(number)
        self.start(number, state=self.rng.choice((State.KEPT, State.UNSYNCED_LOST, State.TORN)))

    def _delay_ns(self, src: int, dst: int, frame: Frame) -> int | None:
        if (src, dst) in self.cut or self.rng.random() < self.loss:
            return None
        return self.rng.randrange(10, self.rng.choice((50, 50, 50, 1500)))

    def kill(self, number: int) -> None:
        super().kill(number)
        self.goes_on[number].clear()

    def moments(self, node: Node) -> Sequence[Moment]:
        """Some lives end between two effects."""
        rng = self.rng
        return [Moment(0, after_sends=rng.randrange(1, 60))] if rng.random() < 0.1 and not self.over else []

    def strike(self, node: Node, index: int) -> bool:
        if self.over or not self._may_die(node.config.node):
            return True
        self.kill(node.config.node)
        return False

    def record(self, node: Node, effect: Effect) -> None:
        super().record(node, effect)
        self.log.tell(node.config.node, effect)
        if isinstance(effect, Propose):
            self.goes_on[node.config.node].add(effect.value)


class _Known:
    """What Timed asks of a machine before there is one."""

    def __init__(self, config: NodeConfig) -> None:
        self.config = config


def wrong_in_logs(spec: EngineSpec, build: Build, seed: int) -> str:
    """Which property is broken, or empty."""
    return wrong(LogWorld(spec, build, seed).play)


def wrong_when_deposed(spec: EngineSpec, build: Build, seed: int) -> str:
    """Which property is broken, or empty."""
    return wrong(LogWorld(spec, build, seed).depose)
