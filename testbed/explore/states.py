"""What one node can be in and what it does there: every state and every message has a number, every step done once.

A step is done by the node's own machine behind a driver, as the agents run it, on a copy (Lives, which all who take
steps have in common). What came of it is kept: where the same happens to a node in the same state again, whatever the
rest of the world is in, it is looked up (States).
"""

from __future__ import annotations

import io
import pickle
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from testbed.errors import UserError
from testbed.explore.disks import Disk
from testbed.explore.invariants import Facts, fact
from testbed.explore.model import Model, Time
from testbed.nodes.core import Effect, Effects, Life, Machine, Port
from testbed.nodes.core.config import START_NS, NodeConfig
from testbed.nodes.core.disk import Record, State
from testbed.nodes.core.driver import Driver
from testbed.nodes.core.lies import Lied
from testbed.nodes.core.snapshot import digest
from testbed.nodes.frames import Frame, FrameKey, Message

NEVER = 1 << 62
"""When the first timer of a node is due that has none."""

Event = int | str | State
"""What happens to a node: a message comes (its number), a timer fires (its name), a life begins (and finds this)."""


class Packet(NamedTuple):
    """A message under way. life: the sender's, and which of the receiver's it answers."""

    src: int
    dst: int
    life: Life
    message: Message


class NodeState(NamedTuple):
    """One node. machine: pickled; None while the node is down. timers: names and when they are due (Time.STILL: 0), by
    name. lives: of the peers, as the driver knows them. now_ns: its own clock (Time.OWN only, else 0). facts: what its
    lives have told."""

    node: int
    machine: bytes | None
    timers: tuple[tuple[str, int], ...]
    disk: Disk
    lives: tuple[Life, ...]
    epoch: int
    now_ns: int
    facts: Facts


class Outcome(NamedTuple):
    """The state that a step leads to, and the messages sent in it, by their numbers."""

    state: int
    sent: tuple[int, ...]


def _down(state: NodeState) -> NodeState:
    """What is left of it when the node dies."""
    return state._replace(machine=None, timers=(), lives=())


class Hands:
    """What a driver needs (testbed.nodes.core.driver.NodeIO): gathers what a node does."""

    def __init__(self, lives: Lives, state: NodeState) -> None:
        self._lives = lives
        self.timers = dict(state.timers)
        self.disk = state.disk
        self.facts = set(state.facts)
        self.sent: list[int] = []

    def send(self, port: Port, frame: Frame, now_ns: int) -> None:  # noqa: ARG002 - the frame says whom it is for
        (src, epoch, _), dst, answers, message = frame
        life = Life(epoch, answers) if self._lives.finds else FIRST
        self.sent.append(self._lives.packet_number(Packet(src, dst, life, message)))

    def set_timer(self, name: str, at_ns: int) -> None:
        self.timers[name] = 0 if self._lives.model.time is Time.STILL else at_ns

    def cancel_timer(self, name: str) -> None:
        self.timers.pop(name, None)

    def record(self, effect: Effect | Lied, now_ns: int) -> None:  # noqa: ARG002 - facts have no time
        if not isinstance(effect, Lied) and isinstance(effect, self._lives.watched):
            self.facts.add(fact(effect))

    def persist(self, key: str, data: bytes | None, more: bool, now_ns: int) -> bool:  # noqa: ARG002
        self.disk = self.disk.written(Record(key, data, more))
        return True

    def sync(self, now_ns: int) -> None:  # noqa: ARG002
        self.disk = self.disk.synced()

    def strike(self, index: int, now_ns: int) -> bool:  # noqa: ARG002
        raise AssertionError("a crash is a step of its own")


FIRST = Life(1, 0)
"""Whose word a message is where no life but the first can be."""


_OF_THE_MODEL = frozenset(["model", "watched", "_named", "_ports"])
"""What of the lives is not kept in a file."""


class Lives(ABC):
    """The lives of a model's nodes: how they are told what happens, and what there is to know of each state that one of
    them is in, by a number. Who these states are kept by, and for how long, is left to those who derive from it.

    finds: what a restarted node may find on its disk; empty: no node is ever restarted. Then every message is of a
    first life, and whether its sender has heard of ours is left out: it is never asked for.
    """

    def __init__(self, model: Model, finds: Sequence[State] = ()) -> None:
        self.finds = tuple(finds)
        self.packets: list[Packet] = []
        self.distinct_facts: list[Facts] = []
        # of each state, by its number
        self.up: list[bool] = []
        self.timers: list[tuple[tuple[str, int], ...]] = []
        self.first_ns: list[int] = []  # when its first timer is due, or NEVER
        self.facts: list[int] = []  # the number of what it has told
        self._packet_numbers: dict[Packet, int] = {}
        self._configs: dict[tuple[int, int], NodeConfig] = {}
        self.adopt(model)

    def adopt(self, model: Model) -> None:
        """Let these be of ``model``: at the beginning, and after they have been unpickled."""
        protocol = model.configs[0].protocol
        self.model = model
        self.begin_ns = protocol.instances * protocol.period_ns if model.time is Time.STILL else START_NS
        self.watched = tuple({kind for invariant in model.invariants for kind in invariant.kinds})
        self._named = {id(config): key for key, config in self._configs.items()}
        self._ports = [{peer.node: port for port, peer in enumerate(config.peers)} for config in model.configs]

    # -- steps -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def unborn(self, node: int) -> int:
        """The state before the first life."""

    @abstractmethod
    def after(self, state: int, event: Event, now_ns: int) -> Outcome:
        """What comes of an event. now_ns: the time, where all have one clock."""

    @abstractmethod
    def dying(self, state: int, event: Event, now_ns: int, done: int) -> Outcome:
        """The same, of a node that dies when so many effects of it are done, or all, if there are fewer."""

    @abstractmethod
    def killed(self, state: int) -> int:
        """The node dies between two events."""

    def packet_number(self, packet: Packet) -> int:
        """The number of a message under way."""
        number = self._packet_numbers.get(packet)
        if number is None:
            number = self._packet_numbers[packet] = len(self.packets)
            self.packets.append(packet)
        return number

    def config(self, node: int, epoch: int) -> NodeConfig:
        """What a life is told of itself."""
        config = self._configs.get((node, epoch))
        if config is None:
            keeps = any(find is not State.LOST for find in self.finds)
            config = self._configs[node, epoch] = replace(self.model.configs[node], epoch=epoch, keeps=keeps)
            self._named[id(config)] = node, epoch
        return config

    def told_ns(self, was_ns: int, due_ns: int, now_ns: int) -> int:
        """What time a node is told, whose own clock stood at ``was_ns``. due_ns: when the timer was due, if it is one;
        now_ns: the time, where all have one clock."""
        if self.model.time is Time.TIMELY:
            return now_ns
        return self.begin_ns if self.model.time is Time.STILL else max(was_ns, due_ns)

    def tell(self, driver: Driver, event: Event, now_ns: int) -> Effects:
        """What the machine answers to the event."""
        if isinstance(event, State):
            return driver.wake(now_ns)
        if isinstance(event, str):
            return driver.ring(event, now_ns)
        src, dst, (epoch, answers), message = self.packets[event]
        port = self._ports[dst][src]
        if not self.finds:
            driver.lives[port] = FIRST
        return driver.hear(port, Frame(FrameKey(src, epoch, 0), dst, answers, message), now_ns)

    def _add(self, up: bool, timers: tuple[tuple[str, int], ...], facts: int) -> int:
        """The number of another state. facts: the number of what it has told."""
        self.up.append(up)
        self.timers.append(timers)
        self.first_ns.append(min([due_ns for _, due_ns in timers], default=NEVER))
        self.facts.append(facts)
        return len(self.up) - 1


class States(Lives):
    """The states met so far, each kept as a value: equal ones have one number, and what has been done once in one of
    them is looked up. For searches that come to the same state again and again, or go back to one."""

    def __init__(self, model: Model, finds: Sequence[State] = ()) -> None:
        super().__init__(model, finds)
        self.states: list[NodeState] = []
        self._state_numbers: dict[bytes, int] = {}
        self._facts_numbers: dict[Facts, int] = {}
        self._done: dict[tuple[int, Event, int], Outcome] = {}
        self._deaths: dict[tuple[int, Event, int], tuple[tuple[int, Outcome], ...]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the model, whose functions can't be pickled."""
        return {key: value for key, value in vars(self).items() if key not in _OF_THE_MODEL}

    # -- steps -------------------------------------------------------------------------------------------------------

    def unborn(self, node: int) -> int:
        """The state before the first life."""
        now_ns = START_NS if self.model.time is Time.OWN else 0
        return self._number(NodeState(node, None, (), Disk(), (), 0, now_ns, frozenset()), None)

    def after(self, state: int, event: Event, now_ns: int) -> Outcome:
        """What comes of an event. now_ns: the time, where all have one clock."""
        key = state, event, now_ns
        outcome = self._done.get(key)
        if outcome is None:
            outcome = self._done[key] = self.step(state, event, now_ns)[0]
        return outcome

    def deaths(self, state: int, event: Event, now_ns: int) -> tuple[tuple[int, Outcome], ...]:
        """The different ways of dying in an event: after how many of its effects, and what comes of it. Dying before
        the first of them and after the last is left out: that is dying between events."""
        key = state, event, now_ns
        found = self._deaths.get(key)
        if found is None:
            whole, effects = self.step(state, event, now_ns)
            ways: dict[Outcome, int] = {}
            for done in range(1, len(effects)):
                ways.setdefault(self.step(state, event, now_ns, done)[0], done)
            for between in (Outcome(self.killed(state), ()), Outcome(self.killed(whole.state), whole.sent)):
                ways.pop(between, None)
            found = self._deaths[key] = tuple((done, outcome) for outcome, done in ways.items())
        return found

    def dying(self, state: int, event: Event, now_ns: int, done: int) -> Outcome:
        """The same, of a node that dies when so many effects of it are done, or all, if there are fewer."""
        for died, outcome in self.deaths(state, event, now_ns):
            if died == done:
                return outcome
        return self.step(state, event, now_ns, done)[0]

    def killed(self, state: int) -> int:
        """The node dies between two events."""
        return self._number(_down(self.states[state]), None)

    def step(self, state: int, event: Event, now_ns: int, done: int | None = None) -> tuple[Outcome, Effects]:
        """What comes of an event, and all effects that it has; done: the node dies when so many of them are done."""
        was = self.states[state]
        if isinstance(event, State):
            was = was._replace(epoch=was.epoch + 1, disk=was.disk.found(event))
        hands = Hands(self, was)
        due_ns = hands.timers.pop(event, 0) if isinstance(event, str) else 0
        now_ns = self.told_ns(was.now_ns, due_ns, now_ns)
        config = self.config(was.node, was.epoch)
        machine = self._machine(was, config)
        driver = Driver(machine, hands, config, (), dict(was.disk.held))
        if self.finds and was.machine is not None:
            driver.lives[:] = was.lives
        effects = self.tell(driver, event, now_ns)
        driver.perform(effects[:done], now_ns)
        now_ns = now_ns if self.model.time is Time.OWN else 0
        after = was._replace(disk=hands.disk, now_ns=now_ns, facts=frozenset(hands.facts))
        if done is not None:
            return Outcome(self._number(_down(after), None), tuple(hands.sent)), effects
        after = after._replace(
            machine=self._pickled(machine),
            timers=tuple(sorted(hands.timers.items())),
            lives=tuple(driver.lives) if self.finds else (),
        )
        return Outcome(self._number(after, machine), tuple(hands.sent)), effects

    # -- numbers -----------------------------------------------------------------------------------------------------

    def _number(self, state: NodeState, machine: Machine | None) -> int:
        key = digest((state._replace(machine=None), machine), self._named)
        number = self._state_numbers.get(key)
        if number is None:
            up, facts = state.machine is not None, self._facts_number(state.facts)
            number = self._state_numbers[key] = self._add(up, state.timers, facts)
            self.states.append(state)
        return number

    def _facts_number(self, facts: Facts) -> int:
        number = self._facts_numbers.get(facts)
        if number is None:
            number = self._facts_numbers[facts] = len(self.distinct_facts)
            self.distinct_facts.append(facts)
        return number

    # -- machines ----------------------------------------------------------------------------------------------------

    def _machine(self, state: NodeState, config: NodeConfig) -> Machine:
        """A copy of the node's machine; of a node that is down, one that has yet to be started."""
        if state.machine is None:
            return self.model.build(config)
        machine: Machine = _Unpickler(state.machine, self._configs).load()
        return machine

    def _pickled(self, machine: Machine) -> bytes:
        """Without the configuration, which all of a node's life share. Raises UserError for what can't be copied."""
        buffer = io.BytesIO()
        try:
            _Pickler(buffer, self._named).dump(machine)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UserError(f"{self.model.name}: a machine's state must be plain data: {error}") from error
        return buffer.getvalue()


class _Pickler(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, named: Mapping[int, tuple[int, int]]) -> None:
        super().__init__(buffer, protocol=pickle.HIGHEST_PROTOCOL)
        self._named = named

    def persistent_id(self, obj: object) -> tuple[int, int] | None:
        """Which configuration this is."""
        return self._named.get(id(obj)) if type(obj) is NodeConfig else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, configs: Mapping[tuple[int, int], NodeConfig]) -> None:
        super().__init__(io.BytesIO(data))
        self._configs = configs

    def persistent_load(self, pid: tuple[int, int]) -> NodeConfig:
        """The configuration of this node and life."""
        return self._configs[pid]
