"""What a node proposes in a run without clients, and when; and other draws that need no generator."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from testbed.nodes.core import Consensus, Effects, Life, Log, Port, Propose, SetTimer, values
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import Written, pack, unpack
from testbed.nodes.frames import Message

INPUTS = ("distinct", "random")


def draw(*parts: object) -> int:
    """64 uniform bits named by ``parts``: equal names give equal bits on every machine and in every engine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def input_value(config: NodeConfig, instance: int) -> bytes:
    """The value that this node proposes in ``instance``: a number (testbed.nodes.core.values).

    ``distinct``: the node's place among the members plus the instance, modulo n, so that all inputs differ and the
    smallest one wanders over the nodes. ``random``: a fair bit, independent over nodes and instances.
    Raises ValueError for any other ``config.protocol.inputs``.
    """
    inputs = config.protocol.inputs
    if inputs == "distinct":
        return values.of_int((config.members.index(config.node) + instance) % config.n)
    if inputs == "random":
        return values.of_int(draw(config.protocol.seed, "input", instance, config.node) & 1)
    raise ValueError(f"inputs {inputs!r} are unknown; there are {', '.join(INPUTS)}")


def another_value(config: NodeConfig, value: int, which: int) -> int:
    """Another number that might have been proposed: the ``which``-th after ``value`` among all inputs."""
    return (value + which) % (2 if config.protocol.inputs == "random" else config.n)


def another_bytes(config: NodeConfig, value: bytes, which: int) -> bytes | None:
    """``value`` with another number in place of the one that it begins with; None: it is too short to hold one."""
    size = len(values.of_int(0))
    if len(value) < size:
        return None
    return values.of_int(another_value(config, values.to_int(value[:size]), which)) + value[size:]


_NEXT = "inputs next"
_TIMER = "instance"


class Inputs:
    """``machine``, to which this node's input of instance i is proposed when it begins (testbed.nodes.core.Machine).

    Instance i begins with its first round, i * instance_rounds periods after start_ns; in an engine that has no rounds
    it goes on beside those that follow. Such an engine is woken by the timer ``instance``; one with rounds wakes for
    them itself. One event begins one instance, so that a crash after some of its sends can't swallow what this node
    proposes in another: if more are due, the timer fires again at once.
    """

    def __init__(self, config: NodeConfig, machine: Consensus, in_rounds: bool) -> None:
        self.config = config
        self.machine = machine
        self.in_rounds = in_rounds
        self.next_instance = 0
        self.written = Written(config.keeps and not in_rounds)

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """First life: from instance 0 on. Kept state: from where the last life was. Otherwise from the next one on."""
        effects = self.machine.on_start(now_ns, {key: data for key, data in disk.items() if key != _NEXT})
        if self.in_rounds:
            return effects
        if disk:
            self.written.read({_NEXT: disk[_NEXT]})
            (self.next_instance,) = unpack(disk[_NEXT])
            return effects + self._await_instance()
        if self.config.epoch > 1:
            # strictly later: the last life may have begun, and ended, an instance at this very instant
            self.next_instance = max(0, (now_ns - self.config.start_ns) // self.config.protocol.period_ns + 1)
        return [*self._kept(), *effects, *(self._propose_due(now_ns) or self._await_instance())]

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        """At one instant frames come before timers: an instance that is due begins first."""
        if self.in_rounds:  # rounds begin by timers
            return self.machine.on_message(port, message, life, now_ns)
        effects = self._propose_due(now_ns)
        return effects + self.machine.on_message(port, message, life, now_ns)

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """``instance``, or one of the engine's."""
        if name == _TIMER and not self.in_rounds:
            return self._propose_due(now_ns)
        return [*(self._propose_due(now_ns) if self.in_rounds else ()), *self.machine.on_timer(name, now_ns)]

    # -- inside ------------------------------------------------------------------------------------------------------

    def _propose_due(self, now_ns: int) -> Effects:
        if self.in_rounds:
            due = self.machine.awaits(now_ns)
            return [] if due is None else self.machine.propose(due, input_value(self.config, due), now_ns)
        instance = self.next_instance
        if instance >= self.config.protocol.instances or now_ns < self._start_ns(instance):
            return []
        self.next_instance += 1
        proposed = self.machine.propose(instance, input_value(self.config, instance), now_ns)
        return [*self._kept(), *proposed, *self._await_instance()]

    def _kept(self) -> Effects:
        """Which instance is next, in one batch with what the engine keeps of this event: a later life that found one
        without the other would believe that it had proposed already, and stay silent in the instance for good."""
        if not self.written.keeps:
            return []
        return [one._replace(sync=False, more=True) for one in self.written.news({_NEXT: pack(self.next_instance)})]

    def _start_ns(self, instance: int) -> int:
        return self.config.start_ns + instance * self.config.protocol.period_ns

    def _await_instance(self) -> Effects:
        if self.next_instance >= self.config.protocol.instances:
            return []
        return [SetTimer(_TIMER, self._start_ns(self.next_instance))]


_SUBMIT = "input"


class Submissions:
    """``machine``, which keeps a log, and to which this node submits its inputs: number i, for i below the protocol's
    instances, i periods after start_ns (testbed.nodes.core.Machine).

    Propose tells that number. A later life goes on with the next that is due, whatever it finds on its disk; no two
    submissions of a run are alike.
    """

    def __init__(self, config: NodeConfig, machine: Log) -> None:
        self.config = config
        self.machine = machine
        self.next_input = 0

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """The inputs that were due in an earlier life are not submitted any more."""
        effects = self.machine.on_start(now_ns, disk)
        if self.config.epoch > 1:
            self.next_input = max(0, (now_ns - self.config.start_ns) // self.config.protocol.period_ns + 1)
        return effects + self._await_input()

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        """The engine's."""
        return self.machine.on_message(port, message, life, now_ns)

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """``input``, or one of the engine's."""
        if name != _SUBMIT:
            return self.machine.on_timer(name, now_ns)
        number = self.next_input
        if number >= self.config.protocol.instances or now_ns < self._due_ns():
            return []  # the timer came again
        self.next_input += 1
        submitted = self.machine.submit(self._value(number), now_ns)
        told = [one._replace(instance=number) if isinstance(one, Propose) else one for one in submitted]
        return [*told, *self._await_input()]

    def _value(self, number: int) -> bytes:
        """Numbers that differ between inputs, members and lives: the inputs' of first lives are input * n + rank."""
        own = self.config
        place = (own.epoch - 1) * own.protocol.instances + number
        return values.of_int(place * own.n + own.members.index(own.node))

    def _due_ns(self) -> int:
        return self.config.start_ns + self.next_input * self.config.protocol.period_ns

    def _await_input(self) -> Effects:
        return [] if self.next_input >= self.config.protocol.instances else [SetTimer(_SUBMIT, self._due_ns())]
