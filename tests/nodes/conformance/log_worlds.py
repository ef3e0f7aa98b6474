"""A world for engines that keep a log: parts of it lose each other, clocks drift as far as the engine bears, nodes die
and come back, and whoever holds a log submits, reads and cuts it short.

What every entry, state and read must be is judged as it is told; in the end all are together again, and what was
submitted in lives that go on is told everywhere.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from builders import engine
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


class LogWorld(Timed):
    """log: the entries, as they were told first. wrong: what was found wrong first."""

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
        self.places: dict[int, Places] = {}
        self.agreed: dict[Hashable, object] = {}  # in a partial order: places and what stands there
        self.log: list[bytes] = []
        self.next = dict.fromkeys(range(self.n), 0)
        self.submitted: dict[int, set[bytes]] = {node: set() for node in range(self.n)}  # in lives that go on
        self.ever: set[bytes] = set()
        self.asked: dict[tuple[int, int], int] = {}  # node, number -> how many entries had been told when it asked
        self.answered = 0
        self.wrong = ""
        self.over = False  # nothing more happens to anybody

    def build(self, config: NodeConfig) -> Segmented:
        machine = engine(self.make(config))
        if self.rules is not None:
            machine.order_by(self.rules)
            self.places[config.node] = Places(self.rules)
        return Segmented(Holder(machine, self.every))  # type: ignore[arg-type]  # of engines that keep a log

    # -- what happens ------------------------------------------------------------------------------------------------

    def play(self) -> str:
        """What was found wrong, or nothing."""
        rng = self.rng
        self.start(state=State.LOST)
        for _ in range(rng.randrange(20, 60)):
            self.run(self.now_ns + rng.randrange(rng.choice((200, 2000, 6000))))
            deed = rng.choices((self._submit, self._read, self._part, self._restart), (5, 4, 2, 1))[0]
            deed()
            if self.wrong:
                return self.wrong
        self.cut.clear()
        self.loss, self.over = 0.0, True
        for node in range(self.n):
            if self.nodes[node].machine is None:
                self._start(node)
        wanted = self.ever & set().union(*self.submitted.values(), self.log)
        for _ in range(40):
            self.run(self.now_ns + 20 * RETRY_NS)
            told = all(self.next[node] == len(self.log) for node in range(self.n)) and wanted <= set(self.log)
            if told or self.wrong:
                return self.wrong
        return "termination"

    def depose(self) -> str:
        """What was found wrong when whoever leads is cut off, again and again, and reads on while others submit."""
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
        return self.wrong

    def _leads(self, number: int) -> bool:
        node = self.nodes[number]
        return node.machine is not None and engine(node.machine).leader() == number

    def _submit(self, node: int | None = None) -> None:
        node = self.rng.randrange(self.n) if node is None else node
        value = b"%d.%d" % (node, len(self.ever))
        self._ask(node, lambda machine, now_ns: machine.submit(value, now_ns))

    def _read(self, node: int | None = None) -> None:
        node = self.rng.randrange(self.n) if node is None else node
        modes = [mode for mode in CONFIRMED if mode in self.spec.reads]
        if modes and self.nodes[node].machine is not None:
            number, mode = len(self.asked), self.rng.choice(modes)
            self.asked[node, number] = len(self.log)
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
        self.next[number] = 0
        self.start(number, state=self.rng.choice((State.KEPT, State.UNSYNCED_LOST, State.TORN)))

    def _delay_ns(self, src: int, dst: int, frame: Frame) -> int | None:
        if (src, dst) in self.cut or self.rng.random() < self.loss:
            return None
        return self.rng.randrange(10, self.rng.choice((50, 50, 50, 1500)))

    def kill(self, number: int) -> None:
        super().kill(number)
        self.submitted[number].clear()

    def moments(self, node: Node) -> Sequence[Moment]:
        """Some lives end between two effects."""
        rng = self.rng
        return [Moment(0, after_sends=rng.randrange(1, 60))] if rng.random() < 0.1 and not self.over else []

    def strike(self, node: Node, index: int) -> bool:
        if self.over or not self._may_die(node.config.node):
            return True
        self.kill(node.config.node)
        return False

    # -- what must hold ----------------------------------------------------------------------------------------------

    def record(self, node: Node, effect: Effect) -> None:
        super().record(node, effect)
        me = node.config.node
        if isinstance(effect, Propose):
            self.ever.add(effect.value)
            self.submitted[me].add(effect.value)
        elif isinstance(effect, Decide):
            self._entry(me, effect)
        elif isinstance(effect, Install):
            if effect.below < self.next[me] or logs.read_parts(effect.state) != self.log[: effect.below]:
                self.wrong = self.wrong or "agreement: a state is not that of the log"
            self.next[me] = effect.below
        elif isinstance(effect, Readable):
            self.answered += 1
            if effect.below < self.asked[me, effect.number]:
                self.wrong = self.wrong or "reads: one is older than what was over when it was asked for"

    def _entry(self, me: int, told: Decide) -> None:
        if told.instance != self.next[me] or told.instance > len(self.log):
            self.wrong = self.wrong or "order"
            return
        self.next[me] += 1
        if self.rules is not None:
            self._place(me, told.value)
        elif told.instance == len(self.log):
            if told.value not in self.ever:
                self.wrong = self.wrong or "validity"
            if told.value in self.log:
                self.wrong = self.wrong or "integrity"
            self.log.append(told.value)
        elif self.log[told.instance] != told.value:
            self.wrong = self.wrong or "agreement"

    def _place(self, me: int, value: bytes) -> None:
        """In a partial order."""
        place = self.places[me].add(value)
        facts: list[tuple[Hashable, object]] = [((me, self.nodes[me].epoch, value), place), (value, place)]
        if place.number is not None:
            facts.append(((place.chain, place.number), value))
        if value not in self.ever:
            self.wrong = self.wrong or "validity"
        if facts[0][0] in self.agreed:
            self.wrong = self.wrong or "integrity"
        if any(self.agreed.setdefault(where, what) != what for where, what in facts):
            self.wrong = self.wrong or "agreement"
        if value not in self.log:
            self.log.append(value)


class _Known:
    """What Timed asks of a machine before there is one."""

    def __init__(self, config: NodeConfig) -> None:
        self.config = config


def wrong_in_logs(spec: EngineSpec, build: Build, seed: int) -> str:
    """Which property is broken, or empty."""
    return LogWorld(spec, build, seed).play()


def wrong_when_deposed(spec: EngineSpec, build: Build, seed: int) -> str:
    """Which property is broken, or empty."""
    return LogWorld(spec, build, seed).depose()
