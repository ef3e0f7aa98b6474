"""A replica of a service on an engine that keeps a log."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from testbed.nodes.consensus.spec import LOCAL
from testbed.nodes.core import Decide, Effects, Install, Life, Log, Note, Port, Readable
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.frames import Message
from testbed.nodes.services.log import Operation, pack_entry
from testbed.nodes.services.messages import Step, step_of
from testbed.nodes.services.replica import Read, Replica
from testbed.nodes.services.spec import LogParameters, ServiceSpec


class ReplicaByLog(Replica):
    """``machine`` brings what is submitted at any replica into one order, and keeps it (testbed.nodes.core.Log).

    Whom a client asks submits the operation. Every ``snapshot_every`` entries the state is handed to the engine, which
    gives it to replicas that lack what it stands for, and to later lives of this one. A read that must not be old asks
    the engine first, which tells how many entries are to be applied before it.
    """

    def __init__(
        self,
        config: NodeConfig,
        machine: Log,
        service: ServiceSpec,
        parameters: LogParameters,
        pitfalls: Collection[str] = (),
    ) -> None:
        super().__init__(config, service, parameters, pitfalls)
        self.machine = machine
        self.asked: dict[int, Read] = {}  # reads of which the engine has not told yet, by the numbers it knows them by
        self.next_read = 0

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """What an earlier life kept, the engine tells again."""
        return self._hear(self.machine.on_start(now_ns, disk), now_ns)

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        """A client's request, or one of the engine's messages."""
        if step_of(message) is Step.REQUEST:
            return self.request(port, message, now_ns)
        if port not in self.members:
            return [Note("stray", message.round, "not from a member", message)]
        return self._hear(self.machine.on_message(port, message, life, now_ns), now_ns)

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """One of the engine's."""
        return self._hear(self.machine.on_timer(name, now_ns), now_ns)

    def order(self, operation: Operation, now_ns: int) -> Effects:
        """Submit it, once."""
        if operation.number in self.pending:
            return []
        self.pending[operation.number] = operation
        return self._hear(self.machine.submit(pack_entry([operation]), now_ns), now_ns)

    def read(self, read: Read, now_ns: int) -> Effects:
        """A client that asks again asks anew, and needs one answer."""
        if self.parameters.reads == LOCAL:
            return super().read(read, now_ns)
        self.asked = {number: other for number, other in self.asked.items() if other.number != read.number}
        number, self.next_read = self.next_read, self.next_read + 1
        self.asked[number] = read
        return self._hear(self.machine.read(number, self.parameters.reads, now_ns), now_ns)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _hear(self, effects: Effects, now_ns: int) -> Effects:
        """The engine's effects, each entry applied where it is told; then the state in place of many of them."""
        done: Effects = []
        for effect in effects:
            if isinstance(effect, Readable):
                self._may_read(effect)
                continue
            done.append(effect)
            if isinstance(effect, Decide):
                applied = self.apply(effect.value)
                done += [applied.apply, *applied.answers]
            elif isinstance(effect, Install):
                self.take_on(effect.state)
        if self.applied - self.base >= self.parameters.snapshot_every:
            self.base = self.applied
            done += self.machine.compact(self.applied, self.snapshot(), now_ns)
        return done + self.answered_reads()

    def _may_read(self, told: Readable) -> None:
        read = self.asked.pop(told.number, None)
        if read is not None:
            self.reads[read.number] = read._replace(below=told.below)
