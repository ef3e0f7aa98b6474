"""Values of any size on an engine that decides small numbers: the value goes round first, then its place is decided on.

An engine made of swaps has registers of 16 bytes. A member that proposes a value in an instance tells it to all members
before the instance's rounds begin; once a majority holds it (and has it on its disk, where that is kept), the number of
the member stands for it. What is decided is a number, and so a value that a majority holds: whoever does not have it
asks for it. (Indirect consensus: Ekwall, Schiper, "Solving Atomic Broadcast with Indirect Consensus", DSN 2006.)
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from testbed.nodes.core import Consensus, Decide, Effects, Life, Note, Persist, Port, Propose, Send, SetTimer, values
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.layout import Bodies, Body, number, rest
from testbed.nodes.frames import Kind, Message
from testbed.nodes.services.log import NOTHING

_KEY = "spread "  # what the keys of its own begin with
_ASK = "spread asks"
_KEPT = 64  # instances for which values are kept after a decision; who lacks older ones gets the log from a replica


class Step(IntEnum):
    """A message's type, from ENGINE_STEPS on; ``round`` is the instance."""

    VALUE = 140  # what the sender proposes
    HELD = 141  # the sender holds the receiver's value
    WANTED = 142  # who has the value of the member with this rank?
    GIVEN = 143  # a rank and its value


BODIES: Bodies = {
    Step.VALUE: Body("value", (rest("value"),)),
    Step.HELD: Body("held"),
    Step.WANTED: Body("wanted", (number("rank"),)),
    Step.GIVEN: Body("given", (number("rank"), rest("value"))),
}


_STEPS = {int(step): step for step in Step}


class Spread:
    """``machine``, an engine made of rounds that decides numbers, as one of bytes (testbed.nodes.core.Consensus).

    It awaits a proposal one instance ahead, to have the time to tell it. A value that no majority is known to hold when
    the rounds begin is not proposed; a node without one proposes the greatest number, which stands for nothing.
    """

    def __init__(self, config: NodeConfig, machine: Consensus) -> None:
        self.config = config
        self.machine = machine
        self.rank = config.members.index(config.node)
        self.ports = [port for port, peer in enumerate(config.peers) if peer.node in config.members]
        self.next_instance = 0  # the first for which nothing has been proposed here
        self.held: dict[tuple[int, int], bytes] = {}  # (instance, rank of the proposer) -> value
        self.holders: dict[int, set[int]] = {}  # instance -> who holds the own value
        self.missing: dict[int, tuple[int, int]] = {}  # instance -> rank decided on, and the round that led to it
        self.asks = False

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """With the disk, the values that this node has said it holds."""
        for key, value in disk.items():
            if key.startswith(_KEY):
                instance, rank = key.removeprefix(_KEY).split()
                self.held[int(instance), int(rank)] = value
        inner = {key: data for key, data in disk.items() if not key.startswith(_KEY)}
        return self._told(self.machine.on_start(now_ns, inner), now_ns)

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        """A value, or what is said about one; or one of the engine's."""
        step = _STEPS.get(message.step) if message.kind is Kind.DATA else None
        if step is None:
            return self._told(self.machine.on_message(port, message, life, now_ns), now_ns)
        src, instance = self.config.peers[port].node, message.round
        rank = self.config.members.index(src)
        if step is Step.VALUE:
            return [*self._hold(instance, rank, message.body), Send(port, _say(Step.HELD, instance))]
        if step is Step.HELD:
            self.holders.get(instance, set()).add(src)
            return []
        if len(message.body) < 4 or (asked := values.to_int(message.body[:4])) >= self.config.n:
            return [Note("stray", instance, "no rank of a member", message)]
        if step is Step.WANTED:
            value = self.held.get((instance, asked))
            return [] if value is None else [Send(port, _say(Step.GIVEN, instance, message.body[:4] + value))]
        return [*self._hold(instance, asked, message.body[4:]), *self._found(instance)]

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """``spread asks``, or one of the engine's; rounds that it begins are proposed in first."""
        if name == _ASK:
            self.asks = False
            return self._ask(now_ns)
        effects: Effects = []
        due = self.machine.awaits(now_ns)
        if due is not None:
            certain = 2 * len(self.holders.pop(due, ())) > self.config.n
            number = self.rank if certain else self.config.n
            effects += self.machine.propose(due, values.of_int(number), now_ns)
        return self._told(effects + self.machine.on_timer(name, now_ns), now_ns)

    def awaits(self, now_ns: int) -> int | None:
        """The instance after the one whose rounds go on, unless something has been proposed in it."""
        protocol = self.config.protocol
        following = (now_ns - self.config.start_ns) // (protocol.instance_rounds * protocol.period_ns) + 1
        in_time = 0 <= following * protocol.instance_rounds < protocol.rounds
        return following if in_time and following >= self.next_instance else None

    def propose(self, instance: int, value: bytes, now_ns: int) -> Effects:
        """Tell it to all members."""
        begun = (now_ns - self.config.start_ns) // self.config.protocol.period_ns
        if instance < self.next_instance or begun >= instance * self.config.protocol.instance_rounds:
            return [Note("late", instance, "proposed in already, or its first round has begun")]
        self.next_instance = instance + 1
        if value == NOTHING:
            return []
        self.holders[instance] = {self.config.node}
        told = _say(Step.VALUE, instance, value)
        return [*self._hold(instance, self.rank, value), *(Send(port, told) for port in self.ports)]

    # -- inside ------------------------------------------------------------------------------------------------------

    def _hold(self, instance: int, rank: int, value: bytes) -> Effects:
        self.held.setdefault((instance, rank), value)
        return [Persist(f"{_KEY}{instance} {rank}", value)] if self.config.keeps else []

    def _told(self, effects: Effects, now_ns: int) -> Effects:
        """What the engine says of numbers, said of the values that they stand for."""
        done: Effects = []
        for effect in effects:
            if isinstance(effect, Propose):
                rank = values.to_int(effect.value)
                done.append(Propose(effect.instance, self.held.get((effect.instance, rank), NOTHING)))
            elif isinstance(effect, Decide):
                self.missing[effect.instance] = (values.to_int(effect.value), effect.round)
                done += self._found(effect.instance)
            else:
                done.append(effect)
        return done if self.asks or not self.missing else done + self._ask(now_ns)

    def _found(self, instance: int) -> Effects:
        """The decision of ``instance``, if its value is here."""
        if instance not in self.missing:
            return []
        rank, round_ = self.missing[instance]
        value = NOTHING if rank >= self.config.n else self.held.get((instance, rank))
        if value is None:
            return []
        del self.missing[instance]
        return [Decide(instance, value, round_), *self._forget(instance - _KEPT)]

    def _forget(self, before: int) -> Effects:
        old = [key for key in self.held if key[0] < before]
        for key in old:
            del self.held[key]
        return [Persist(f"{_KEY}{key[0]} {key[1]}", None, sync=False) for key in old] if self.config.keeps else []

    def _ask(self, now_ns: int) -> Effects:
        effects: Effects = []
        for instance, (rank, _) in self.missing.items():
            effects += [Send(port, _say(Step.WANTED, instance, values.of_int(rank))) for port in self.ports]
        if effects:
            self.asks = True
            effects.append(SetTimer(_ASK, now_ns + self.config.protocol.retry_ns))
        return effects


def _say(step: Step, instance: int, body: bytes = b"") -> Message:
    return Message(Kind.DATA, instance, step, body)
