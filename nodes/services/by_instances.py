"""A replica of a service on an engine of instances: entry i of the log is what instance i decides."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice

from testbed.nodes.core import Consensus, Decide, Effects, Life, Note, Persist, Port, Send, SetTimer
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import Written
from testbed.nodes.frames import Message
from testbed.nodes.services.log import NOTHING, Operation, pack_entry, read_entry
from testbed.nodes.services.messages import Step, say, step_of
from testbed.nodes.services.replica import Replica
from testbed.nodes.services.spec import LogParameters, ServiceSpec

_KEY = "replica "  # what the keys of a replica's own begin with
_SNAPSHOT, _ENTRY = f"{_KEY}snapshot", f"{_KEY}entry "
_ASK = "replica asks"
_MOST_ENTRIES = 64  # told in answer to one question


class ReplicaByInstances(Replica):
    """``machine`` decides the entries, one instance after another (testbed.nodes.core.Consensus).

    Whoever a client asks tells the operation to all members, so that it does not matter who leads. A member proposes
    what it has been asked or told and has not applied, in the first instance that it knows no decision of; where others
    have begun an instance, or its rounds begin, it proposes what it has, an entry without operations if that is
    nothing. A replica that misses entries asks one member after another, every retry_ns. The log goes no
    further than the first entry whose decision nobody tells: an instance of rounds that ended undecided everywhere, as
    when windows were missed, stalls the service, for one that is down may have decided in it and answered.

    Where the disk is kept, entries are persisted before they are applied, every ``snapshot_every`` of them the state in
    their place; a restart goes on from there and tells again what it applies again. Without the disk, a replica gets
    the log from the others; of consensus, an engine made of rounds lets it take part again from the next instance on,
    while under any other it only learns for the rest of the run (testbed.nodes.core.Consensus), and counts as crashed.
    """

    def __init__(
        self,
        config: NodeConfig,
        machine: Consensus,
        service: ServiceSpec,
        in_rounds: bool,
        parameters: LogParameters,
        pitfalls: Collection[str] = (),
    ) -> None:
        super().__init__(config, service, parameters, pitfalls)
        self.machine = machine
        self.in_rounds = in_rounds
        self.log: dict[int, bytes] = {}  # all entries from ``base`` on, and decisions whose turn has not come
        self.proposed = -1  # the latest instance proposed in
        self.learns_only = False
        self.asks = False  # whether the timer is set
        self.turn = 0  # how many members have been asked for what is missing
        self.written = Written(config.keeps)

    # -- events ------------------------------------------------------------------------------------------------------

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """First life: an empty log. Kept state: what is on the disk. Otherwise what the others tell."""
        inner = {key: data for key, data in disk.items() if not key.startswith(_KEY)}
        effects = self.machine.on_start(now_ns, inner)
        if disk:
            self._recall({key: data for key, data in disk.items() if key.startswith(_KEY)})
        elif self.config.epoch > 1:
            self.learns_only = not self.in_rounds
            effects += [Send(port, self._question()) for port in self.members]
        return self._go_on(effects, now_ns)

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        """A client's request, another replica's word, or one of the engine's messages."""
        step = step_of(message)
        if step is None:
            if port not in self.members:
                return [Note("stray", message.round, "not from a member", message)]
            return self._go_on(self._before(now_ns) + self.machine.on_message(port, message, life, now_ns), now_ns)
        if step is Step.REQUEST:
            effects = self.request(port, message, now_ns)
        elif port not in self.members:
            return [Note("stray", message.round, "not from a member", message)]
        else:
            effects = self._hear(port, step, message)
        return self._go_on(effects, now_ns)

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """``replica asks``, or one of the engine's."""
        if name != _ASK:
            return self._go_on(self._before(now_ns) + self.machine.on_timer(name, now_ns), now_ns)
        self.asks = False
        if not self._lacks():
            return []
        self.turn += 1
        port = self.members[self.turn % len(self.members)]
        return self._go_on([Send(port, self._question())], now_ns)

    def order(self, operation: Operation, now_ns: int) -> Effects:  # noqa: ARG002 - proposed when the event is over
        """Tell it to all members."""
        self.pending.setdefault(operation.number, operation)
        told = say(Step.TOLD, pack_entry([operation]))
        return [Send(member, told) for member in self.members]

    # -- other replicas ----------------------------------------------------------------------------------------------

    def _hear(self, port: Port, step: Step, message: Message) -> Effects:
        if step is Step.TOLD:
            for operation in read_entry(message.body) or ():
                if not self.sessions.happened(operation.number):
                    self.pending.setdefault(operation.number, operation)
            return []
        if step is Step.ASK:
            return self._tell(port, message.round)
        if step is Step.ENTRY:
            self._learn(message.round, message.body)
            return []
        if step is Step.STATE and message.round > self.applied:
            self.take_on(message.body)
            return [Note("restored", message.round, "the state before this entry, as another replica has it")]
        return []

    def _question(self) -> Message:
        return say(Step.ASK, NOTHING, self.applied)

    def _tell(self, port: Port, since: int) -> Effects:
        """The entries from there on, and the state before them where they are not at hand any more."""
        effects: Effects = []
        if since < self.base:
            since = self.applied
            effects.append(Send(port, say(Step.STATE, self.snapshot(), since)))
        for index in range(since, since + _MOST_ENTRIES):
            if index in self.log:
                effects.append(Send(port, say(Step.ENTRY, self.log[index], index)))
        return effects

    # -- the log -----------------------------------------------------------------------------------------------------

    def _before(self, now_ns: int) -> Effects:
        """What waits for a proposal before an event is handled: rounds that it begins."""
        return self._propose_awaited(now_ns) if self.in_rounds else []

    def _go_on(self, effects: Effects, now_ns: int) -> Effects:
        """The effects of an event, and what comes of them: entries are applied, and what is left is proposed."""
        done: Effects = []
        while effects:
            done += effects
            for effect in effects:
                if isinstance(effect, Decide):
                    self._learn(effect.instance, effect.value)
            done += self._apply()
            effects = self._propose(now_ns)
        done += self.answered_reads()
        if self._lacks() and not self.asks:
            self.asks = True
            done.append(SetTimer(_ASK, now_ns + self.config.protocol.retry_ns))
        return done

    def _learn(self, index: int, value: bytes) -> None:
        if index >= self.applied:
            self.log.setdefault(index, value)

    def _lacks(self) -> bool:
        """Whether there is, or may be, something that others know: a later entry, or one with what is pending."""
        waits = len(self.log) > self.applied - self.base  # a decision is here whose turn has not come
        return bool(self.pending) or waits or self._is_behind()

    def _is_behind(self) -> bool:
        return not self.in_rounds and self.proposed > self.applied

    def _propose(self, now_ns: int) -> Effects:
        if self.learns_only:
            return []
        effects = self._propose_awaited(now_ns)
        if effects or self.in_rounds or not self.pending or self.proposed >= self.applied:
            return effects
        return self._propose_in(self.applied, now_ns)

    def _propose_awaited(self, now_ns: int) -> Effects:
        awaited = self.machine.awaits(now_ns)
        return [] if awaited is None or self.learns_only else self._propose_in(awaited, now_ns)

    def _propose_in(self, instance: int, now_ns: int) -> Effects:
        self.proposed = max(self.proposed, instance)
        batch = islice(self.pending.values(), self.parameters.batch)
        return self.machine.propose(instance, pack_entry(batch), now_ns)

    def _apply(self) -> Effects:
        """The entries whose turn it is: on the disk first, then what they do, then the answers."""
        first, applied = self.applied, []
        while self.applied in self.log:
            applied.append(self.apply(self.log[self.applied]))
        if self.applied == first:
            return []
        answers = [one for entry in applied for one in entry.answers]
        return [*self._keep(first), *(entry.apply for entry in applied), *answers]

    # -- what a later life must know ---------------------------------------------------------------------------------

    def _keep(self, first: int) -> list[Persist]:
        """Entries from ``first`` on, or the state in place of all of them."""
        wanted: dict[str, bytes | None] = {}
        if self.applied - self.base >= self.parameters.snapshot_every:
            wanted |= {f"{_ENTRY}{index}": None for index in range(self.base, first)}
            wanted[_SNAPSHOT] = self.snapshot()
            for index in range(self.base, self.applied):
                del self.log[index]
            self.base = self.applied
        else:
            wanted |= {f"{_ENTRY}{index}": self.log[index] for index in range(first, self.applied)}
        return self.written.news(wanted) if self.written.keeps else []

    def take_on(self, snapshot: bytes) -> None:
        """Entries that it stands for are needed no more."""
        super().take_on(snapshot)
        self.log = {index: value for index, value in self.log.items() if index >= self.applied}

    def _recall(self, disk: Mapping[str, bytes]) -> None:
        self.written.read(disk)
        if _SNAPSHOT in disk:
            self.take_on(disk[_SNAPSHOT])
        for key, data in disk.items():
            if key.startswith(_ENTRY):
                self._learn(int(key.removeprefix(_ENTRY)), data)
