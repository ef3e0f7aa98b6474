"""Raft on one node (Ongaro, Ousterhout 2014; Ongaro's thesis, 2014). See notes.md."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from testbed.nodes import frames
from testbed.nodes.consensus.changes import Change
from testbed.nodes.consensus.logs import NOOP, LogMachine, Vows, own_entry, read_base
from testbed.nodes.consensus.raft.entries import Entries, Entry, Spot
from testbed.nodes.consensus.raft.messages import (
    Append,
    Appended,
    AskVote,
    Campaign,
    Said,
    Snapshot,
    Vote,
    message,
    pack_entry,
    pack_members,
    read,
    read_entries,
    read_members,
)
from testbed.nodes.consensus.raft.pitfalls import Pitfall
from testbed.nodes.consensus.raft.progress import Mode, Progress
from testbed.nodes.consensus.raft.quorums import Membership, Poll
from testbed.nodes.core import CancelTimer, Effects, Note, Persist, Send, SetTimer
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.inputs import draw

PATIENCE = 5  # heartbeats that may stay away before a follower asks to be leader
BATCH = 64  # entries in one message, at most

_ELECTION, _BEAT = "election", "beat"


class Role(StrEnum):
    """What a node is in its term."""

    FOLLOWER = "follower"
    ASKING = "asking"  # would it be elected?
    CANDIDATE = "candidate"
    LEADER = "leader"


class Transfer(NamedTuple):
    """From ``at_ns`` on, ``to`` is to lead, once."""

    at_ns: int
    to: int


class Plans(NamedTuple):
    """What whoever leads is to do at its time, in this order. voters: who votes at first."""

    voters: tuple[int, ...]
    changes: tuple[Change, ...] = ()
    transfers: tuple[Transfer, ...] = ()


class Asked(NamedTuple):
    """A read that waits for a majority to say, in answer to ``probe`` or a later one, that this node still leads. at:
    what was committed when it came."""

    probe: int
    at: int
    reader: int
    ticket: bytes


@dataclass(slots=True)
class Reign:
    """What a leader knows. peers: of every other member, voter or not. early: reads that came before it knew what is
    committed. leaving_ns: since when it has been making way for another."""

    peers: dict[int, Progress]
    probe: int = 0
    reads: list[Asked] = field(default_factory=list)
    early: list[tuple[int, bytes]] = field(default_factory=list)
    leaving_ns: int | None = None
    told: bool = False
    tried_ns: int = -(1 << 62)

    def counting(self) -> list[tuple[int, Progress]]:
        """The others whose word counts."""
        return [(node, peer) for node, peer in self.peers.items() if not peer.learns]


class RaftMachine(LogMachine):
    """Raft (testbed.nodes.core.Log) with every member as a replica, and those of the latest membership in its log as
    voters.

    Logs count from 1: slot s of the frame is the entry s + 1. A follower that has heard no leader for ``patience``
    retry_ns, and up to as much again (drawn of node, term and attempt), asks to be elected. A leader says something to
    everybody every retry_ns.
    """

    def __init__(
        self,
        config: NodeConfig,
        pitfalls: Collection[Pitfall] = (),
        patience: int = PATIENCE,
        batch: int = BATCH,
        plans: Plans | None = None,
    ) -> None:
        super().__init__(config, patience)
        self.pitfalls = frozenset(pitfalls)
        self.patience_ns = patience * config.protocol.retry_ns
        self.batch = batch
        self.plans = plans or Plans(config.members)
        self.voted: int | None = None
        self.role = Role.FOLLOWER
        self.leads: int | None = None  # whom this node takes for the leader
        self.heard_ns = 0  # the leader, or a candidate that it voted for; or when it asked itself
        self.attempt = 0  # how often it has asked since
        self.votes: dict[int, bool] = {}
        self.sent_for = False  # it asks because the leader told it to
        self.entries = Entries()
        self.members = [(0, Membership(0, tuple(sorted(self.plans.voters))))]  # where each stands, up to the latest
        self.committed = 0
        self.reign: Reign | None = None
        self.transferred = 0  # of plans.transfers, those that have been seen to be done

    # -- the frame -----------------------------------------------------------------------------------------------------

    def begin(self, now_ns: int) -> Effects:
        """As a follower of nobody."""
        self.heard_ns = now_ns
        return [SetTimer(_ELECTION, self._election_ns())]

    def resume(self, now_ns: int) -> Effects:
        """As a follower of nobody."""
        return self.begin(now_ns)

    def leader(self) -> int | None:
        """One that makes way takes nothing on."""
        return None if self.reign is not None and self.reign.leaving_ns is not None else self.leads

    def vows(self) -> Vows:
        """The term and the vote in it; of what the base stands for the last term and the membership."""
        base = self.entries.base
        return (self.term, self.voted, self.learns_only, *base, *self.members[0][1])

    def known(self, slot: int) -> bytes | None:
        """The entry."""
        entry = self.entries.entry(slot + 1)
        return None if entry is None else pack_entry(entry)

    def recall(self, vows: Vows, slots: Mapping[int, bytes]) -> None:
        """The inverse of both."""
        self.term, self.voted, self.learns_only, at, term, number, voters, before = vows
        self.entries.base = Spot(at, term)
        self.committed = at
        self.members = [(at, Membership(number, tuple(voters), tuple(before)))]
        for data in slots.values():
            for entry in read_entries(data) or ():
                self._note_members(self.entries.append(entry), entry)

    def forget(self) -> Iterable[int]:
        """The base stands for entries that this log has; where it came from elsewhere, there is nothing to forget."""
        first, at = self.entries.base.at, self.base.slot
        if at <= first or self.entries.term(at) is None:
            return ()
        self.entries.forget(at)
        self._settle_members(at)
        return range(first, at)

    def append(self, entry: bytes, now_ns: int) -> Effects:
        """As leader: into the log, and to everybody who keeps up."""
        reign = self._reign()
        at = self.entries.append(Entry(self.term, entry))
        self.touched.add(at - 1)
        self._note_members(at, self.entries.kept[-1])
        effects: Effects = []
        for node, peer in reign.peers.items():
            if peer.mode is Mode.STREAMING:
                effects.append(self._feed(node, peer))
        return effects + self._advance(now_ns)

    def confirm(self, reader: int, ticket: bytes, mode: str, now_ns: int) -> Effects:  # noqa: ARG002 - only the index
        """Read index (thesis, section 6.4): what is committed when it comes, once a majority has said that this node
        still leads. A leader knows what is committed when an entry of its own term is."""
        reign = self._reign()
        if self._knows_commit():
            return self._confirm([(reader, ticket)], now_ns)
        reign.early.append((reader, ticket))
        return []

    def receive(self, src: int, heard: frames.Message, now_ns: int) -> Effects:
        """Another member said something."""
        said, term = read(heard), heard.round
        match said:
            case AskVote():
                return self._asked_to_vote(src, term, said, now_ns)
            case Vote():
                return self._heard_vote(src, term, said, now_ns)
            case Append() | Snapshot():
                return self._led(src, term, said, now_ns)
            case Appended():
                return self._heard_back(src, term, said, now_ns)
            case Campaign():
                return self._told_to(src, term, now_ns)
        return [Note("stray", term, "no message of Raft", heard)]

    def expire(self, name: str, now_ns: int) -> Effects:
        """``election``: nobody has been heard for long. ``beat``: a leader speaks, who asks does so again."""
        if name == _ELECTION:
            return self._impatient(now_ns)
        if name != _BEAT or self.role is Role.FOLLOWER:
            return []
        again = SetTimer(_BEAT, now_ns + self.config.protocol.retry_ns)
        return [again, *(self._beat(now_ns) if self.role is Role.LEADER else self._ask())]

    def _done(self, effects: Effects, now_ns: int) -> Effects:
        done = super()._done(effects, now_ns)
        if Pitfall.VOTE_NOT_KEPT in self.pitfalls:
            done.sort(key=lambda effect: isinstance(effect, Persist))
        return done

    # -- elections (section 3.4; PreVote 9.6, CheckQuorum 6.2) ---------------------------------------------------------

    @property
    def counts(self) -> bool:
        """Whether this node's word counts: no earlier life has said what it does not know of."""
        return not self.learns_only or Pitfall.FRESH_LIFE_VOTES in self.pitfalls

    @property
    def membership(self) -> Membership:
        """The latest in the log, committed or not."""
        return self.members[-1][1]

    def _quorum(self) -> Membership:
        """Who must agree."""
        latest = self.membership
        return latest.united() if Pitfall.JOINT_COUNTS_UNION in self.pitfalls else latest

    def _election_ns(self) -> int:
        """When this node asks to be elected, if it hears nobody."""
        own = self.config
        drawn = draw(own.protocol.seed, "raft election", own.node, self.term, self.attempt) % self.patience_ns
        return self.heard_ns + self.patience_ns + drawn

    def _impatient(self, now_ns: int) -> Effects:
        due_ns = self._election_ns()
        if self.role is Role.LEADER:
            return []
        if now_ns < due_ns:
            return [SetTimer(_ELECTION, due_ns)]
        if not self.counts or self.config.node not in self.membership.everyone:
            self.leads, self.heard_ns = None, now_ns
            return [SetTimer(_ELECTION, self._election_ns())]
        role = Role.CANDIDATE if Pitfall.NO_PREVOTE in self.pitfalls else Role.ASKING
        return self._campaign(role, now_ns)

    def _campaign(self, role: Role, now_ns: int, told: bool = False) -> Effects:
        """Ask whether this node would be elected, or to elect it."""
        self.role, self.leads, self.sent_for, self.heard_ns = role, None, told, now_ns
        self.attempt += 1
        if role is Role.CANDIDATE:
            self.term += 1
            self.voted = self.config.node
        self.votes = {self.config.node: True}
        timers: Effects = [
            SetTimer(_ELECTION, self._election_ns()),
            SetTimer(_BEAT, now_ns + self.config.protocol.retry_ns),
        ]
        return [*timers, *self._ask(), *self._count(now_ns)]

    def _ask(self) -> Effects:
        """Those that have not answered."""
        pre = self.role is Role.ASKING
        ask = AskVote(self.entries.last, pre, self.sent_for)
        waited_for = [node for node in self.membership.everyone if node in self.ports and node not in self.votes]
        return [self._say(node, ask, self.term + pre) for node in waited_for]

    def _count(self, now_ns: int) -> Effects:
        stands = self._quorum().poll(self.votes)
        if stands is Poll.WON:
            return self._campaign(Role.CANDIDATE, now_ns) if self.role is Role.ASKING else self._lead(now_ns)
        return self._turn_follower(self.term, None, now_ns) if stands is Poll.LOST else []

    def _asked_to_vote(self, src: int, term: int, said: AskVote, now_ns: int) -> Effects:
        if not self.counts:
            return [Note("absent", term, "an earlier life may have voted already")]
        if self._is_led(now_ns) and not said.told:
            return []  # while a leader is heard, nobody else is elected, and no term begins
        last = self.entries.last
        newer = (said.last.term, said.last.at) >= (last.term, last.at) or Pitfall.ANY_LOG in self.pitfalls
        if said.pre:
            granted = term > self.term and newer
            return [self._say(src, Vote(granted, pre=True), term if granted else self.term)]
        effects = self._turn_follower(term, None, now_ns) if term > self.term else []
        granted = term == self.term and self.voted in (None, src) and newer
        if granted:
            self.voted, self.heard_ns = src, now_ns
        return [*effects, self._say(src, Vote(granted))]

    def _is_led(self, now_ns: int) -> bool:
        return self.role is Role.LEADER or (self.leads is not None and now_ns < self.heard_ns + self.patience_ns)

    def _heard_vote(self, src: int, term: int, said: Vote, now_ns: int) -> Effects:
        if term > self.term and not (said.pre and said.granted):
            return self._turn_follower(term, None, now_ns)
        asks = self.role is Role.ASKING and (term == self.term + 1 if said.granted else term == self.term)
        elects = self.role is Role.CANDIDATE and term == self.term
        if asks if said.pre else elects:
            self.votes[src] = said.granted
            return self._count(now_ns)
        return []  # the answer to what was asked before

    def _told_to(self, src: int, term: int, now_ns: int) -> Effects:
        """The leader makes way for this node: no need to ask whether anybody hears it (section 3.10)."""
        may = self.counts and self.config.node in self.membership.everyone
        if term != self.term or src != self.leads or self.role is not Role.FOLLOWER or not may:
            return []
        return self._campaign(Role.CANDIDATE, now_ns, told=True)

    def _turn_follower(self, term: int, leader: int | None, now_ns: int) -> Effects:
        """In ``term``, whoever leads in it: as one that this node has heard now, or of nobody known."""
        effects: Effects = []
        if self.role is not Role.FOLLOWER:
            effects.append(CancelTimer(_BEAT))
        if self.role is Role.LEADER:
            self.heard_ns = now_ns
            effects.append(SetTimer(_ELECTION, self._election_ns()))
        if term > self.term:
            self.term, self.voted, self.attempt = term, None, 0
        self.role, self.leads, self.reign = Role.FOLLOWER, leader, None
        if leader is not None:
            self.heard_ns, self.attempt = now_ns, 0
            self._see_transfer(leader, now_ns)
        return effects

    # -- following (section 3.5) ---------------------------------------------------------------------------------------

    def _led(self, src: int, term: int, said: Append | Snapshot, now_ns: int) -> Effects:
        """A leader spoke. One of an earlier term is told that it leads no more."""
        if term < self.term or self.role is Role.LEADER:
            return [self._say(src, Appended(False, 0, 0, said.probe, not self.counts))] if term < self.term else []
        effects = self._turn_follower(term, src, now_ns)
        took = self._take_entries(said, now_ns) if isinstance(said, Append) else self._take_snapshot(said)
        if took is None:
            assert isinstance(said, Append)
            hint = self.entries.agrees_until(said.after)
            answer = Appended(False, said.after.at, hint, said.probe, not self.counts)
            return [*effects, self._say(src, answer)]
        at, more = took
        return [*effects, *more, self._say(src, Appended(True, at, at, said.probe, not self.counts))]

    def _take_entries(self, said: Append, now_ns: int) -> tuple[int, Effects] | None:
        """Up to where this log is now the leader's, and what comes of that; None: it does not hold that spot."""
        if not self.entries.holds(said.after):
            return None
        last = self.entries.last.at
        truncates = Pitfall.TRUNCATES_COMMITTED in self.pitfalls
        changed = self.entries.accept(said.after, said.entries, truncates)
        if changed is not None:
            self._changed(changed, last)
        at = said.after.at + len(said.entries)
        known = self.entries.last.at if Pitfall.COMMITS_UNVERIFIED in self.pitfalls else at
        return at, self._commit(min(said.commit, known), now_ns)

    def _changed(self, first: int, last: int) -> None:
        """Entries from ``first`` on are others now; the log ended at ``last``."""
        self.touched |= set(range(first - 1, max(last, self.entries.last.at)))
        self.members = [one for one in self.members if one[0] < first or one == self.members[0]]
        for at in range(first, self.entries.last.at + 1):
            entry = self.entries.entry(at)
            if entry is not None:
                self._note_members(at, entry)

    def _take_snapshot(self, said: Snapshot) -> tuple[int, Effects]:
        base = read_base(said.state)
        if said.spot.at <= self.committed or base is None or base.slot != said.spot.at:
            return self.committed, []
        first, last = self.entries.base.at, self.entries.last.at
        kept = self.entries.take_on(said.spot, Pitfall.SNAPSHOT_LOSES_TAIL in self.pitfalls)
        behind = [one for one in self.members if one[0] > said.spot.at] if kept else []
        self.members = [(said.spot.at, said.members), *behind]
        self.touched |= set(range(first, min(said.spot.at, last) if kept else last))
        self.committed = said.spot.at
        return said.spot.at, self.take_on(said.state)

    # -- leading -------------------------------------------------------------------------------------------------------

    def _reign(self) -> Reign:
        assert self.reign is not None, "only a leader is asked this"
        return self.reign

    def _lead(self, now_ns: int) -> Effects:
        """Elected. The first entry of a term is empty: when it is committed, so is all before it, and that is known."""
        following = self.entries.last.at + 1
        peers = {node: Progress(following, now_ns) for node in self.ports}
        self.role, self.leads, self.reign = Role.LEADER, self.config.node, Reign(peers)
        self._see_transfer(self.config.node, now_ns)
        effects = self.append(NOOP, now_ns)
        for node, peer in peers.items():
            effects.append(self._feed(node, peer))
        beat = SetTimer(_BEAT, now_ns + self.config.protocol.retry_ns)
        return [CancelTimer(_ELECTION), beat, *effects]

    def _feed(self, node: int, peer: Progress) -> Send:
        """What it lacks, or a heartbeat."""
        reign, base = self._reign(), self.entries.base
        if peer.next <= base.at or peer.mode is Mode.LACKING:
            peer.lacks(base.at)
            snapshot = Snapshot(base, self.members[0][1], reign.probe, self.base.pack())
            return self._say(node, snapshot)
        after = Spot(peer.next - 1, self.entries.term(peer.next - 1) or 0)
        batch = tuple(self.entries.since(after.at, self.batch))
        peer.sent(after.at + len(batch))
        return self._say(node, Append(after, self.committed, reign.probe, batch))

    def _beat(self, now_ns: int) -> Effects:
        """Everybody is told something; a leader that hears no majority is none (CheckQuorum)."""
        reign = self._reign()
        heard = {node: peer.heard_ns > now_ns - self.patience_ns for node, peer in reign.counting()}
        hears = self._quorum().poll(heard | {self.config.node: True}) is Poll.WON
        if not hears and Pitfall.PREVOTE_ONLY not in self.pitfalls:
            return self._turn_follower(self.term, None, now_ns)
        for peer in reign.peers.values():
            peer.beat()
        effects: Effects = []
        for node, peer in reign.peers.items():
            silent = peer.heard_ns <= now_ns - self.patience_ns
            effects.append(self._knock(node, peer) if silent else self._feed(node, peer))
        return [*effects, *self._begin_plans(now_ns)]

    def _knock(self, node: int, peer: Progress) -> Send:
        """It has been silent for long, and may be down: nothing long is said to it."""
        at = max(peer.next - 1, self.entries.base.at)
        after = Spot(at, self.entries.term(at) or 0)
        return self._say(node, Append(after, self.committed, self._reign().probe))

    def _heard_back(self, src: int, term: int, said: Appended, now_ns: int) -> Effects:
        if term > self.term:
            return self._turn_follower(term, None, now_ns)
        reign = self.reign
        if reign is None or term < self.term or said.at > self.entries.last.at or said.probe > reign.probe:
            return []
        peer = reign.peers[src]
        peer.heard_ns, peer.probe, peer.learns = now_ns, max(peer.probe, said.probe), said.learns
        effects: Effects = []
        if not said.held:
            if peer.refuses(said.at, said.hint):
                effects.append(self._feed(src, peer))
        else:
            peer.has(said.at)
            effects += self._advance(now_ns)
            if self.reign is reign and peer.mode is Mode.STREAMING and peer.next <= self.entries.last.at:
                effects.append(self._feed(src, peer))
        return [*effects, *self._confirmed(), *self._make_way()]

    def _advance(self, now_ns: int) -> Effects:
        """What a majority has is committed, if it is of this term: one of an earlier term that a majority has may yet
        be replaced (section 3.6.2, figure 3.7)."""
        reign = self._reign()
        acked = {node: peer.match for node, peer in reign.counting()}
        at = self._quorum().acknowledged(acked | {self.config.node: self.entries.last.at})
        if at <= self.committed or (self.entries.term(at) != self.term and Pitfall.FIGURE_8 not in self.pitfalls):
            return []
        effects = self._commit(at, now_ns)
        if self.reign is reign:
            streaming = [(node, peer) for node, peer in reign.peers.items() if peer.mode is Mode.STREAMING]
            effects += [self._feed(node, peer) for node, peer in streaming]
        return effects

    def _commit(self, at: int, now_ns: int) -> Effects:
        """Entries up to there are committed: tell them; as leader, go on with what waits for that."""
        self.committed = max(self.committed, at)
        effects: Effects = []
        while self.slot < self.committed and (entry := self.entries.entry(self.slot + 1)) is not None:
            effects += self.tell(entry.data, entry.term)
        if self.reign is None:
            return effects
        if self.reign.early and self._knows_commit():
            early, self.reign.early = self.reign.early, []
            effects += self._confirm(early, now_ns)
        return effects + self._go_on_changing(now_ns)

    # -- reads (section 6.4) -------------------------------------------------------------------------------------------

    def _knows_commit(self) -> bool:
        return self.entries.term(self.committed) == self.term or Pitfall.READ_BEFORE_OWN_TERM in self.pitfalls

    def _confirm(self, reads: list[tuple[int, bytes]], now_ns: int) -> Effects:  # noqa: ARG002
        """Ask everybody whether this node still leads."""
        reign = self._reign()
        reign.probe += 1
        reign.reads += [Asked(reign.probe, self.committed, reader, ticket) for reader, ticket in reads]
        asks = [self._feed(node, peer) for node, peer in reign.peers.items() if peer.mode is not Mode.LACKING]
        return [*asks, *self._confirmed()]

    def _confirmed(self) -> Effects:
        """The reads that a majority has confirmed."""
        reign = self.reign
        if reign is None or not reign.reads:
            return []
        probes = {node: peer.probe for node, peer in reign.counting()}
        until = self._quorum().acknowledged(probes | {self.config.node: reign.probe})
        if Pitfall.READ_WITHOUT_QUORUM in self.pitfalls:
            until = reign.probe
        ready = [one for one in reign.reads if one.probe <= until]
        reign.reads = [one for one in reign.reads if one.probe > until]
        return [effect for one in ready for effect in self.answer_read(one.reader, one.ticket, one.at)]

    # -- members (section 4.3) -----------------------------------------------------------------------------------------

    def _note_members(self, at: int, entry: Entry) -> None:
        """A membership counts from when it is in the log."""
        members = read_members(entry.data[len(NOOP) :]) if entry.data.startswith(NOOP) and entry.data != NOOP else None
        if members is not None:
            self.members.append((at, members))

    def _settle_members(self, at: int) -> None:
        """Those before ``at`` are forgotten but for the one that counts there."""
        behind = [one for one in self.members if one[0] > at]
        self.members = [(at, self.members[len(self.members) - len(behind) - 1][1]), *behind]

    def _go_on_changing(self, now_ns: int) -> Effects:
        """A joint membership that is committed is followed by the new one alone; a leader that is not in that steps
        down when it is committed."""
        at, members = self.members[-1]
        if at > self.committed:
            return []
        if members.is_joint:
            return self.append(own_entry(pack_members(members.settled())), now_ns)
        return self._turn_follower(self.term, None, now_ns) if self.config.node not in members.voters else []

    def _begin_plans(self, now_ns: int) -> Effects:
        """What is due of the plans, one thing at a time."""
        at, members = self.members[-1]
        if at > self.committed or members.is_joint or not self._knows_commit():
            return []
        changes = self.plans.changes
        if members.number < len(changes) and changes[members.number].at_ns <= now_ns:
            joint = members.joint(changes[members.number].voters)
            return self.append(own_entry(pack_members(joint)), now_ns)
        return self._begin_transfer(now_ns)

    # -- transfer of leadership (section 3.10) -------------------------------------------------------------------------

    def _begin_transfer(self, now_ns: int) -> Effects:
        """Make way for whom the plans name, if it is heard; not for longer than an election may take."""
        reign, due = self._reign(), self.plans.transfers[self.transferred :][:1]
        if reign.leaving_ns is not None:
            if now_ns >= reign.leaving_ns + self.patience_ns:
                reign.leaving_ns, reign.told = None, False
            return []
        if not due or now_ns < due[0].at_ns or now_ns < reign.tried_ns + 4 * self.patience_ns:
            return []
        peer = reign.peers.get(due[0].to)
        if peer is None or peer.learns or due[0].to not in self.membership.voters:
            return []
        if peer.heard_ns <= now_ns - self.patience_ns:
            return []
        reign.leaving_ns = reign.tried_ns = now_ns
        return self._make_way()

    def _make_way(self) -> Effects:
        """Whom this node makes way for has all entries: it is told to campaign."""
        reign = self.reign
        if reign is None or reign.leaving_ns is None or reign.told:
            return []
        to = self.plans.transfers[self.transferred].to
        if reign.peers[to].match < self.entries.last.at:
            return []
        reign.told = True
        return [self._say(to, Campaign())]

    def _see_transfer(self, leader: int, now_ns: int) -> None:
        """A transfer is done when its node leads, for whatever reason."""
        due = self.plans.transfers[self.transferred :][:1]
        if due and due[0].at_ns <= now_ns and due[0].to == leader:
            self.transferred += 1

    # -- help ----------------------------------------------------------------------------------------------------------

    def _say(self, node: int, said: Said, term: int | None = None) -> Send:
        return Send(self.ports[node], message(self.term if term is None else term, said))
