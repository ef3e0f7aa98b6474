"""Fast Paxos on one node: proposer, acceptor, learner and, in its turn, coordinator (Lamport 2005). See notes.md."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from testbed.nodes import frames
from testbed.nodes.consensus.ballots import Ballots
from testbed.nodes.consensus.fast_paxos.messages import Message, Step, read
from testbed.nodes.consensus.fast_paxos.roles import FAST, Acceptor, Numbers, Pitfall, Proposer, Quorums, Vote
from testbed.nodes.consensus.instances import InstanceMachine
from testbed.nodes.core import CancelTimer, Effects, Note, Propose, SetTimer
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import pack, unpack

PATIENCE = 4  # retransmissions that a ballot's owner is given before the next in line takes over
AUTO = -1

_ASKING = (Step.OFFER, Step.ANY, Step.PREPARE, Step.ACCEPT)
"""Who says this knows of no decision, and is told it."""


@dataclass(slots=True)
class Instance:
    """An undecided instance. highest: the highest ballot known of. votes: each acceptor's latest, as it told everybody.
    proposer: this node's classic ballot, while it has one."""

    value: bytes
    acceptor: Acceptor
    highest: int = FAST
    votes: dict[int, Vote] = field(default_factory=dict)
    proposer: Proposer | None = None


def most_fast_crashes(n: int, f: int) -> int:
    """The greatest E with n > 2E + f."""
    return (n - f - 1) // 2


class FastPaxosMachine(InstanceMachine):
    """Instances of Fast Paxos side by side (testbed.nodes.core.Consensus); F is ``config.protocol.f``.

    The first member owns the fast ballot and says at once that any value will do; the ``proposers`` members after it
    offer theirs to all acceptors at once. All votes go to everybody. When values have collided, or nothing is decided
    after retry_ns, the first member picks a value for the ballot that follows, a classic one, for which the votes of
    the fast one count as promises. The others take over by rank, in classic ballots, as in Paxos. fast: without it
    there is no fast ballot, and offers are for the first member, which proposes the first one in a classic ballot.
    """

    def __init__(
        self,
        config: NodeConfig,
        pitfalls: Collection[Pitfall] = (),
        *,
        fast_crashes: int = AUTO,
        proposers: int = 1,
        fast: bool = True,
        patience: int = PATIENCE,
    ) -> None:
        super().__init__(config)
        f, n = config.protocol.f, config.n
        e = most_fast_crashes(n, f) if fast_crashes == AUTO else fast_crashes
        if not n > 2 * max(f, 0) or not n > 2 * e + f:
            raise ValueError(f"fast_paxos needs n > 2f and n > 2E + f, not n = {n}, f = {f}, E = {e}")
        self.pitfalls = frozenset(pitfalls)
        self.quorums = Quorums(n, f, e, self.pitfalls)
        self.numbers = Numbers(Ballots(n))
        self.offers = (self.rank - 1) % n < proposers
        self.fast = fast
        self.patience_ns = patience * config.protocol.retry_ns
        self.open: dict[int, Instance] = {}
        self.decided: dict[int, Message] = {}  # instance -> the DECIDE that tells it

    # -- instances ---------------------------------------------------------------------------------------------------

    def begin(self, instance: int, value: bytes, now_ns: int) -> Effects:
        """The first member opens the fast ballot, proposers offer their values; the others wait their turn."""
        effects: Effects = [Propose(instance, value)]
        state = self._open(instance, value)
        if self.rank == 0:
            effects.append(self._await_retry(instance, now_ns))
        else:
            effects.append(self._await_turn(instance, now_ns))
        if self.rank == 0 and self.fast:
            effects += self._to_all(instance, Message(Step.ANY, FAST), now_ns)
        if self.offers and instance in self.open:
            effects += self._to_all(instance, Message(Step.OFFER, FAST, value=state.value), now_ns)
        return effects

    def _open(self, instance: int, value: bytes) -> Instance:
        state = self.open[instance] = Instance(value, Acceptor(self.pitfalls))
        return state

    def resume(self, now_ns: int) -> Effects:
        """The owner of a ballot goes on with it at the next retry, the others wait their turn anew."""
        return [
            self._await_retry(instance, now_ns) if self._owns(state) else self._await_turn(instance, now_ns)
            for instance, state in self.open.items()
        ]

    def expire(self, verb: str, instance: int, now_ns: int) -> Effects:
        """``retry``: repeat the message, or give the fast ballot up. ``turn``: open a ballot above all known ones."""
        state = self.open.get(instance)
        if state is None:
            return []
        if verb == "turn":
            attempt = self.numbers.attempt(state.highest) + 1
            return self._open_ballot(instance, state, self.numbers.number(attempt, self.rank), now_ns)
        if not self._owns(state):
            return []
        if state.proposer is None:
            return self._recover(instance, state, now_ns)
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
        vote = acceptor.vote
        return pack(
            state.value.hex(), state.highest, acceptor.promised, vote.ballot, vote.value.hex(), ballot, proposed
        )

    def recall(self, instance: int, known: bytes) -> None:
        """The inverse of known."""
        data = unpack(known)
        if len(data) == 2:
            ballot, value = data
            self.decided[instance] = Message(Step.DECIDE, ballot, value=bytes.fromhex(value))
            return
        own, highest, promised, voted, vote, ballot, proposed = data
        state = self._open(instance, bytes.fromhex(own))
        state.highest, state.acceptor.promised = highest, promised
        state.acceptor.vote = Vote(voted, bytes.fromhex(vote))
        if voted:
            state.votes[self.config.node] = state.acceptor.vote
        if ballot is not None:
            value = None if proposed is None else bytes.fromhex(proposed)
            state.proposer = Proposer(ballot, self.quorums, value=value)

    # -- messages ----------------------------------------------------------------------------------------------------

    def receive(self, src: int, message: frames.Message, now_ns: int) -> Effects:
        """Another member said something."""
        instance, said = message.round, read(message)
        if said is None:
            return [Note("stray", instance, "no message of Fast Paxos", message)]
        if self.stays_out(instance) and said.step is not Step.DECIDE:
            return [Note("absent", instance, "this life began after the instance", message)]
        return self._handle(instance, src, said, now_ns)

    def _handle(self, instance: int, src: int, message: Message, now_ns: int) -> Effects:
        if instance in self.decided:
            asks = message.step in _ASKING and src != self.config.node
            return self._tell(instance, src, self.decided[instance], now_ns) if asks else []
        if message.step is Step.DECIDE:
            return self._decide(instance, message)
        state = self.open[instance]
        match message.step:
            case Step.OFFER:
                return self._take_offer(instance, state, message.value, now_ns)
            case Step.ANY:
                owns = self.fast and src == self.config.members[0]
                return self._tell_vote(instance, state, now_ns) if owns and state.acceptor.may_be_any() else []
            case Step.ACCEPTED:
                return self._count(instance, state, src, Vote(message.ballot, message.value), now_ns)
            case Step.PREPARE | Step.ACCEPT:
                return self._answer(instance, state, src, message, now_ns)
            case Step.REJECT:
                return self._yield_to(instance, state, message.voted, now_ns)
        proposer = state.proposer
        if proposer is None or message.ballot != proposer.ballot:
            return []  # a promise to a ballot that was given up
        complete = proposer.promise(src, Vote(message.voted, message.value), state.value)
        return self._ask(instance, proposer, now_ns) if complete else []

    def _take_offer(self, instance: int, state: Instance, value: bytes, now_ns: int) -> Effects:
        """As acceptor of the fast ballot, if there is one; else as coordinator, who proposes the first that comes."""
        if self.fast:
            return self._tell_vote(instance, state, now_ns) if state.acceptor.offer(value) else []
        if state.proposer is not None or not self._owns(state):
            return []
        return self._propose(instance, state, value, now_ns)

    def _answer(self, instance: int, state: Instance, src: int, message: Message, now_ns: int) -> Effects:
        """As acceptor; a ballot above all known ones also ends this node's own, and is given time."""
        acceptor, ballot = state.acceptor, message.ballot
        effects = self._yield_to(instance, state, ballot, now_ns)
        if message.step is Step.ACCEPT and acceptor.accept(ballot, message.value):
            return effects + self._tell_vote(instance, state, now_ns)
        if message.step is Step.PREPARE and acceptor.prepare(ballot):
            answer = Message(Step.PROMISE, ballot, *acceptor.vote)
        else:
            answer = Message(Step.REJECT, ballot, acceptor.promised)
        return effects + self._tell(instance, src, answer, now_ns)

    def _tell_vote(self, instance: int, state: Instance, now_ns: int) -> Effects:
        ballot, value = state.acceptor.vote
        return self._to_all(instance, Message(Step.ACCEPTED, ballot, value=value), now_ns)

    def _count(self, instance: int, state: Instance, src: int, vote: Vote, now_ns: int) -> Effects:
        """As learner: a quorum of votes for one value decides. As the fast ballot's owner: do they collide?"""
        if vote.ballot < state.votes.get(src, vote).ballot:
            return []
        state.votes[src] = vote
        alike = sum(one == vote for one in state.votes.values())
        if alike >= self.quorums.needed(vote.ballot):
            return self._learn(instance, state, Message(Step.DECIDE, vote.ballot, value=vote.value))
        if vote.ballot == FAST and self._owns(state) and state.proposer is None and self._collided(state):
            return self._recover(instance, state, now_ns)
        return []

    def _collided(self, state: Instance) -> bool:
        """Whether nothing can be chosen in the fast ballot any more, and enough is known to go on from there."""
        fast = [vote.value for vote in state.votes.values() if vote.ballot == FAST]
        return len(fast) >= self.quorums.needed(FAST + 1) and self.quorums.collided(fast)

    def _tell(self, instance: int, node: int, message: Message, now_ns: int) -> Effects:
        if node == self.config.node:
            return self._handle(instance, node, message, now_ns)
        return [self.send(node, instance, message.step, message.body())]

    def _to_all(self, instance: int, message: Message, now_ns: int) -> Effects:
        """This node last: what it makes of it comes after."""
        effects: Effects = [self.send(node, instance, message.step, message.body()) for node in self.ports]
        return effects + self._handle(instance, self.config.node, message, now_ns)

    # -- ballots -----------------------------------------------------------------------------------------------------

    def _owns(self, state: Instance) -> bool:
        """Whether the highest ballot known is this node's."""
        return state.proposer is not None or (self.rank == 0 and state.highest == FAST)

    def _recover(self, instance: int, state: Instance, now_ns: int) -> Effects:
        """Coordinated recovery: the ballot that follows the fast one, for which its votes are promises, as no other
        ballot lies between. Whoever has not voted, is asked to promise."""
        if not self.fast:
            return self._propose(instance, state, state.value, now_ns)  # the first ballot of all: nobody has voted
        ballot = self.numbers.number(0, 0)
        state.highest = ballot
        proposer = state.proposer = Proposer(ballot, self.quorums)
        for node, vote in state.votes.items():
            if vote.ballot == FAST:
                proposer.promise(node, vote, state.value)
        return [self._await_retry(instance, now_ns), *self._ask(instance, proposer, now_ns)]

    def _propose(self, instance: int, state: Instance, value: bytes, now_ns: int) -> Effects:
        """The first member's first classic ballot, where there is no fast one: no promises are needed."""
        state.highest = self.numbers.number(0, 0)
        state.proposer = Proposer(state.highest, self.quorums, value=value)
        return [self._await_retry(instance, now_ns), *self._ask(instance, state.proposer, now_ns)]

    def _open_ballot(self, instance: int, state: Instance, ballot: int, now_ns: int) -> Effects:
        state.highest = ballot
        state.proposer = Proposer(ballot, self.quorums)
        return [self._await_retry(instance, now_ns), *self._ask(instance, state.proposer, now_ns)]

    def _ask(self, instance: int, proposer: Proposer, now_ns: int) -> Effects:
        """Phase 1a or 2a to all that have not answered it, this node last: its answer may lead on."""
        state = self.open[instance]
        if proposer.value is None:
            message, answered = Message(Step.PREPARE, proposer.ballot), set(proposer.promises)
        else:
            message = Message(Step.ACCEPT, proposer.ballot, value=proposer.value)
            answered = {node for node, vote in state.votes.items() if vote.ballot == proposer.ballot}
        others = [node for node in self.config.members if node != self.config.node]
        effects: Effects = []
        for node in [*others, self.config.node]:
            if node not in answered:
                effects += self._tell(instance, node, message, now_ns)
        return effects

    def _yield_to(self, instance: int, state: Instance, ballot: int, now_ns: int) -> Effects:
        if ballot <= state.highest:
            return []
        state.highest, state.proposer = ballot, None
        return [CancelTimer(f"retry {instance}"), self._await_turn(instance, now_ns)]

    def _learn(self, instance: int, state: Instance, message: Message) -> Effects:
        """Everybody counts votes; the owner of the ballot tells those who missed some."""
        owner = self._owns(state) and message.ballot == state.highest
        effects = self._decide(instance, message)
        if owner:
            effects += [self.send(node, instance, message.step, message.body()) for node in self.ports]
        return effects

    def _decide(self, instance: int, message: Message) -> Effects:
        self.decided[instance] = message
        self.open.pop(instance, None)
        needed = 1 if message.ballot == FAST else self.numbers.attempt(message.ballot) + 2
        return [
            self.decide(instance, message.value, needed),
            CancelTimer(f"retry {instance}"),
            CancelTimer(f"turn {instance}"),
        ]

    # -- time --------------------------------------------------------------------------------------------------------

    def _await_retry(self, instance: int, now_ns: int) -> SetTimer:
        return SetTimer(f"retry {instance}", now_ns + self.config.protocol.retry_ns)

    def _await_turn(self, instance: int, now_ns: int) -> SetTimer:
        wait_ns = self.numbers.wait_ns(self.rank, self.open[instance].highest, self.patience_ns)
        return SetTimer(f"turn {instance}", now_ns + wait_ns)
