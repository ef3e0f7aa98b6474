"""EPaxos* on one node: coordinator, acceptor, recovery, execution (Ryabinin, Gotsman, Sutra 2025). See notes.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from testbed.nodes import frames
from testbed.nodes.consensus.ballots import Ballots
from testbed.nodes.consensus.epaxos.commands import UNKNOWN, Attempt, Command, Phase, Stage, Told, read_command
from testbed.nodes.consensus.epaxos.graph import Blocked, components
from testbed.nodes.consensus.epaxos.messages import Message, Step, read
from testbed.nodes.consensus.epaxos.needs import Name, Needs, Source, covers, names, needs_of, union
from testbed.nodes.consensus.epaxos.pitfalls import Pitfall
from testbed.nodes.consensus.logs import NOOP, LogMachine, Vows, submission
from testbed.nodes.consensus.spec import minority
from testbed.nodes.core import Effects, Note, SetTimer
from testbed.nodes.core.commuting import Commuting
from testbed.nodes.core.config import NodeConfig

PATIENCE = 4  # intervals in which a command may stand still before the next in line recovers it
_MOST_DOUBLINGS = 16
_MOST_TOLD = 64  # commands in answer to one BEAT, and recoveries begun at a time
_FURTHEST = 1 << 16  # commands of one source ahead of the first that is not committed; nobody gets there


def most_e(n: int) -> int:
    """The most crashes that leave n members the fast path: n >= 2e + f - 1, and e <= f."""
    f = minority(n)
    return min(f, (n + 1 - f) // 2)


class EPaxosMachine(LogMachine):
    """A partial order of all that is submitted (testbed.nodes.core.PartialLog).

    Whoever a value is submitted to is its coordinator: it asks all what the command depends on. If n - e members know
    of nothing that it does not know, it is committed after two delays; else all that any of a quorum knows is accepted
    first. Commands are carried out when all that they depend on is committed, circles by name.

    Once every retry_ns it says again what was not answered. Every ``patience`` times each tells the others how much it
    knows to be committed, and is told what it lacks; and of each command that stands still somebody gives up waiting,
    in the order of ranks from the coordinator's on, later with every try, and recovers it in a ballot of its own.
    """

    def __init__(
        self,
        config: NodeConfig,
        pitfalls: Collection[Pitfall] = (),
        patience: int = PATIENCE,
        e: int = -1,
    ) -> None:
        super().__init__(config, patience)
        self.pitfalls = frozenset(pitfalls)
        self.patience = patience
        n = config.n
        self.e = most_e(n) if e < 0 else e
        self.quorum = n - minority(n)
        self.fast = n - self.e - (Pitfall.SMALL_FAST_QUORUM in self.pitfalls)
        self.ballots = Ballots(n)
        self.commuting = Commuting(1)
        self.commands: dict[Name, Command] = {}
        self.attempts: dict[Name, Attempt] = {}
        self.own: dict[Name, bytes] = {}  # what this life brought in and is not settled
        self.waiting: dict[Name, int] = {}  # recoveries that wait, anywhere: how many had agreed
        self.ages: dict[Name, int] = {}  # of what is not settled: for how many ticks nothing was heard of it
        # all by source: commands that there are, and those of which it is known what they are, below which place;
        # below which place all are committed, and carried out
        self.begun: dict[Source, int] = defaultdict(int)
        self.named: dict[Source, int] = defaultdict(int)
        self.floors: dict[Source, int] = defaultdict(int)
        self.done: dict[Source, int] = defaultdict(int)
        self.blocked: dict[Name, list[Name]] = {}  # what is not committed -> what waits for it to be carried out
        self.arrivals: list[Name] = []  # commands in the order in which they were committed here
        self.beats = 0

    def order_by(self, commuting: Commuting) -> None:
        """Before all else."""
        self.commuting = commuting

    # -- lives -------------------------------------------------------------------------------------------------------

    def begin(self, now_ns: int) -> Effects:
        """Beat."""
        return [self._await_beat(now_ns)]

    def resume(self, now_ns: int) -> Effects:
        """What was committed is carried out anew; what was not, somebody recovers, be it this node."""
        done = [effect for name in self.arrivals for effect in self._carry_out(name)]
        return [*done, self._await_beat(now_ns)]

    def vows(self) -> Vows:
        """Nothing but who this is: promises stand with the commands."""
        return (self.learns_only,)

    def known(self, slot: int) -> bytes | None:
        """A command."""
        command = self.commands.get(_name_of(slot))
        return None if command is None else command.pack()

    def recall(self, vows: Vows, slots: Mapping[int, bytes]) -> None:
        """The same."""
        (self.learns_only,) = vows
        for slot, known in slots.items():
            name, command = _name_of(slot), read_command(known)
            self.commands[name] = command
            self._hear_of(name)
            self._hear_of_all(command.needs)
            self._hear_of_all(command.first_needs)
            if command.entry != UNKNOWN:
                self._get_to_know(name)
            if command.committed:
                self.arrivals.append(name)
        for source in tuple(self.begun):
            self._raise_floor(source)

    def forget(self) -> list[int]:
        """Nothing: see compact."""
        return []

    def compact(self, index: int, state: bytes, now_ns: int) -> Effects:  # noqa: ARG002 - nothing comes of it
        """All is kept: a state of what one node was told stands for no other's, as long as the orders may differ."""
        if index != self.told:
            raise ValueError(f"a state of {index} entries can't stand for the {self.told} that were told")
        return []

    # -- submissions -------------------------------------------------------------------------------------------------

    def leader(self) -> int | None:
        """This node, of what is submitted to it. One that only learns asks another, and each time the next one."""
        if not self.learns_only:
            return self.config.node
        others = list(self.ports)
        return others[self.beats // self.patience % len(others)] if others else None

    def append(self, entry: bytes, now_ns: int) -> Effects:  # noqa: ARG002 - it does not matter when
        """Bring it in."""
        return self._bring_in(entry, 0)

    def confirm(self, reader: int, ticket: bytes, mode: str, now_ns: int) -> Effects:  # noqa: ARG002
        """Reads are commands; there are no others (EngineSpec.reads)."""
        return []

    # -- events ------------------------------------------------------------------------------------------------------

    def expire(self, name: str, now_ns: int) -> Effects:  # noqa: ARG002 - there is one
        """``beat``."""
        self.beats += 1
        effects: Effects = [self._await_beat(now_ns)]
        for command, attempt in tuple(self.attempts.items()):
            effects += self._say_again(command, attempt)
        return effects + (self._tick() if self.beats % self.patience == 0 else [])

    def receive(self, src: int, message: frames.Message, now_ns: int) -> Effects:  # noqa: ARG002 - nobody looks at a clock
        """What is none of this engine's messages is noted and dropped."""
        said = read(message)
        if said is None or not self._sane(src, said):
            return [Note("stray", message.round, "no message of EPaxos", message)]
        if self.learns_only and said.step not in (Step.COMMIT, Step.BEAT):
            return []
        return self._handle(src, said)

    def _sane(self, src: int, said: Message) -> bool:
        """Whether it is about commands that there may be, and who says it may say it."""
        of_coordinator = said.step is Step.PRE_ACCEPT or (said.step is Step.ACCEPT and not said.ballot)
        if of_coordinator and self._coordinator(said.name) != src:
            return False
        return all(
            chain < self.commuting.chains and rank < self.config.n and place <= self.floors[chain, rank] + _FURTHEST
            for chain, rank, place in (said.name, *said.needs, *said.others)
        )

    def _handle(self, src: int, said: Message) -> Effects:
        match said.step:
            case Step.BEAT:
                return self._bring_up_to_date(src, said.needs)
            case Step.COMMIT:
                return self._commit(said.name, said.ballot, said.entry, said.needs)
            case Step.WAITING:
                return self._hear_waiting(said.name, said.number)
        command = self._command(said.name)
        if said.step in (Step.PRE_ACCEPT, Step.ACCEPT, Step.RECOVER, Step.VALIDATE):
            if command.committed:
                return self._tell(src, _commitment(said.name, command))
            if said.ballot < command.promised:
                return self._tell(src, Message(Step.REJECT, said.ballot, said.name, voted=command.promised))
            return self._obey(src, said, command)
        attempt = self.attempts.get(said.name)
        if attempt is None or attempt.ballot != said.ballot:
            return []  # the answer to one that was given up
        return self._count(src, said, command, attempt)

    def _obey(self, src: int, said: Message, command: Command) -> Effects:
        """As acceptor, in a ballot that is none too low."""
        match said.step:
            case Step.PRE_ACCEPT:
                return self._pre_accept(src, said, command)
            case Step.ACCEPT:
                return self._accept(src, said, command)
            case Step.RECOVER:
                return self._recover(src, said, command)
            case _:
                return self._validate(src, said, command)

    def _count(self, src: int, said: Message, command: Command, attempt: Attempt) -> Effects:
        """An answer to this node's own attempt."""
        name = said.name
        if said.step is Step.REJECT:
            command.promised = max(command.promised, said.voted)
            self.touched.add(_slot_of(name))
            self._give_way(name, command.promised)
        elif said.step is Step.PRE_ACCEPTED and attempt.stage is Stage.PREACCEPT:
            attempt.preaccepted[src] = said.needs
            return self._choose_path(name, attempt, self.config.n)
        elif said.step is Step.ACCEPTED and attempt.stage is Stage.ACCEPT:
            attempt.accepted.add(src)
            return self._settle(name, attempt) if len(attempt.accepted) >= self.quorum else []
        elif said.step is Step.RECOVERED and attempt.stage in (Stage.RECOVER, Stage.VALIDATE, Stage.WAIT):
            attempt.told[src] = Told(Phase(said.number), said.voted, said.entry, said.needs, said.others)
            return self._hear_told(name, attempt)
        elif said.step is Step.VALIDATED and attempt.stage is Stage.VALIDATE and src in attempt.quorum:
            return self._hear_sound(src, said, attempt)
        return []

    # -- the acceptor ------------------------------------------------------------------------------------------------

    def _pre_accept(self, src: int, said: Message, command: Command) -> Effects:
        """All that conflicts and is known here is added to what the coordinator knows."""
        if command.phase is Phase.INITIAL:
            command.needs = union((said.needs, self._conflicting(said.name.chain)))
            command.phase, command.tries = Phase.PREACCEPTED, said.number
            command.entry = command.first_entry = said.entry
            command.first_needs = said.needs
            self._changed(said.name, command)
        if command.phase is not Phase.PREACCEPTED:
            return []
        return self._tell(src, Message(Step.PRE_ACCEPTED, 0, said.name, command.needs))

    def _accept(self, src: int, said: Message, command: Command) -> Effects:
        command.promised = command.voted = said.ballot
        command.phase = Phase.ACCEPTED
        command.entry, command.needs = said.entry, said.needs
        self._changed(said.name, command)
        self._give_way(said.name, said.ballot)
        return self._tell(src, Message(Step.ACCEPTED, said.ballot, said.name))

    def _recover(self, src: int, said: Message, command: Command) -> Effects:
        """The promise is one thing, the vote another."""
        voted = command.promised if Pitfall.ONE_BALLOT_VARIABLE in self.pitfalls else command.voted
        command.promised = said.ballot
        self._changed(said.name, command)
        self._give_way(said.name, said.ballot)
        return self._tell(
            src,
            Message(
                Step.RECOVERED,
                said.ballot,
                said.name,
                command.needs,
                command.entry,
                command.phase,
                voted,
                command.first_needs,
            ),
        )

    def _validate(self, src: int, said: Message, command: Command) -> Effects:
        """What speaks against its having been committed fast. From now on it is known here, so that what comes later
        depends on it."""
        if said.ballot != command.promised or command.phase is Phase.ACCEPTED:
            return []
        command.entry = command.first_entry = said.entry
        command.first_needs = said.needs
        self._changed(said.name, command)
        against = list(self._against(said.name, said.needs))
        committed = tuple(name for name in against if self.commands[name].committed)
        others = tuple(name for name in against if not self.commands[name].committed)
        return self._tell(src, Message(Step.VALIDATED, said.ballot, said.name, committed, others=others))

    def _against(self, name: Name, needs: Needs) -> Iterator[Name]:
        """Commands that conflict with it, of which neither depends on the other."""
        bounds = {bound[:2]: bound.place for bound in needs}
        for chain in sorted(self.commuting.conflicting(name.chain)):
            for rank in range(self.config.n):
                for place in range(bounds.get((chain, rank), 0), self.named[chain, rank]):
                    other = Name(chain, rank, place)
                    known = self.commands.get(other)
                    if known is None or other == name:
                        continue
                    entry, after = known.first_entry, known.first_needs
                    if known.committed:
                        entry, after = known.entry, known.needs
                    if entry not in (UNKNOWN, NOOP) and not covers(after, name):
                        yield other

    # -- the coordinator ---------------------------------------------------------------------------------------------

    def _bring_in(self, entry: bytes, tries: int) -> Effects:
        one = submission(entry)
        assert one is not None, "entries that are brought in are submissions"
        chain = self.commuting.chain(one.value)
        if (one.rank, one.epoch) != (self.rank, self.config.epoch):
            chain = self.commuting.writing(chain)  # others may have been given it as well: all must tell the same first
        name = Name(chain, self.rank, self.begun[chain, self.rank])
        needs = self._conflicting(chain)
        self.own[name] = entry
        self.attempts[name] = Attempt(0, Stage.PREACCEPT, entry, needs, min(tries, _MOST_DOUBLINGS))
        return self._tell_all(self._proposal(name, self.attempts[name]))

    def _choose_path(self, name: Name, attempt: Attempt, still: int) -> Effects:
        """Fast, as soon as enough agree; slow, when a quorum has answered and ``still`` more that may do so would not
        be enough any more."""
        answers = attempt.preaccepted
        agree = sum(needs == attempt.needs for needs in answers.values())
        if len(answers) < self.quorum:
            return []
        if agree >= self.fast:
            return self._settle(name, attempt)
        if agree + min(still, self.config.n - len(answers)) >= self.fast:
            return []
        merged = union(answers.values())
        return self._propose(
            name, attempt, attempt.entry, attempt.needs if Pitfall.DEPENDENCIES_NOT_MERGED in self.pitfalls else merged
        )

    # -- who recovers ------------------------------------------------------------------------------------------------

    def _take_over(self, name: Name) -> Effects:
        """In a ballot above all that are known here."""
        promised = self._command(name).promised
        ballot = self.ballots.number(self.ballots.attempt(promised) + 1 if promised else 0, self.rank)
        self.attempts[name] = Attempt(ballot, Stage.RECOVER)
        return self._tell_all(self._proposal(name, self.attempts[name]))

    def _hear_told(self, name: Name, attempt: Attempt) -> Effects:
        if attempt.stage is Stage.WAIT:
            return self._look_again(name, attempt)
        if attempt.stage is not Stage.RECOVER or len(attempt.told) < self.quorum:
            return []
        attempt.quorum = frozenset(attempt.told)
        answers = list(attempt.told.values())
        latest = max(one.voted for one in answers)
        accepted = [one for one in answers if one.voted == latest and one.phase is Phase.ACCEPTED]
        if accepted:
            return self._propose(name, attempt, accepted[0].entry, accepted[0].needs)
        agreed = [one for one in answers if one.phase is Phase.PREACCEPTED and one.needs == one.first_needs]
        if self._coordinator(name) in attempt.quorum or len(agreed) < self.quorum - self.e:
            return self._give_up(name, attempt)
        attempt.agreed = len(agreed)
        attempt.entry, attempt.needs = agreed[0].entry, agreed[0].first_needs
        if Pitfall.RECOVERY_IGNORES_CONFLICTS in self.pitfalls:
            return self._propose(name, attempt, attempt.entry, attempt.needs)
        self._go_to(attempt, Stage.VALIDATE)
        return self._tell_all(self._proposal(name, attempt), set(self.config.members) - attempt.quorum)

    def _hear_sound(self, src: int, said: Message, attempt: Attempt) -> Effects:
        """Nothing speaks against it: it is taken for committed. Something that is committed does: it can't be. What is
        not settled may: that is waited for."""
        attempt.sound.add(src)
        for other in (*said.needs, *said.others):
            self._hear_of(other)
            attempt.conflicts[other] = attempt.conflicts.get(other, False) or other in said.needs
        if attempt.sound != attempt.quorum:
            return []
        name, conflicts = said.name, attempt.conflicts
        if not conflicts or (not any(conflicts.values()) and Pitfall.RECOVERY_WAITS_FOR_NOBODY in self.pitfalls):
            return self._propose(name, attempt, attempt.entry, attempt.needs)
        just_enough = attempt.agreed == self.quorum - self.e
        elsewhere = any(self._coordinator(other) not in attempt.quorum for other in conflicts)
        if any(conflicts.values()) or (just_enough and elsewhere):
            return self._give_up(name, attempt)
        self._go_to(attempt, Stage.WAIT)
        effects = self._tell_others(Message(Step.WAITING, attempt.ballot, name, number=attempt.agreed))
        return [*effects, *self._hear_waiting(name, attempt.agreed), *self._look_again(name, attempt)]

    def _look_again(self, name: Name, attempt: Attempt) -> Effects:
        """Whether it has been settled what a recovery waits for, or somebody has told what makes it needless."""
        if attempt.stage is not Stage.WAIT or self.attempts.get(name) is not attempt:
            return []
        late = [one for node, one in attempt.told.items() if node not in attempt.quorum]
        accepted = max((one for one in late if one.phase is Phase.ACCEPTED), key=lambda one: one.voted, default=None)
        if accepted is not None:
            return self._propose(name, attempt, accepted.entry, accepted.needs)
        known = [self._command(other) for other in attempt.conflicts]
        against = any(one.committed and one.entry != NOOP and not covers(one.needs, name) for one in known)
        if against or self._coordinator(name) in attempt.told:
            return self._give_up(name, attempt)
        if all(one.committed for one in known):
            return self._propose(name, attempt, attempt.entry, attempt.needs)
        if any(self.waiting.get(other, 0) > self.quorum - self.e for other in attempt.conflicts):
            return self._give_up(name, attempt)
        return []

    def _hear_waiting(self, name: Name, agreed: int) -> Effects:
        if self._command(name).committed or Pitfall.WAITING_UNHEARD in self.pitfalls:
            return []
        self._hear_of(name)
        self.waiting[name] = max(self.waiting.get(name, 0), agreed)
        return self._wake(name)

    def _wake(self, name: Name) -> Effects:
        """Recoveries that wait for it."""
        waiting = [(other, one) for other, one in self.attempts.items() if name in one.conflicts]
        return [effect for other, one in waiting for effect in self._look_again(other, one)]

    def _give_up(self, name: Name, attempt: Attempt) -> Effects:
        """It can't have been committed: nothing comes in its place."""
        return self._propose(name, attempt, NOOP, ())

    # -- both --------------------------------------------------------------------------------------------------------

    def _propose(self, name: Name, attempt: Attempt, entry: bytes, needs: Needs) -> Effects:
        attempt.entry, attempt.needs = entry, needs
        self._go_to(attempt, Stage.ACCEPT)
        return self._tell_all(self._proposal(name, attempt))

    def _proposal(self, name: Name, attempt: Attempt) -> Message:
        """What all are asked in this stage."""
        match attempt.stage:
            case Stage.PREACCEPT:
                return Message(Step.PRE_ACCEPT, 0, name, attempt.needs, attempt.entry, attempt.tries)
            case Stage.VALIDATE:
                return Message(Step.VALIDATE, attempt.ballot, name, attempt.needs, attempt.entry)
            case Stage.ACCEPT:
                return Message(Step.ACCEPT, attempt.ballot, name, attempt.needs, attempt.entry)
            case _:
                return Message(Step.RECOVER, attempt.ballot, name)

    def _settle(self, name: Name, attempt: Attempt) -> Effects:
        said = Message(Step.COMMIT, attempt.ballot, name, attempt.needs, attempt.entry)
        return [*self._tell_others(said), *self._commit(name, attempt.ballot, attempt.entry, attempt.needs)]

    def _give_way(self, name: Name, ballot: int) -> None:
        """Somebody has this ballot for it: an attempt in a lower one is over, and it is given time."""
        self.ages.pop(name, None)
        attempt = self.attempts.get(name)
        if attempt is not None and attempt.ballot < ballot:
            del self.attempts[name]

    def _say_again(self, name: Name, attempt: Attempt) -> Effects:
        """After an interval without news; one whose quorum has lost a member, or waits too long, begins anew."""
        attempt.beats += 1
        if attempt.beats == 1 or self.attempts.get(name) is not attempt:
            return []
        if attempt.stage is Stage.PREACCEPT:
            effects = self._choose_path(name, attempt, 0)
            if effects:
                return effects
        stuck = {Stage.VALIDATE: self.patience, Stage.WAIT: 4 * self.patience}.get(attempt.stage, attempt.beats + 1)
        if attempt.beats > stuck:
            return self._take_over(name)
        answered: Collection[int] = {
            Stage.PREACCEPT: attempt.preaccepted,
            Stage.VALIDATE: attempt.sound | (set(self.config.members) - attempt.quorum),
            Stage.ACCEPT: attempt.accepted,
        }.get(attempt.stage, attempt.told)
        effects = self._tell_others(self._proposal(name, attempt), answered)
        if attempt.stage is Stage.WAIT:
            effects += self._tell_others(Message(Step.WAITING, attempt.ballot, name, number=attempt.agreed))
        return effects

    def _go_to(self, attempt: Attempt, stage: Stage) -> None:
        attempt.stage, attempt.beats = stage, 0

    # -- the learner -------------------------------------------------------------------------------------------------

    def _commit(self, name: Name, ballot: int, entry: bytes, needs: Needs) -> Effects:
        """It is settled: what waits for it goes on."""
        command = self._command(name)
        if command.committed:
            return []
        command.phase, command.voted = Phase.COMMITTED, ballot
        command.entry, command.needs = entry, needs
        self._changed(name, command)
        self._raise_floor(name[:2])
        self.arrivals.append(name)
        for forgotten in (self.attempts, self.ages, self.waiting):
            forgotten.pop(name, None)
        effects: Effects = []
        brought = self.own.pop(name, UNKNOWN)
        if brought != UNKNOWN and entry == NOOP and Pitfall.NOP_FORGOTTEN not in self.pitfalls:
            effects += self._bring_in(brought, command.tries + 1)
        effects += self._wake(name)
        for one in (name, *self.blocked.pop(name, ())):
            effects += self._carry_out(one)
        return effects

    def _carry_out(self, name: Name) -> Effects:
        """With all that it depends on, if that is committed."""
        if self.commands[name].executed:
            return []
        found = components(name, self._before, self._is_committed)
        if isinstance(found, Blocked):
            self.blocked.setdefault(found.by, []).append(name)
            return []
        effects: Effects = []
        for circle in found:
            circle.sort(key=self.arrivals.index if Pitfall.CYCLE_IN_ARRIVAL_ORDER in self.pitfalls else None)
            for one in circle:
                command = self.commands[one]
                command.executed = True
                effects += self.tell(command.entry, self.ballots.attempt(command.voted) + 2 if command.voted else 1)
                self._raise_done(one[:2])
        return effects

    def _before(self, name: Name) -> Iterator[Name]:
        """What it depends on and is not carried out."""
        for other in names(self.commands[name].needs, self.done):
            known = self.commands.get(other)
            if other != name and not (known is not None and known.executed):
                if Pitfall.HOLE_SKIPPED in self.pitfalls and not self._is_committed(other):
                    continue
                yield other

    def _is_committed(self, name: Name) -> bool:
        known = self.commands.get(name)
        return known is not None and known.committed

    def _tick(self) -> Effects:
        """How much is committed here; and what stands still is recovered when its time has come."""
        effects = self._tell_others(Message(Step.BEAT, 0, needs=needs_of(self.floors)))
        if self.learns_only:
            return effects
        due = []
        for source in sorted(self.begun):
            for place in range(self.floors[source], self.begun[source]):
                name = Name(*source, place)
                if self._is_committed(name) or name in self.attempts:
                    continue
                self.ages[name] = self.ages.get(name, 0) + 1
                if self.ages[name] > self._turn(name):
                    due.append(name)
        for name in due[:_MOST_TOLD]:
            del self.ages[name]
            effects += self._take_over(name)
        return effects

    def _turn(self, name: Name) -> int:
        """For how many ticks it may stand still: one for each rank between who had it last and this node; twice as
        many with every ballot, and every time that it was given up before."""
        command = self._command(name)
        last, tries = name.rank, command.tries
        if command.promised:
            last, tries = self.ballots.rank(command.promised), tries + self.ballots.attempt(command.promised) + 1
        distance = (self.rank - last) % self.config.n or self.config.n
        return distance << min(tries, _MOST_DOUBLINGS)

    def _bring_up_to_date(self, src: int, floors: Needs) -> Effects:
        """What another does not know to be committed."""
        since = {bound[:2]: bound.place for bound in floors}
        effects: Effects = []
        for source in sorted(self.named):
            for place in range(since.get(source, 0), self.named[source]):
                name = Name(*source, place)
                if self._is_committed(name):
                    effects += self._tell(src, _commitment(name, self.commands[name]))
                if len(effects) == _MOST_TOLD:
                    return effects
        return effects

    # -- what is known -----------------------------------------------------------------------------------------------

    def _command(self, name: Name) -> Command:
        return self.commands.setdefault(name, Command())

    def _coordinator(self, name: Name) -> int:
        return self.config.members[name.rank]

    def _conflicting(self, chain: int) -> Needs:
        """All that conflicts with a command of that chain, of what is known here."""
        counts = {
            (other, rank): self.named[other, rank]
            for other in self.commuting.conflicting(chain)
            for rank in range(self.config.n)
        }
        return needs_of(counts)

    def _changed(self, name: Name, command: Command) -> None:
        """It is written down, and what it says that there is is known to be."""
        self.touched.add(_slot_of(name))
        self._hear_of(name)
        self._hear_of_all(command.needs)
        if command.entry != UNKNOWN:
            self._get_to_know(name)

    def _hear_of(self, name: Name) -> None:
        self.begun[name[:2]] = max(self.begun[name[:2]], name.place + 1)

    def _hear_of_all(self, needs: Needs) -> None:
        for chain, rank, count in needs:
            self.begun[chain, rank] = max(self.begun[chain, rank], count)

    def _get_to_know(self, name: Name) -> None:
        self.named[name[:2]] = max(self.named[name[:2]], name.place + 1)

    def _raise_floor(self, source: Source) -> None:
        while self._is_committed(Name(*source, self.floors[source])):
            self.floors[source] += 1

    def _raise_done(self, source: Source) -> None:
        while (known := self.commands.get(Name(*source, self.done[source]))) is not None and known.executed:
            self.done[source] += 1

    # -- help --------------------------------------------------------------------------------------------------------

    def _tell(self, node: int, said: Message) -> Effects:
        if node == self.config.node:
            return self._handle(node, said)
        return [self.send(node, said.ballot, said.step, said.body())]

    def _tell_others(self, said: Message, but: Collection[int] = ()) -> Effects:
        return [self.send(node, said.ballot, said.step, said.body()) for node in self.ports if node not in but]

    def _tell_all(self, said: Message, but: Collection[int] = ()) -> Effects:
        """This node last: its answer may lead on."""
        own = self.config.node
        return self._tell_others(said, but) + ([] if own in but else self._handle(own, said))

    def _await_beat(self, now_ns: int) -> SetTimer:
        return SetTimer("beat", now_ns + self.config.protocol.retry_ns)


def _commitment(name: Name, command: Command) -> Message:
    return Message(Step.COMMIT, command.voted, name, command.needs, command.entry)


def _slot_of(name: Name) -> int:
    """A command's number in the frame's books, from which its name can be read."""
    return name.chain << 48 | name.rank << 32 | name.place


def _name_of(slot: int) -> Name:
    return Name(slot >> 48, slot >> 32 & 0xFFFF, slot & 0xFFFFFFFF)
