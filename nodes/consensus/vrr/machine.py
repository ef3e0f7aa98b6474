"""Viewstamped Replication Revisited on one node (Liskov, Cowling 2012). See notes.md."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from testbed.nodes import frames
from testbed.nodes.consensus.logs import VolatileLog
from testbed.nodes.consensus.vrr.epochs import Epochs, epoch_entry, epoch_in, epoch_of, over, view_of
from testbed.nodes.consensus.vrr.messages import (
    Commit,
    DoViewChange,
    EndEpoch,
    EpochStarted,
    GetState,
    Lives,
    NewState,
    Prepare,
    PrepareOk,
    Recovery,
    RecoveryResponse,
    Said,
    StartView,
    StartViewChange,
    State,
    message,
    read,
)
from testbed.nodes.consensus.vrr.oplog import Entry, OpLog
from testbed.nodes.consensus.vrr.pitfalls import Pitfall
from testbed.nodes.core import CancelTimer, Effects, Note, Send, SetTimer
from testbed.nodes.core.config import NodeConfig

PATIENCE = 4  # heartbeats that may stay away before a backup asks for the next view

_VIEW, _BEAT, _EPOCH = "view", "beat", "epoch"
_FIRST = 1  # term
_MOST_DOUBLINGS = 16
_FURTHEST = 1 << 20  # slots ahead of the log for which an entry is put aside


class Status(StrEnum):
    """What a node does in its view."""

    NORMAL = "normal"
    CHANGING = "changing"  # it has left the view before, and this one has not begun here
    RECOVERING = "recovering"  # it knows of no view yet, and has no part in anything
    ENDED = "ended"  # its epoch is over, and the next has not begun here


class Vote(NamedTuple):
    """A member's word for a new view: the latest one that it took part in, and its log."""

    normal: int
    state: State


class Asked(NamedTuple):
    """A read that waits for a quorum to answer ``probe`` or a later one. slot: from where on it may be answered."""

    probe: int
    slot: int
    reader: int
    ticket: bytes


@dataclass(slots=True)
class Reign:
    """What a primary knows of its backups. first: the slot behind those that it began with. grace: heartbeats that it
    leads on without a quorum's answers. prepared: up to where each has the log. probes: the latest heartbeat that each
    has answered."""

    first: int
    grace: int
    probe: int = 0
    prepared: dict[int, int] = field(default_factory=dict)
    probes: dict[int, int] = field(default_factory=dict)
    beats: int = 0
    heard: dict[int, int] = field(default_factory=dict)  # in which beat each said something last
    reads: list[Asked] = field(default_factory=list)


class VrrMachine(VolatileLog):
    """One log (testbed.nodes.core.Log), and nothing of it on a disk.

    The term is a view of an epoch (epochs.py), whose primary is the next voter in turn. Members that do not vote in an
    epoch get its log as well. A backup that does not hear it for ``patience``
    retry_ns asks for the next view, and all who hear that leave theirs. A later life takes part again when a quorum
    of those that do have answered it, the primary of the latest view among them. So no more than a minority may be
    down, or on their way back, at a time.

    lives: of each member, by rank, the latest life that is known of. What a member says for a view, or to one that
    recovers, counts only as long as none of those whose word counts with it knows of a later life of that member
    (crash-consistent quorums).
    """

    def __init__(
        self,
        config: NodeConfig,
        pitfalls: Collection[Pitfall] = (),
        patience: int = PATIENCE,
        epochs: Epochs | None = None,
    ) -> None:
        super().__init__(config, patience)
        self.pitfalls = frozenset(pitfalls)
        self.patience = patience
        self.epochs = epochs or Epochs(config.members)
        self.lives = [0] * config.n
        self.lives[self.rank] = config.epoch
        self.status = Status.NORMAL
        self.term = self.normal = _FIRST  # normal: the latest view that this node took part in
        self.entries = OpLog()
        self.ahead: dict[int, Entry] = {}  # entries of this view that came before those in front of them
        self.reign: Reign | None = None
        self.beats = 0  # heartbeats that were heard in this view
        self.lasted = self.term  # the latest view that went on for as long as anybody waits
        self.joining = False  # the view has begun elsewhere: its log is on its way
        self.leaving: set[int] = set()  # the others of whom this node knows that they are with it in the change
        self.votes: dict[int, Vote] = {}
        self.voted = False
        self.answers: dict[int, tuple[int, RecoveryResponse]] = {}  # to one that recovers: the term, what was said
        self.ended: set[int] = set()  # voters of the epoch before ``ending`` of whom this node knows that it is over
        self.ending = 0  # the epoch that is to begin
        self.ends_at = 0  # the slots below belong to the epochs before it
        self.tells = False  # this node has a vote in the one before: it tells all that it is over
        self.started: set[int] = set()  # voters of ``ending`` of whom this node knows that it has begun

    # -- the frame -----------------------------------------------------------------------------------------------------

    def begin(self, now_ns: int) -> Effects:
        """First lives take part in the first view, others ask for what is going on."""
        if self.config.epoch > 1:
            self.status = Status.RECOVERING
            self.term = self.normal = 0
            return [self._await_beat(now_ns), *self._tell_all(Recovery(self.config.epoch, tuple(self.lives)))]
        return self._lead_or_follow(now_ns)

    def leader(self) -> int | None:
        """The primary of a view that has begun here. One that ends the epoch takes nothing on."""
        if self.status is not Status.NORMAL or (self.reign is not None and self._closes()):
            return None
        return self.epochs.primary(self.term)

    @property
    def takes_part(self) -> bool:
        """Whether this life has a part in the protocol: it has recovered, or need not."""
        return self.status is not Status.RECOVERING

    def forget(self) -> Iterable[int]:
        """The base stands for entries, of which this log may have some."""
        return self.entries.forget(self.base.slot)

    def append(self, entry: bytes, now_ns: int) -> Effects:
        """As primary: into the next slot, and to all."""
        one = Entry(self.term, entry)
        self.entries.append(one)
        return [*self._tell_all(Prepare(self.entries.end - 1, self.slot, one)), *self._advance(now_ns)]

    def confirm(self, reader: int, ticket: bytes, mode: str, now_ns: int) -> Effects:  # noqa: ARG002 - only the index
        """As primary: by a heartbeat out of turn, which only those answer who take part in this view."""
        reign = self._reign()
        first = 0 if Pitfall.READ_BEFORE_FIRST in self.pitfalls else reign.first
        slot = max(self.slot, first)
        if Pitfall.READ_UNCONFIRMED in self.pitfalls:
            return self.answer_read(reader, ticket, slot)
        reign.reads.append(Asked(reign.probe + 1, slot, reader, ticket))
        return [*self._probe(reign), *self._confirmed(reign)]

    def receive(self, src: int, heard: frames.Message, now_ns: int) -> Effects:
        """Another member said something."""
        said, term = read(heard), heard.round
        if said is None or not self.epochs.has(term):
            return [Note("stray", term, "no message of Viewstamped Replication", heard)]
        if self.status is Status.RECOVERING:
            return self._heard_recovering(src, term, said, now_ns)
        match said:
            case Prepare() | Commit():
                return self._led(src, term, said, now_ns)
            case PrepareOk():
                return self._prepared(src, term, said, now_ns)
            case StartViewChange() | DoViewChange():
                return self._leave(src, term, said, now_ns)
            case StartView(state) | NewState(state) if view_of(term):
                return self._take_log(src, term, state, now_ns)
            case StartView(state) | NewState(state):
                return self._take_decided(epoch_of(term), state, now_ns)
            case GetState(after):
                return self._asked_for_log(src, term, after)
            case Recovery():
                return self._recover(src, said)
            case RecoveryResponse():
                return []  # to an earlier question, or life
            case EndEpoch():
                return self._epoch_over(src, epoch_of(term), said, now_ns)
            case EpochStarted():
                return self._epoch_started(src, epoch_of(term))

    def expire(self, name: str, now_ns: int) -> Effects:
        """``view``: the primary, or the change of view, is waited for no longer. ``beat``, ``epoch``: say it again."""
        if name == _VIEW:
            return self._impatient(now_ns)
        if name == _EPOCH:
            return self._tell_end(now_ns)
        if name != _BEAT:
            return []
        match self.status:
            case Status.RECOVERING:
                return [self._await_beat(now_ns), *self._tell_all(Recovery(self.config.epoch, tuple(self.lives)))]
            case Status.CHANGING:
                return [self._await_beat(now_ns), *self._ask_to_leave(), *self._say_vote()]
            case Status.NORMAL | Status.ENDED:
                return self._beat(now_ns)

    # -- normal operation (section 4.1) --------------------------------------------------------------------------------

    def _reign(self) -> Reign:
        assert self.reign is not None, "only a primary is asked this"
        return self.reign

    def _lead_or_follow(self, now_ns: int) -> Effects:
        """A view has begun with what is here."""
        if self.epochs.primary(self.term) != self.config.node:
            return [self._await_view(now_ns)]
        self.reign = Reign(self.entries.end, self.patience << self._doublings())
        return [CancelTimer(_VIEW), self._await_beat(now_ns)]

    def _led(self, src: int, term: int, said: Prepare | Commit, now_ns: int) -> Effects:
        """The primary speaks, of this view or of one that has begun without this node."""
        if src != self.epochs.primary(term) or term < self.term:
            return self._in_old_view(src, term, said)
        if term > self.term or self.status is Status.CHANGING:
            return self._join(term, isinstance(said, Commit) and said.probe > 0, now_ns)
        if isinstance(said, Commit):
            return self._count_beat(src, said, now_ns)
        took = self._put(said)
        effects = [self._await_view(now_ns), *self._decide(said.commit, now_ns)]
        if self.status is Status.ENDED:
            return effects
        return [*effects, self._say(src, PrepareOk(self.entries.end))] if took else effects

    def _count_beat(self, src: int, said: Commit, now_ns: int) -> Effects:
        """A heartbeat is answered; what did not come by then is asked for."""
        self.beats += said.probe > 0
        if self.beats >= self.patience:
            self.lasted = self.term
        effects = [self._await_view(now_ns), *self._decide(said.commit, now_ns)]
        if not said.probe or self.status is Status.ENDED:
            return effects
        if said.end > self.entries.end:
            effects.append(self._say(src, GetState(self.slot)))
        return [*effects, self._say(src, PrepareOk(self.entries.end, said.probe))]

    def _put(self, said: Prepare) -> bool:
        """An entry in its place; one that comes too early waits for those in front of it. Whether it is in the log."""
        if self.entries.end <= said.slot < self.entries.end + _FURTHEST:
            self.ahead[said.slot] = said.entry
        while self.entries.end in self.ahead:
            self.entries.append(self.ahead.pop(self.entries.end))
        return said.slot < self.entries.end

    def _in_old_view(self, src: int, term: int, said: Prepare | Commit) -> Effects:
        """Nothing is done in a view that this node has left."""
        if Pitfall.ACTS_IN_OLD_VIEW not in self.pitfalls or term != self.normal or not isinstance(said, Prepare):
            return []
        took = self._put(said)
        return [Send(self.ports[src], message(term, PrepareOk(self.entries.end)))] if took else []

    def _prepared(self, src: int, term: int, said: PrepareOk, now_ns: int) -> Effects:
        reign = self.reign
        if reign is None or term != self.term or said.end > self.entries.end or said.probe > reign.probe:
            return []
        if src not in self.epochs.voters(term):
            return []
        reign.heard[src] = reign.beats
        reign.prepared[src] = max(reign.prepared.get(src, 0), said.end)
        reign.probes[src] = max(reign.probes.get(src, 0), said.probe)
        return [*self._advance(now_ns), *self._confirmed(reign)]

    def _advance(self, now_ns: int) -> Effects:
        """What a quorum has in this view is decided. The others hear of it with the next entry, or now, if none is on
        its way."""
        reign, own = self._reign(), self.entries.end
        reached = self._reached(reign.prepared, own)
        if reached <= self.slot:
            return []
        effects = self._decide(reached, now_ns)
        still = self.reign is reign and self.slot == own
        return effects + (self._tell_all(Commit(own, self.slot)) if still else [])

    def _reached(self, others: dict[int, int], own: int) -> int:
        """The most that a quorum, this node among them, has reached."""
        voters = self.epochs.voters(self.term)
        reached = sorted((own if node == self.config.node else others.get(node, 0) for node in voters), reverse=True)
        return reached[len(voters) // 2]

    def _decide(self, below: int, now_ns: int) -> Effects:
        effects: Effects = []
        while self.slot < min(below, self.entries.end):
            entry = self.entries.at(self.slot)
            effects += self.tell(entry.data, view_of(entry.view))
            epoch = self._ends_with(entry)
            if epoch is not None:
                effects += self._end_epoch(epoch, now_ns)
        return effects + (self._try_to_start(now_ns) if self.status is Status.ENDED else [])

    def _beat(self, now_ns: int) -> Effects:
        """The primary's. One that no quorum answers asks for the next view: it may be heard without hearing."""
        reign = self.reign
        if reign is None:
            return []
        reign.beats += 1
        since = reign.beats - reign.grace
        heard = 1 + sum(beat >= since for beat in reign.heard.values())
        if since > 0 and heard < self.epochs.quorum(self.term):
            return self._change_to(self.term + 1, now_ns)
        if since > 0:
            self.lasted = self.term
        return [self._await_beat(now_ns), *self._probe(reign), *self._close(now_ns)]

    def _probe(self, reign: Reign) -> Effects:
        reign.probe += 1
        return self._tell_all(Commit(self.entries.end, self.slot, reign.probe))

    def _confirmed(self, reign: Reign) -> Effects:
        """The reads after which a quorum has said that it takes part in this view still."""
        if self.reign is not reign:
            return []
        until = self._reached(reign.probes, reign.probe)
        ready = [one for one in reign.reads if one.probe <= until]
        reign.reads = [one for one in reign.reads if one.probe > until]
        return [effect for one in ready for effect in self.answer_read(one.reader, one.ticket, one.slot)]

    # -- view changes (section 4.2) ------------------------------------------------------------------------------------

    def _impatient(self, now_ns: int) -> Effects:
        """The next view; but a view that too few have changed to is waited for: there is nothing wrong with it."""
        if self.status in (Status.RECOVERING, Status.ENDED) or self.reign is not None:
            return []
        few = len(self.leaving) + 1 < self.epochs.quorum(self.term)
        if not self._votes() or (self.status is Status.CHANGING and not self.joining and few):
            return [self._await_view(now_ns)]
        return self._change_to(self.term + 1, now_ns)

    def _votes(self) -> bool:
        return self.config.node in self.epochs.voters(self.term)

    def _change_to(self, term: int, now_ns: int) -> Effects:
        """Nothing more is done in the views before."""
        self._forget_view(term)
        self.status = Status.CHANGING
        return [self._await_view(now_ns), self._await_beat(now_ns), *self._ask_to_leave()]

    def _forget_view(self, term: int) -> None:
        """What was going on in the view before is over; entries that were put in order may come to nothing."""
        self.term, self.reign = term, None
        self.joining = self.voted = False
        self.beats = 0
        self.ahead.clear()
        self.leaving.clear()
        self.votes.clear()
        self.taken.clear()
        self.handed_to = None

    def _ask_to_leave(self) -> Effects:
        if self.joining:
            return []
        ask = StartViewChange(tuple(self.lives))
        return [self._say(node, ask) for node in self.epochs.voters(self.term) if node in self.ports]

    def _leave(self, src: int, term: int, said: StartViewChange | DoViewChange, now_ns: int) -> Effects:
        """Somebody has left its view for a later one: so does this node, if both have a vote there."""
        voters = self.epochs.voters(term)
        if not self._learn(src, said.lives) or term < self.term:
            return []
        if not view_of(term) or src not in voters or self.config.node not in voters:
            return []
        effects = self._change_to(term, now_ns) if term > self.term else []
        if self.reign is not None and isinstance(said, DoViewChange):  # it has missed that the view has begun
            return [*effects, self._say(src, StartView(self._state(said.state.commit)))]
        if self.status is not Status.CHANGING or self.joining:
            return effects
        self.leaving.add(src)
        if isinstance(said, DoViewChange):
            self.votes[src] = Vote(said.normal, said.state)
        if not self.voted and len(self.leaving) + 1 >= self.epochs.quorum(term):
            self.voted = True
            effects += self._say_vote()
        return [*effects, *self._try_to_begin(now_ns)]

    def _learn(self, src: int, lives: Lives) -> bool:
        """Takes in what ``src`` knows of lives. What was said in lives that are over by that is dropped; whether this
        was not."""
        rank = self.config.members.index(src)
        if len(lives) != self.config.n:
            return False
        if Pitfall.RECOVERY_AS_PUBLISHED in self.pitfalls:
            return True
        if lives[rank] < self.lives[rank]:
            return False
        for place, life in enumerate(lives):
            if life > self.lives[place]:
                self.lives[place] = life
                self._drop(self.config.members[place])
        return True

    def _drop(self, node: int) -> None:
        """What it has said for a view, or to one that recovers, was said in a life that is over."""
        self.leaving.discard(node)
        self.votes.pop(node, None)
        self.answers.pop(node, None)
        self.ended.discard(node)

    def _say_vote(self) -> Effects:
        """To the primary of the view; it counts its own with the others'."""
        primary = self.epochs.primary(self.term)
        if not self.voted or self.joining or primary is None or primary == self.config.node:
            return []
        return [self._say(primary, DoViewChange(self.normal, tuple(self.lives), self._state(0)))]

    def _try_to_begin(self, now_ns: int) -> Effects:
        """As the primary of the new view: with the log of who took part in the latest one, the longest of those. That
        one must have taken part in this epoch: others may not know what came before."""
        leads = self.epochs.primary(self.term) == self.config.node
        if not leads or not self.voted or len(self.votes) + 1 < self.epochs.quorum(self.term):
            return []
        votes = {**self.votes, self.config.node: Vote(self.normal, self._state(0))}
        best = max(votes.values(), key=self._worth)
        if epoch_of(best.normal) < epoch_of(self.term) and Pitfall.VIEW_BEFORE_EPOCH not in self.pitfalls:
            return []
        effects = self._replace(best.state)
        assert effects is not None, "a log that is sent in a vote lacks nothing"
        effects += [*self._enter(self.term), *self._lead_or_follow(now_ns)]
        effects += self._decide(max(vote.state.commit for vote in votes.values()), now_ns)
        if self.reign is None:
            return effects  # the epoch is over with that
        for node in self.ports:
            known = votes[node].state.commit if node in votes else self.slot
            effects.append(self._say(node, StartView(self._state(known))))
        return effects + self._advance(now_ns)

    def _worth(self, vote: Vote) -> tuple[int, int]:
        """What a view begins with: the log of the latest view; of one view's logs the longest holds all others."""
        return (0 if Pitfall.LONGEST_LOG in self.pitfalls else vote.normal), vote.state.end

    # -- logs that come from elsewhere (sections 4.2, 5.2) -------------------------------------------------------------

    def _state(self, after: int) -> State:
        """This log from ``after`` on, or all that there is of it and the base."""
        if after < self.entries.first:
            return State(self.entries.first, self.slot, self.entries.since(self.entries.first), self.base_data or b"")
        after = min(after, self.entries.end)
        return State(after, self.slot, self.entries.since(after))

    def _replace(self, state: State) -> Effects | None:
        """That log in place of this one, of which what is decided stays; None: entries between the two are missing."""
        effects = self.take_on(state.base) if state.base else []
        if state.after > self.slot:
            return None
        keeps_tail = Pitfall.TRANSFER_KEEPS_TAIL in self.pitfalls
        since = max(self.slot, self.entries.end) if keeps_tail else self.slot
        self.entries.replace(since, state.entries[since - state.after :])
        return effects

    def _asked_for_log(self, src: int, term: int, after: int) -> Effects:
        """By a backup of this view; or by one that does not know all that was decided in an epoch that is over."""
        if self.reign is not None and term == self.term:
            return [self._say(src, NewState(self._state(after)))]
        if view_of(term) or epoch_of(term) > epoch_of(self.term):
            return []
        state = self._state(after)
        decided = state._replace(entries=state.entries[: max(0, self.slot - state.after)])
        return [self._say_in(term, src, NewState(decided))]

    def _join(self, term: int, beats: bool, now_ns: int) -> Effects:
        """A view has begun without this node: its log is asked for, again with each heartbeat. Until it comes this
        node's own is all that it can vouch for (the paper gives up what is not decided of it, see notes.md)."""
        effects: Effects = []
        known = self.joining and term == self.term
        if not known:
            if term > self.term or self.status is Status.NORMAL:
                self._forget_view(term)
            self.status, self.joining = Status.CHANGING, True
            effects = [CancelTimer(_BEAT)]
            if Pitfall.TRANSFER_AS_PUBLISHED in self.pitfalls:
                self.entries.replace(self.slot, ())
                effects += self._enter(term)
        primary = self.epochs.primary(term)
        if (known and not beats) or primary is None:
            return []
        return [*effects, self._await_view(now_ns), self._say(primary, GetState(self.slot))]

    def _take_log(self, src: int, term: int, state: State, now_ns: int) -> Effects:
        """The log of a view, from its primary: it has begun; or, in one that has, what was missing."""
        if src != self.epochs.primary(term) or term < self.term:
            return []
        began = term == self.term and self.status is Status.NORMAL
        if began and state.end <= self.entries.end:
            return []
        effects = self._replace(state)
        if effects is None:
            return self._join(term, beats=True, now_ns=now_ns)
        effects += [] if began else self._enter(term)
        answer = self._say(src, PrepareOk(self.entries.end))
        return [*effects, answer, self._await_view(now_ns), *self._decide(state.commit, now_ns)]

    def _enter(self, term: int) -> Effects:
        """The view has begun here."""
        self._forget_view(term)
        self.normal, self.status = term, Status.NORMAL
        self.answers.clear()
        return [CancelTimer(_BEAT)]

    # -- recovery (section 4.3) ----------------------------------------------------------------------------------------

    def _recover(self, src: int, said: Recovery) -> Effects:
        """A later life of ``src`` asks. Only who takes part in a view that has begun can tell what it must know."""
        if not self._learn(src, said.lives) or self.status is not Status.NORMAL:
            return []
        state = None if self.reign is None else self._state(0)
        return [self._say(src, RecoveryResponse(said.nonce, tuple(self.lives), state))]

    def _heard_recovering(self, src: int, view: int, said: Said, now_ns: int) -> Effects:
        if isinstance(said, StartViewChange | DoViewChange) and Pitfall.VOTES_WHILE_RECOVERING in self.pitfalls:
            return self._leave(src, view, said, now_ns)
        if not isinstance(said, RecoveryResponse):
            return []
        if said.nonce != self.config.epoch and Pitfall.RECOVERY_WITHOUT_NONCE not in self.pitfalls:
            return []
        if not self._learn(src, said.lives):
            return []
        self.answers[src] = view, said
        found = self._found()
        if found is None:
            return []
        primary, state = found
        effects = self._replace(state)
        assert effects is not None, "a log that is sent to one that recovers lacks nothing"
        effects += self._enter(self.answers[primary][0])
        self.lasted = self.term
        return [*effects, self._await_view(now_ns), *self._decide(state.commit, now_ns)]

    def _found(self) -> tuple[int, State] | None:
        """The primary of the latest view that a quorum knows of, and its log."""
        if not self.answers:
            return None
        latest = max(term for term, _ in self.answers.values())
        needed = self.epochs.quorum(latest) - (Pitfall.RECOVERY_FROM_MINORITY in self.pitfalls)
        if sum(node in self.answers for node in self.epochs.voters(latest)) < needed:
            return None
        anybody = Pitfall.RECOVERS_FROM_OLD_PRIMARY in self.pitfalls
        for node, (term, answer) in sorted(self.answers.items()):
            if answer.state is not None and node == self.epochs.primary(term) and (term == latest or anybody):
                return node, answer.state
        return None

    # -- epochs (section 7) --------------------------------------------------------------------------------------------

    def _closes(self) -> bool:
        """Whether the log ends with the entry that ends the epoch; nothing is put behind it."""
        return bool(self.entries.kept) and self._ends_with(self.entries.kept[-1]) is not None

    def _ends_with(self, entry: Entry) -> int | None:
        """The epoch that begins when this entry is decided; None: this one goes on."""
        epoch = epoch_in(entry.data)
        later = epoch is not None and epoch > epoch_of(self.term) and self.epochs.has(over(epoch))
        return epoch if later else None

    def _close(self, now_ns: int) -> Effects:
        """As primary: when it is time for other voters, the last entry of the epoch."""
        due = self.epochs.due(self.term, now_ns) and not self._closes()
        return self.append(epoch_entry(epoch_of(self.term) + 1), now_ns) if due else []

    def _end_epoch(self, epoch: int, now_ns: int) -> Effects:
        """The epoch before is over here: this node does nothing more in it. It says so, if it has a vote there."""
        self._forget_view(over(epoch))
        self.status = Status.ENDED
        self._await_epoch(epoch, self.slot)
        if epoch == self.ending and self.config.node in self.epochs.voters(over(epoch) - 1):
            self.ended.add(self.config.node)
            self.tells = True
        return [CancelTimer(_VIEW), CancelTimer(_BEAT), *self._tell_end(now_ns)]

    def _await_epoch(self, epoch: int, end: int) -> None:
        """The latest that is known to be about to begin: one before it, in what others had decided long ago, is not."""
        if epoch <= self.ending:
            return
        self.ending, self.ends_at, self.tells = epoch, end, False
        self.ended.clear()
        self.started.clear()

    def _tell_end(self, now_ns: int) -> Effects:
        """To all that have not answered, until a quorum of the next epoch's voters has: with these it can go on, if no
        more than a minority dies."""
        term = over(self.ending)
        if len(self.started) >= self.epochs.quorum(term):
            self.tells = False
        if not self.tells:
            return []
        word = EndEpoch(self.ends_at, tuple(self.lives))
        again = SetTimer(_EPOCH, now_ns + self.config.protocol.retry_ns)
        return [again, *(self._say_in(term, node, word) for node in self.ports if node not in self.started)]

    def _epoch_over(self, src: int, epoch: int, said: EndEpoch, now_ns: int) -> Effects:
        """A voter of the epoch before says that this is over."""
        if not self._learn(src, said.lives) or not epoch or epoch < self.ending:
            return []
        if epoch_of(self.normal) >= epoch:
            return [self._say_in(over(epoch), src, EpochStarted())]
        self._await_epoch(epoch, said.end)
        if src in self.epochs.voters(over(epoch) - 1):
            self.ended.add(src)
        asks = [self._say_in(over(epoch), src, GetState(self.slot))] if self.slot < said.end else []
        return [*asks, *self._try_to_start(now_ns)]

    def _epoch_started(self, src: int, epoch: int) -> Effects:
        if epoch == self.ending and src in self.epochs.voters(over(epoch)):
            self.started.add(src)
        return []

    def _take_decided(self, epoch: int, state: State, now_ns: int) -> Effects:
        """What was decided in epochs that are over, from whoever knows it; all of it, or this node would give up what
        it may have vouched for."""
        known = min(state.commit, state.end)
        if epoch != self.ending or epoch_of(self.normal) >= epoch or known <= self.slot or known < self.ends_at:
            return []
        effects = self._replace(state)
        if effects is None:
            return []
        effects += self._decide(known, now_ns)
        if epoch_of(self.term) < epoch:
            effects += self._end_epoch(epoch, now_ns)  # its last entry is among those that a state stands for
        return [*effects, *self._try_to_start(now_ns)]

    def _try_to_start(self, now_ns: int) -> Effects:
        """The next epoch begins here when a quorum of the one before has ended that, and all that was decided in it is
        here. In the paper one's word is enough, see notes.md."""
        before, first = over(self.ending) - 1, over(self.ending) + 1
        needed = 1 if Pitfall.EPOCH_FROM_ONE in self.pitfalls else self.epochs.quorum(before)
        ready = self.slot >= self.ends_at or Pitfall.EPOCH_WITHOUT_LOG in self.pitfalls
        if self.normal >= first or len(self.ended) < needed or not ready:
            return []
        self.entries.replace(self.slot, ())  # of an epoch that is over all is decided, or nothing
        if self.config.node in self.epochs.voters(first):
            self.started.add(self.config.node)
        if self.term > first:
            self.normal = first  # a later view is being begun, in which this node has a word now
            return []
        return [*self._enter(first), *self._lead_or_follow(now_ns)]

    # -- help ----------------------------------------------------------------------------------------------------------

    def _say(self, node: int, said: Said) -> Send:
        return self._say_in(self.term, node, said)

    def _say_in(self, term: int, node: int, said: Said) -> Send:
        return Send(self.ports[node], message(term, said))

    def _tell_all(self, said: Said) -> Effects:
        """All others."""
        return [self._say(node, said) for node in self.ports]

    def _await_beat(self, now_ns: int) -> SetTimer:
        return SetTimer(_BEAT, now_ns + self.config.protocol.retry_ns)

    def _await_view(self, now_ns: int) -> SetTimer:
        """Each view that does not last is followed by one that is given twice as long."""
        wait_ns = self.patience * self.config.protocol.retry_ns
        return SetTimer(_VIEW, now_ns + (wait_ns << self._doublings()))

    def _doublings(self) -> int:
        """The first view of an epoch needs none: it begins with what was done before."""
        lasted = max(self.lasted, over(epoch_of(self.term)) + 1)
        return min(max(0, self.term - lasted - (self.status is Status.CHANGING)), _MOST_DOUBLINGS)
