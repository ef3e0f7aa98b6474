"""Single-decree Paxos on one node: proposer, acceptor and learner (Lamport 1998, 2001). See notes.md."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from testbed.nodes import frames
from testbed.nodes.consensus.ballots import Ballots
from testbed.nodes.consensus.instances import InstanceMachine
from testbed.nodes.consensus.paxos.messages import Message, Step, read
from testbed.nodes.consensus.paxos.roles import Acceptor, Pitfall, Proposer
from testbed.nodes.core import CancelTimer, Effects, Note, Persist, Propose, SetTimer
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import pack, unpack

PATIENCE = 4  # retransmissions that a proposer is given before the next in line takes over


@dataclass(slots=True)
class Instance:
    """An undecided instance. highest: the highest ballot known of; proposer: this node's ballot, while it has one."""

    value: bytes
    acceptor: Acceptor
    highest: int
    proposer: Proposer | None = None


class PaxosMachine(InstanceMachine):
    """Instances of Paxos one after another (testbed.nodes.core.Machine).

    The first member proposes at once. The others take over in the order of their ranks when they hear of no decision:
    the wait grows with the distance in rank from the current ballot's owner and doubles with every attempt, so that
    whatever the delays are, at some time a ballot is left alone for long enough. A proposer repeats its message
    every retry_ns to those that have not answered. Values are padded to ``value_bytes``.
    """

    def __init__(
        self,
        config: NodeConfig,
        pitfalls: Collection[Pitfall] = (),
        patience: int = PATIENCE,
        value_bytes: int = 0,
    ) -> None:
        super().__init__(config)
        self.pitfalls = frozenset(pitfalls)
        self.patience = patience
        self.value_bytes = value_bytes
        self.ballots = Ballots(config.n)
        self.quorum = config.n // 2 + 1
        self.open: dict[int, Instance] = {}
        self.decided: dict[int, Message] = {}  # instance -> the DECIDE that tells it

    # -- instances ---------------------------------------------------------------------------------------------------

    def begin(self, instance: int, value: bytes, now_ns: int) -> Effects:
        """Enter the own value; the first member opens ballot 1, the others wait their turn."""
        entered = self._enter(instance, value.ljust(self.value_bytes, b"\0")).value
        effects: Effects = [Propose(instance, entered)]
        if self.rank == 0:
            return effects + self._open_ballot(instance, self.ballots.number(0, 0), now_ns)
        return [*effects, self._await_turn(instance, now_ns)]

    def _enter(self, instance: int, value: bytes) -> Instance:
        state = self.open[instance] = Instance(value, Acceptor(self.pitfalls), self.ballots.number(0, 0))
        return state

    def resume(self, now_ns: int) -> Effects:
        """The owner of a ballot goes on with it at the next retry, the others wait their turn anew."""
        effects: Effects = []
        for instance, state in self.open.items():
            if state.proposer is not None:
                effects.append(self._await_retry(instance, now_ns))
            else:
                effects.append(self._await_turn(instance, now_ns))
        return effects

    def expire(self, verb: str, instance: int, now_ns: int) -> Effects:
        """``retry``: repeat the current message. ``turn``: open a ballot above all known ones."""
        state = self.open.get(instance)
        if state is None:
            return []
        if verb == "turn":
            attempt = self.ballots.attempt(state.highest) + 1
            return self._open_ballot(instance, self.ballots.number(attempt, self.rank), now_ns)
        if state.proposer is None:
            return []
        return [self._await_retry(instance, now_ns), *self._ask(instance, state.proposer, now_ns)]

    def known(self, instance: int) -> bytes | None:
        """The decision; before that what the acceptor has promised and voted, and this node's ballot with the value
        that it proposes in it: who has promised and voted in it so far can be asked again."""
        decided = self.decided.get(instance)
        if decided is not None:
            return pack(decided.ballot, decided.value.hex())
        state = self.open.get(instance)
        if state is None:
            return None
        acceptor, proposer = state.acceptor, state.proposer
        ballot = None if proposer is None else proposer.ballot
        proposed = None if proposer is None or proposer.value is None else proposer.value.hex()
        voted = acceptor.value.hex()
        return pack(state.value.hex(), state.highest, acceptor.promised, acceptor.voted, voted, ballot, proposed)

    def keep(self, effects: Effects, *instances: int) -> Effects:
        """What is to be on the disk comes before what is said."""
        kept = super().keep(effects, *instances)
        if Pitfall.ANSWER_NOT_KEPT in self.pitfalls:
            kept.sort(key=lambda effect: isinstance(effect, Persist))
        if Pitfall.ANSWER_NOT_SYNCED in self.pitfalls:
            kept = [one._replace(sync=False) if isinstance(one, Persist) else one for one in kept]
        return kept

    def recall(self, instance: int, known: bytes) -> None:
        """The inverse of known."""
        data = unpack(known)
        if len(data) == 2:
            ballot, value = data
            self.decided[instance] = Message(Step.DECIDE, ballot, value=bytes.fromhex(value))
            return
        own, highest, promised, voted, vote, ballot, proposed = data
        state = self._enter(instance, bytes.fromhex(own))
        state.highest, state.acceptor.promised, state.acceptor.voted = highest, promised, voted
        state.acceptor.value = bytes.fromhex(vote)
        if ballot is not None:
            value = None if proposed is None else bytes.fromhex(proposed)
            state.proposer = Proposer(ballot, self.quorum, self.pitfalls, value=value)

    def receive(self, src: int, message: frames.Message, now_ns: int) -> Effects:
        """Another member said something."""
        instance, said = message.round, read(message)
        if said is None:
            return [Note("stray", instance, "no message of Paxos", message)]
        if self.stays_out(instance) and said.step is not Step.DECIDE:
            return [Note("absent", instance, "this life began after the instance", message)]
        return self._handle(instance, src, said, now_ns)

    # -- messages ----------------------------------------------------------------------------------------------------

    def _handle(self, instance: int, src: int, message: Message, now_ns: int) -> Effects:
        if instance in self.decided:
            asks = message.step in (Step.PREPARE, Step.ACCEPT)
            return self._tell(instance, src, self.decided[instance], now_ns) if asks else []
        if message.step is Step.DECIDE:
            return self._decide(instance, message)
        state = self.open[instance]
        if message.step in (Step.PREPARE, Step.ACCEPT):
            return self._answer(instance, state, src, message, now_ns)
        proposer = state.proposer
        if proposer is None or message.ballot != proposer.ballot:
            return []  # the answer to a ballot that was given up
        if message.step is Step.REJECT:
            return self._yield_to(instance, state, message.voted, now_ns)
        return self._lead(instance, state, proposer, src, message, now_ns)

    def _lead(
        self, instance: int, state: Instance, proposer: Proposer, src: int, message: Message, now_ns: int
    ) -> Effects:
        """As proposer: a quorum of promises leads to phase 2, a quorum of votes to the decision."""
        if message.step is Step.PROMISE:
            complete = proposer.promise(src, message.voted, message.value, state.value)
            return self._ask(instance, proposer, now_ns) if complete else []
        if proposer.value is None or not proposer.accepted(src):
            return []
        return self._announce(instance, Message(Step.DECIDE, proposer.ballot, value=proposer.value))

    def _answer(self, instance: int, state: Instance, src: int, message: Message, now_ns: int) -> Effects:
        """As acceptor; a ballot above all known ones also ends this node's own, and is given time."""
        acceptor, ballot = state.acceptor, message.ballot
        effects = self._yield_to(instance, state, ballot, now_ns)
        if message.step is Step.PREPARE and acceptor.prepare(ballot):
            answer = Message(Step.PROMISE, ballot, acceptor.voted, acceptor.value)
        elif message.step is Step.ACCEPT and acceptor.accept(ballot, message.value):
            answer = Message(Step.ACCEPTED, ballot)
        else:
            answer = Message(Step.REJECT, ballot, acceptor.promised)
        return effects + self._tell(instance, src, answer, now_ns)

    def _tell(self, instance: int, node: int, message: Message, now_ns: int) -> Effects:
        if node == self.config.node:
            return self._handle(instance, node, message, now_ns)
        return [self.send(node, instance, message.step, message.body())]

    # -- ballots -----------------------------------------------------------------------------------------------------

    def _open_ballot(self, instance: int, ballot: int, now_ns: int) -> Effects:
        state = self.open[instance]
        state.highest = ballot
        state.proposer = Proposer(ballot, self.quorum, self.pitfalls)
        retry = self._await_retry(instance, now_ns)
        return [retry, *self._ask(instance, state.proposer, now_ns)]

    def _ask(self, instance: int, proposer: Proposer, now_ns: int) -> Effects:
        """Phase 1a or 2a to all that have not answered it, this node last: its answer may lead on."""
        if proposer.value is None:
            message = Message(Step.PREPARE, proposer.ballot)
        else:
            message = Message(Step.ACCEPT, proposer.ballot, value=proposer.value)
        others = [node for node in self.config.members if node != self.config.node]
        effects: Effects = []
        for node in [*others, self.config.node]:
            if not proposer.has_answered(node):
                effects += self._tell(instance, node, message, now_ns)
        return effects

    def _yield_to(self, instance: int, state: Instance, ballot: int, now_ns: int) -> Effects:
        if ballot <= state.highest:
            return []
        state.highest, state.proposer = ballot, None
        return [CancelTimer(f"retry {instance}"), self._await_turn(instance, now_ns)]

    def _announce(self, instance: int, message: Message) -> Effects:
        effects = self._decide(instance, message)
        for node in self.ports:
            effects.append(self.send(node, instance, message.step, message.body()))
        return effects

    def _decide(self, instance: int, message: Message) -> Effects:
        self.decided[instance] = message
        self.open.pop(instance, None)
        needed = self.ballots.attempt(message.ballot) + 1
        return [
            self.decide(instance, message.value, needed),
            CancelTimer(f"retry {instance}"),
            CancelTimer(f"turn {instance}"),
        ]

    # -- time --------------------------------------------------------------------------------------------------------

    def _await_retry(self, instance: int, now_ns: int) -> SetTimer:
        return SetTimer(f"retry {instance}", now_ns + self.config.protocol.retry_ns)

    def _await_turn(self, instance: int, now_ns: int) -> SetTimer:
        patience_ns = self.patience * self.config.protocol.retry_ns
        wait_ns = self.ballots.wait_ns(self.rank, self.open[instance].highest, patience_ns)
        return SetTimer(f"turn {instance}", now_ns + wait_ns)
