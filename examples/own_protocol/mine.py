"""A protocol of one's own: what the first member proposes is decided. It bears no crash and costs one delay."""

from __future__ import annotations

from collections.abc import Collection

from testbed.nodes.consensus.instances import InstanceMachine
from testbed.nodes.core import Effects, Propose, SetTimer
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.frames import Message

IT_IS, TELL_ME = 1, 2  # the types of its messages


class Dictator(InstanceMachine):
    """The first member decides for all.

    patience: periods of retransmission that the others wait before they ask (again)."""

    ENGINE = {"most_f": lambda n: 0, "rule": "f = 0", "carries": "bytes", "pitfalls": ("impatient",)}

    def __init__(self, config: NodeConfig, pitfalls: Collection[str] = (), *, patience: int = 1) -> None:
        super().__init__(config)
        self.dictates = self.rank == 0
        self.impatient = "impatient" in pitfalls
        self.wait_ns = patience * config.protocol.retry_ns
        self.own: dict[int, bytes] = {}
        self.decided: dict[int, bytes] = {}

    def begin(self, instance: int, value: bytes, now_ns: int) -> Effects:
        """The first member decides its own value and tells the others; they wait to be told."""
        self.own[instance] = value
        if self.dictates:
            return [Propose(instance, value), *self._learn(instance, value), *self._tell(instance, *self.ports)]
        return [Propose(instance, value), self._again(instance, now_ns)]

    def receive(self, src: int, message: Message, now_ns: int) -> Effects:
        """IT_IS: that is the decision. TELL_ME: it has not come through; say it again."""
        instance = message.round
        if message.step == IT_IS:
            return self._learn(instance, message.body)
        return self._tell(instance, src) if message.step == TELL_ME and instance in self.decided else []

    def expire(self, verb: str, instance: int, now_ns: int) -> Effects:
        """Nothing was heard for so long."""
        if instance in self.decided:
            return []
        if self.impatient:  # a bug that can be planted: the tests must be able to find it
            return self._learn(instance, self.own[instance])
        return [self.send(self.config.members[0], instance, TELL_ME, b""), self._again(instance, now_ns)]

    def resume(self, now_ns: int) -> Effects:
        """Up again with its disk: ask for what is open."""
        return [self._again(instance, now_ns) for instance in self.own if instance not in self.decided]

    def known(self, instance: int) -> bytes | None:
        """What a later life must know: the own value, and whether anything is decided, and what."""
        if instance not in self.own:
            return None
        own, decided = self.own[instance], self.decided.get(instance)
        return len(own).to_bytes(4) + own + (b"" if decided is None else b"!" + decided)

    def recall(self, instance: int, known: bytes) -> None:
        """The inverse."""
        end = 4 + int.from_bytes(known[:4])
        self.own[instance] = known[4:end]
        if known[end:]:
            self.decided[instance] = known[end + 1 :]

    def _learn(self, instance: int, value: bytes) -> Effects:
        if instance in self.decided:
            return []
        self.decided[instance] = value
        return [self.decide(instance, value, needed=1)]

    def _tell(self, instance: int, *others: int) -> Effects:
        return [self.send(other, instance, IT_IS, self.decided[instance]) for other in others]

    def _again(self, instance: int, now_ns: int) -> SetTimer:
        return SetTimer(f"again {instance}", now_ns + self.wait_ns)
