"""A cell: a switch that is a node and speaks OAE on every port. It carries the swaps of hosts hop by hop along trees.

A swap of two ends passes the cells of the one way between them, a branch of the tree of shortest ways to the higher
end, both ways alike. A cell takes part in it: it is TENTATIVE from the round's start on, REFLECTING when step 2 has
come by, and commits when the last step has, which it passes on before. So it commits only if everybody nearer to the
sender of the last step has: on any way those that committed are a piece without holes at that end, and between them and
the rest lies at most one link whose two ends differ. The swap of the ends is atomic exactly when all links' are.

At the horizon a cell does what an end does. ``abort``: it aborts, and passes nothing of the swap on any more. ``hold``:
it is in doubt, and passes on what comes late. ``reconcile``: besides, it answers an end that repeats itself, when the
answer has come by; only a question that no cell on the way can answer goes to the other end.

A cell keeps nothing on a disk: of a swap that its life knows nothing of, it passes on what reconciling ends ask each
other. The simultaneous handshake reflects nothing, and can't be carried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile

from testbed.nodes.core import (
    Effects,
    Life,
    LinkState,
    Note,
    Outcome,
    Port,
    Resolve,
    Send,
    SetTimer,
    SwapId,
    Transition,
)
from testbed.nodes.core.config import NodeConfig, Way
from testbed.nodes.frames import Carried, Kind, Message, carried
from testbed.nodes.oae.link import SETTLED
from testbed.nodes.oae.rounds import first_round

_OPEN = (LinkState.TENTATIVE, LinkState.REFLECTING)
_RESOLVED = (LinkState.COMMITTED, LinkState.ABORTED)
_LOW, _HIGH = 0, 1


@dataclass(slots=True)
class Passing:
    """What a cell knows of one swap. got: the latest step that has come by. latest: of each end (low, high) the last
    message, as it came. deadline_ns: the cell's horizon, by its clock."""

    id: SwapId
    deadline_ns: int
    state: LinkState = LinkState.IDLE
    got: int = 0
    latest: list[Message | None] = field(default_factory=lambda: [None, None])


@dataclass(slots=True)
class Branch:
    """The way between two ends, as this cell knows it. epochs: the ends' lives as last heard of. settled: of the rounds
    before, each asks about nothing. passing: by round, in order. resolved: rounds of those that were resolved since the
    latest round began (not where ends reconcile: they say themselves what can be forgotten)."""

    way: Way
    epochs: list[int] = field(default_factory=lambda: [0, 0])
    settled: list[int] = field(default_factory=lambda: [0, 0])
    passing: dict[int, Passing] = field(default_factory=dict)
    resolved: set[int] = field(default_factory=set)

    def side_of(self, end: int) -> int:
        """Which end that is."""
        return _LOW if end == self.way.low else _HIGH

    def port_to(self, side: int) -> Port:
        """The port that leads to an end."""
        return self.way.to_high if side == _HIGH else self.way.to_low


class Cell:
    """The machine of a cell (testbed.nodes.core.Machine). Its rounds are those of the ends, by its own clock."""

    def __init__(self, config: NodeConfig) -> None:
        """Raises ValueError for a handshake that cells can't carry."""
        if config.protocol.handshake != "alternating":
            raise ValueError(f"{config.name}: a cell carries alternating handshakes, not {config.protocol.handshake}")
        self.config = config
        self.branches = {(way.low, way.high): Branch(way) for way in config.ways}
        self.next_round = 0
        self.open_round = -1  # the round whose horizon is still to come
        self.early: list[tuple[Port, Message, Life]] = []

    # -- events ------------------------------------------------------------------------------------------------------

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:  # noqa: ARG002 - it keeps nothing
        """The cell comes up, and takes part from the next round on."""
        self.next_round = first_round(self.config, now_ns)
        return self._await_round()

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """``round``: the next round begins. ``horizon``: the open round ends."""
        return self._begin_round(now_ns) if name == "round" else self._end_round(now_ns)

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        """A message on its way between two ends."""
        known = carried(message)
        branch = None if known is None else self.branches.get((min(known.src, known.dst), max(known.src, known.dst)))
        if known is None or branch is None or branch.port_to(branch.side_of(known.src)) != port:
            return [Note("stray", message.round, "of no way through this cell", message)]
        side = branch.side_of(known.src)
        if known.epoch < branch.epochs[side]:
            return [Note("stale", message.round, f"the sender is in epoch {branch.epochs[side]}", message)]
        branch.epochs[side] = known.epoch
        if message.flags & SETTLED:
            branch.settled[side] = max(branch.settled[side], message.round)
        passing = branch.passing.get(message.round)
        if passing is not None:
            return self._pass(branch, passing, side, message, known, now_ns)
        if message.round == self.next_round and known.kind is Kind.SWAP:
            self.early.append((port, message, life))  # the sender's round began a moment before ours
            return []
        if message.round < self.next_round and self._reconciles:
            return [Send(branch.port_to(1 - side), message)]
        return [Note("stale", message.round, "of a swap that this life knows nothing of", message)]

    # -- rounds ------------------------------------------------------------------------------------------------------

    def _begin_round(self, now_ns: int) -> Effects:
        round_ = self.next_round
        if now_ns < self._start_ns(round_):
            return []
        effects = self._end_round(now_ns)  # with period = W both timers are due at once: the old round ends first
        self.next_round, self.open_round = round_ + 1, round_
        deadline_ns = self._start_ns(round_) + self.config.protocol.window_ns
        for (low, high), branch in self.branches.items():
            self._forget(branch)
            passing = branch.passing[round_] = Passing(SwapId(round_, low, high), deadline_ns)
            effects.append(self._enter(branch, passing, LinkState.TENTATIVE))
        effects.append(SetTimer("horizon", deadline_ns))
        waiting, self.early = self.early, []
        for port, message, life in waiting:
            effects += self.on_message(port, message, life, now_ns)
        return effects + self._await_round()

    def _end_round(self, now_ns: int) -> Effects:
        round_ = self.open_round
        if round_ < 0 or now_ns < self._start_ns(round_) + self.config.protocol.window_ns:
            return []
        self.open_round = -1
        effects: Effects = []
        for branch in self.branches.values():
            effects += self._expire(branch, branch.passing[round_])
        return effects

    def _await_round(self) -> Effects:
        if not self.branches or self.next_round >= self.config.protocol.rounds:
            return []
        return [SetTimer("round", self._start_ns(self.next_round))]

    def _start_ns(self, round_: int) -> int:
        return self.config.start_ns + round_ * self.config.protocol.period_ns

    def _forget(self, branch: Branch) -> None:
        """What no later message can need: resolved swaps, except those that reconciling ends may still ask about."""
        gone = branch.resolved
        if self._reconciles:
            keep_from = min(branch.settled)
            gone = set(takewhile(lambda old: old < keep_from, branch.passing))
        for old in gone:
            del branch.passing[old]
        branch.resolved = set()

    @property
    def _reconciles(self) -> bool:
        return self.config.protocol.horizon == "reconcile"

    # -- a swap ------------------------------------------------------------------------------------------------------

    def _expire(self, branch: Branch, passing: Passing) -> Effects:
        """The horizon of a swap has come."""
        if passing.state not in _OPEN:
            return []
        if self.config.protocol.horizon == "abort":
            return [self._enter(branch, passing, LinkState.ABORTED), Resolve(passing.id, Outcome.ABORTED, b"")]
        return [self._enter(branch, passing, LinkState.IN_DOUBT), Resolve(passing.id, Outcome.IN_DOUBT, b"")]

    def _pass(
        self, branch: Branch, passing: Passing, side: int, message: Message, known: Carried, now_ns: int
    ) -> Effects:
        """A message of a swap that this cell knows, from the end at ``side``."""
        effects = self._expire(branch, passing) if now_ns > passing.deadline_ns else []  # its timer is late itself
        on = Send(branch.port_to(1 - side), message)
        step = message.step
        if known.kind is Kind.RESET or step == 0:  # which only reconciling ends say
            return [*effects, on]
        if step > self.config.protocol.depth or side != (_LOW if step % 2 else _HIGH):
            return [*effects, Note("stray", message.round, f"step {step} does not go this way", message)]
        if step <= passing.got:
            return [*effects, *self._again(branch, passing, side, message, on)]
        if passing.state is LinkState.ABORTED:
            return [*effects, Note("late", message.round, f"step {step} after the abort", message)]
        passing.got, passing.latest[side] = step, message
        if step >= 2 and passing.state is LinkState.TENTATIVE:
            effects.append(self._enter(branch, passing, LinkState.REFLECTING))
        effects.append(on)
        if step == self.config.protocol.depth:
            committed = self._enter(branch, passing, LinkState.COMMITTED)
            effects += [committed, Resolve(passing.id, Outcome.COMMITTED, _values(passing))]
        return effects

    def _enter(self, branch: Branch, passing: Passing, state: LinkState) -> Transition:
        old, passing.state = passing.state, state
        if state in _RESOLVED and not self._reconciles:
            branch.resolved.add(passing.id.round)
        return Transition(passing.id, old, state)

    def _again(self, branch: Branch, passing: Passing, side: int, message: Message, on: Send) -> Effects:
        """An end, or the network, says once more what has come by."""
        duplicate = Note("duplicate", message.round, f"step {message.step} brings nothing new", message)
        if not self._reconciles:
            return [duplicate]
        answer = passing.latest[1 - side]
        if answer is None or answer.step < message.step or _epoch(answer) != branch.epochs[1 - side]:
            return [on]
        return [duplicate, Send(branch.port_to(side), answer)]


def _epoch(message: Message) -> int:
    known = carried(message)
    return 0 if known is None else known.epoch


def _values(passing: Passing) -> bytes:
    """What was swapped: the lower end's register, and the higher end's."""
    return b"".join(known.body for message in passing.latest if message and (known := carried(message)))
