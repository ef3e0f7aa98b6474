"""Ios on one node: Multi-Paxos whose leader orders entries and has others replicate them. See notes.md."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from testbed.nodes import frames
from testbed.nodes.consensus.ios.messages import Done, Order, Step, read
from testbed.nodes.consensus.ios.pitfalls import Pitfall
from testbed.nodes.consensus.logs import NOOP, submission
from testbed.nodes.consensus.multi_paxos import messages as multi_paxos
from testbed.nodes.consensus.multi_paxos.machine import DRIFT_PPM, PATIENCE, MultiPaxosMachine
from testbed.nodes.consensus.multi_paxos.messages import Message
from testbed.nodes.consensus.multi_paxos.roles import Leader, Open, Vote
from testbed.nodes.core import Effects
from testbed.nodes.core.config import NodeConfig


class Delegate(StrEnum):
    """To whom the leader gives an entry, among those that answered its last heartbeat or the one before."""

    ROTATE = "rotate"  # one after another
    NEXT = "next"  # always the next after the leader
    SUBMITTER = "submitter"  # who has submitted it


@dataclass(slots=True)
class Delegated(Open):
    """A slot whose entry ``coordinator`` replicates; since: when it was ordered from that one."""

    coordinator: int = -1


@dataclass(slots=True)
class Coordination:
    """An entry that this node replicates for the leader of ``ballot``: who has voted for it."""

    ballot: int
    voters: list[int] = field(default_factory=list)


class IosMachine(MultiPaxosMachine):
    """Multi-Paxos (see there) with another phase 2: the leader votes for an entry, and orders its replication from a
    coordinator, which asks the others for their votes in the leader's ballot, and tells all when ``replication`` of
    them, the leader and itself among them, have voted. What is not done for a whole interval is ordered from another.

    replication: votes that choose an entry; phase 1 asks as many nodes as have one in common with any such quorum.
    """

    def __init__(
        self,
        config: NodeConfig,
        pitfalls: Collection[Pitfall] = (),
        patience: int = PATIENCE,
        drift_ppm: int = DRIFT_PPM,
        replication: int = 0,
        delegate: Delegate = Delegate.ROTATE,
    ) -> None:
        super().__init__(config, (), patience, drift_ppm)
        self.planted = frozenset(pitfalls)
        self.delegate = delegate
        self.quorum = replication or config.n // 2 + 1
        self.recovery = config.n + 1 - self.quorum - (Pitfall.DISJOINT_QUORUMS in pitfalls)
        self.latest = config.node  # the coordinator of the latest order
        self.coordinated: dict[int, Coordination] = {}

    def receive(self, src: int, message: frames.Message, now_ns: int) -> Effects:
        """An order, the word that one is done, or a message of Multi-Paxos."""
        said = read(message)
        if isinstance(said, Order):
            return self._coordinate(src, said, now_ns)
        if isinstance(said, Done):
            return self._done_in(said, now_ns)
        return super().receive(src, message, now_ns)

    def _handle(self, src: int, said: Message, now_ns: int) -> Effects:
        """Votes are counted by who has asked for them."""
        if said.step is multi_paxos.Step.ACCEPTED:
            one = self.coordinated.get(said.numbers[0])
            if one is not None and one.ballot == said.ballot:
                return self._count(src, said.numbers[0], one, now_ns)
        return super()._handle(src, said, now_ns)

    # -- the leader --------------------------------------------------------------------------------------------------

    def _ask_votes(self, own: Leader, slot: int, opened: Open, now_ns: int) -> Effects:
        """This node votes, and has another ask the rest."""
        own.open[slot] = opened
        effects: Effects = []
        if Pitfall.ORDER_WITHOUT_VOTE not in self.planted:
            own_vote = Message(multi_paxos.Step.ACCEPT, own.ballot, (slot, self.slot), opened.entry)
            effects = self._handle(self.config.node, own_vote, now_ns)
        if slot not in own.open:
            return effects  # one vote is enough
        return effects + self._order(own, slot, opened.entry, self._first_choice(own, opened.entry), now_ns)

    def _ask_again(self, own: Leader, slot: int, opened: Open, now_ns: int) -> Effects:
        """Its coordinator may have died, or lost its way to the others, or the word that it is done was lost."""
        assert isinstance(opened, Delegated)
        if Pitfall.COORDINATOR_FAILURE_IGNORED in self.planted:
            return []
        another = self._after(opened.coordinator, {*self._heard(own), self.config.node} - {opened.coordinator})
        if Pitfall.TWO_COORDINATORS_ONE_SLOT in self.planted and opened.entry != NOOP:
            return [
                *self._order(own, slot, NOOP, another, now_ns),
                *self._propose(own, opened.entry, now_ns),
            ]
        return self._order(own, slot, opened.entry, another, now_ns)

    def _order(self, own: Leader, slot: int, entry: bytes, coordinator: int, now_ns: int) -> Effects:
        self.latest = coordinator
        own.open[slot] = Delegated(entry, own.beats, coordinator=coordinator)
        order = Order(own.ballot, slot, self.slot, entry)
        if coordinator == self.config.node:
            return self._coordinate(coordinator, order, now_ns)
        return [self.send(coordinator, order.ballot, Step.ORDER, order.body())]

    def _first_choice(self, own: Leader, entry: bytes) -> int:
        """As ``delegate`` has it; this node, if it hears nobody."""
        heard = self._heard(own)
        one = submission(entry)
        if self.delegate is Delegate.SUBMITTER and one is not None and one.rank < self.config.n:
            submitter = self.config.members[one.rank]
            if submitter in heard:
                return submitter
        return self._after(self.latest if self.delegate is Delegate.ROTATE else self.config.node, heard)

    def _after(self, node: int, some: Collection[int]) -> int:
        """The first of them behind ``node`` in line, which comes last itself; this node, if there are none."""
        members, place = self.config.members, self.config.members.index(node)
        return next((one for one in (*members[place + 1 :], *members[: place + 1]) if one in some), self.config.node)

    def _heard(self, own: Leader) -> set[int]:
        """Who has answered the last heartbeat or the one before, or has just promised."""
        return {node for node, beat in own.heard.items() if beat >= own.beats - 1}

    def _announce(self, own: Leader, now_ns: int) -> Effects:  # noqa: ARG002 - the coordinator has told them
        return []

    def _reads_from(self, own: Leader) -> int:
        """What was ordered may have been told elsewhere already."""
        return super()._reads_from(own) if Pitfall.READ_BEHIND_ORDERS in self.planted else own.next

    # -- the coordinator ---------------------------------------------------------------------------------------------

    def _coordinate(self, src: int, said: Order, now_ns: int) -> Effects:
        """The leader's vote, with which it comes, is counted; so is this node's own. An order of one who leads no more
        is not for this node to carry out."""
        effects = self._yield_to(said.ballot, now_ns)
        ballot, slot = said.ballot, said.slot
        if Pitfall.STALE_DELEGATION in self.planted:
            ballot = self.term
        if ballot < self.term:
            return effects + self._tell(src, Message(multi_paxos.Step.REJECT, ballot, (self.term,)), now_ns)
        if slot < self.slot:
            return effects + self._report(src, Done(ballot, slot), now_ns)
        self.coordinated = {
            place: one for place, one in self.coordinated.items() if place >= self.slot and one.ballot == ballot
        }
        self.coordinated.setdefault(slot, Coordination(ballot))
        accept = Message(multi_paxos.Step.ACCEPT, ballot, (slot, said.chosen), said.entry)
        effects += self._tell_others(accept, {src, *self.coordinated[slot].voters}, now_ns)
        if src != self.config.node:
            effects += self._count(src, slot, self.coordinated[slot], now_ns)
        return effects + self._handle(self.config.node, accept, now_ns)

    def _report(self, node: int, done: Done, now_ns: int) -> Effects:
        if node == self.config.node:
            return self._done_in(done, now_ns)
        return [self.send(node, done.ballot, Step.DONE, done.body())]

    def _count(self, voter: int, slot: int, one: Coordination, now_ns: int) -> Effects:
        if voter not in one.voters or Pitfall.VOTE_COUNTED_TWICE in self.planted:
            one.voters.append(voter)
        if len(one.voters) < self.quorum:
            return []
        del self.coordinated[slot]
        done = Done(one.ballot, slot)
        return [effect for node in (*self.ports, self.config.node) for effect in self._report(node, done, now_ns)]

    # -- the learner -------------------------------------------------------------------------------------------------

    def _done_in(self, said: Done, now_ns: int) -> Effects:
        """The slot's entry was chosen in this ballot, so that a vote in it or a later one is for what was chosen."""
        effects = self._yield_to(said.ballot, now_ns)
        own = self.own
        if own is not None and own.ballot == said.ballot and said.slot in own.open:
            del own.open[said.slot]
            own.chosen.add(said.slot)
            return effects + self._choose(own, now_ns)
        vote = self.acceptor.votes.get(said.slot, Vote(0, b""))
        if said.slot >= self.slot and vote.ballot >= (1 if Pitfall.DONE_FITS_ANY_VOTE in self.planted else said.ballot):
            self.certain.add(said.slot)
        return effects + self._go_on(now_ns)
