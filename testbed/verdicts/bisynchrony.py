"""Bisynchrony round by round: what became of each swap, and which swaps broke it.

A node is live in a round when one of its lives reaches from the round's start over its end: a killed node is excluded
from the moment of its death, a restarted one until its next round begins. A NIC fault does not make a node dead, and a
paused node is alive. Swaps with an end that is not live are excluded, and so are those of a node that lies: nothing
binds it, and what it records of others' registers is no evidence.

A swap is atomic when both ends end alike and hold what they say they hold: an end that ends both ways, or commits
another value of its peer's register than the peer offered or its other neighbours tell of it, makes the swap split.

Where cells carry swaps, each is judged twice: between its ends, which is what a round is judged by, and on every link
of its way, between the two nodes there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from testbed.history import Coded, History, Ints, Mask
from testbed.nodes.core import Resolve, RoundStart, SwapId
from testbed.plan import Plan
from testbed.verdicts.facts import timer_tolerance_ns
from testbed.verdicts.model import LinkSwaps
from testbed.verdicts.paths import Pair, Paths
from testbed.verdicts.timeline import Timeline

COMMITTED, ABORTED, IN_DOUBT = "committed", "aborted", "in_doubt"
_BOTH_WAYS = "committed and aborted"
SWAP_ENDS = (COMMITTED, ABORTED, IN_DOUBT, _BOTH_WAYS, "")
_COMMITTED, _ABORTED, _IN_DOUBT, _BOTH, _NONE = range(len(SWAP_ENDS))  # how columns hold them


class Ending(NamedTuple):
    """How one end's swap ended. first, t_ns: its first resolution; final: the first that is not ``in_doubt``, ""
    while there is none, and _BOTH_WAYS when a later one contradicts it."""

    first: str
    t_ns: int
    final: str


class Broken(NamedTuple):
    """A swap that broke bisynchrony. kind as in model.Break; an end is None when it never resolved. why: what the
    endings themselves say against it, when no frame need be to blame."""

    swap: SwapId
    kind: str
    start_ns: int
    deadline_ns: int
    low: Ending | None
    high: Ending | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Rounds:
    """The judgement before causes are sought. excluded_splits: excluded swaps between honest ends whose ends differ
    all the same. links: see model.Bisynchrony."""

    judged: int
    broken_rounds: tuple[int, ...]
    swaps: dict[str, int]
    broken: tuple[Broken, ...]
    excluded_splits: int
    links: tuple[LinkSwaps, ...] = ()


class _Look(NamedTuple):
    """Every swap of every judged round, rounds by pairs. kinds: what is the matter with each, places in SWAP_KINDS."""

    rounds: Ints
    pairs: list[Pair]
    ends: _Ends
    kinds: Ints
    start_ns: Ints
    deadline_ns: Ints
    late_ns: Ints
    live: Mask
    honest: Mask


def judge_rounds(plan: Plan, history: History, paths: Paths, timeline: Timeline) -> Rounds:
    """Every round that some node started and that ended, timer tolerance included, before the run did.

    Linear in events and in rounds x pairs.
    """
    look = _look(plan, history, paths, timeline)
    if look is None:
        return Rounds(0, (), {COMMITTED: 0, ABORTED: 0, "split": 0, "blocked": 0, "excluded": 0}, (), 0)
    rounds, pairs, ends, kinds, start_ns, deadline_ns, late_ns, live, honest = look
    excluded = kinds == SWAP_KINDS.index("excluded")
    broken = []
    for row, column in np.argwhere((kinds > 0) & ~excluded).tolist():
        times = (int(start_ns[row]), int(deadline_ns[row]))
        swap, kind = SwapId(int(rounds[row]), *pairs[column]), SWAP_KINDS[kinds[row, column]]
        broken.append(Broken(swap, kind, *times, *ends.endings(row, column), ends.why(row, column, swap, paths)))
    broken_rounds = tuple(dict.fromkeys(swap.swap.round for swap in broken))
    excluded_splits = int(np.count_nonzero(ends.split() & excluded & honest))
    links: tuple[LinkSwaps, ...] = ()
    if plan.cells:
        on_links = [(pair, Pair(*hop)) for pair in pairs for hop in paths.hops(*pair)]
        parts = _Ends(history, rounds, on_links, len(paths.hosts), plan.liars)
        near, far = np.array([hop for _, hop in on_links]).T
        part_kinds = parts.kinds((live[near] & live[far]).T, deadline_ns, late_ns, plan.epsilon_ns)
        links = _by_link(on_links, part_kinds, parts, paths)
    return Rounds(len(rounds), broken_rounds, _counted(kinds, ends), tuple(broken), excluded_splits, links)


def _look(plan: Plan, history: History, paths: Paths, timeline: Timeline) -> _Look | None:
    """None where nobody swaps with anybody."""
    pairs = paths.pairs()
    if not pairs:
        return None
    tolerance_ns = timer_tolerance_ns(history.meta)
    rounds = _judged_rounds(plan, history, timeline, tolerance_ns)
    ends = _Ends(history, rounds, [(pair, pair) for pair in pairs], len(paths.hosts), plan.liars)
    start_ns = rounds * plan.protocol.period_ns
    deadline_ns = start_ns + plan.protocol.window_ns
    live = np.zeros((len(paths.hosts), len(rounds)), dtype=bool)
    for node in (*plan.members, *plan.cells):
        live[node] = timeline.alive_through_all(paths.hosts[node], start_ns, deadline_ns)
    low, high = np.array(pairs).T
    honest = ~np.isin(low, list(plan.liars)) & ~np.isin(high, list(plan.liars))
    late_ns = deadline_ns[:, None] + tolerance_ns
    kinds = ends.kinds((live[low] & live[high]).T & honest, deadline_ns, late_ns, plan.epsilon_ns)
    return _Look(rounds, pairs, ends, kinds, start_ns, deadline_ns, late_ns, live, honest)


class Swaps(NamedTuple):
    """Every swap of every judged round, in columns: by round, then by pair.

    low, high: the numbers of its ends. kind: a place in SWAP_KINDS, what broke in it (see model.Break; "" nothing).
    low_end, high_end: places in SWAP_ENDS, how each end ended in the end; low_ns, high_ns: when it first said so, on
    the run's clock (0 where it never did).
    """

    round: Ints
    low: Ints
    high: Ints
    kind: Ints
    low_end: Ints
    high_end: Ints
    low_ns: Ints
    high_ns: Ints


def every_swap(plan: Plan, history: History) -> Swaps:
    """What judge_rounds counts, swap by swap."""
    timeline = Timeline(plan, history)
    look = _look(plan, history, Paths(plan, timeline.tables), timeline)
    if look is None:
        return Swaps(*(np.empty(0, dtype=np.int64) for _ in Swaps._fields))
    low, high = np.array(look.pairs).T
    ends = np.where(look.ends.final == _NONE, look.ends.first, look.ends.final)  # in doubt to the end, or nothing
    times = look.ends.t_ns
    return Swaps(
        np.repeat(look.rounds, len(look.pairs)),
        np.tile(low, len(look.rounds)),
        np.tile(high, len(look.rounds)),
        look.kinds.ravel(),
        *(column.ravel() for column in (ends[:, :, 0], ends[:, :, 1], times[:, :, 0], times[:, :, 1])),
    )


def _counted(kinds: Ints, ends: _Ends) -> dict[str, int]:
    """How many swaps ended how."""
    whole = np.isin(kinds, [SWAP_KINDS.index(kind) for kind in _WHOLE])
    return {
        COMMITTED: int(np.count_nonzero(whole & (ends.final[:, :, 0] == _COMMITTED))),
        ABORTED: int(np.count_nonzero(whole & (ends.final[:, :, 0] == _ABORTED))),
        **{kind: int(np.count_nonzero(kinds == SWAP_KINDS.index(kind))) for kind in ("split", "blocked", "excluded")},
    }


def _by_link(on_links: list[tuple[Pair, Pair]], kinds: Ints, parts: _Ends, paths: Paths) -> tuple[LinkSwaps, ...]:
    """What became of swaps on every link, all pairs that use it together."""
    columns: dict[Pair, list[int]] = {}
    for column, (_, (one, other)) in enumerate(on_links):
        columns.setdefault(Pair(min(one, other), max(one, other)), []).append(column)
    return tuple(
        LinkSwaps(link_name(link, paths), _counted(kinds[:, chosen], parts.of(chosen)))
        for link, chosen in sorted(columns.items())
    )


SWAP_KINDS = ("", "excluded", "split", "blocked", "late", "skew")
"""What can be the matter with a swap; of several, the one that stands first."""

_WHOLE = ("", "late", "skew")
"""Atomic all the same: both ends ended alike."""


class _Ends:
    """How each end of each swap ended: columns by round, swap and end.

    swaps: whose swap it is, and between which two nodes it is looked at: the same two (0 is the lower number's end), or
    neighbours on the way between them.

    first, t_ns: its first resolution; final: the first that is not in doubt, or that later ones contradict it. A later
    life telling an ending again changes nothing. contradicted: what no loss or delay can explain, an end that ended
    both ways, or that committed although different values are told of its peer's register: by the peer itself when it
    offered it, and when it did not commit; by the neighbours that committed it.
    """

    def __init__(
        self, history: History, rounds: Ints, swaps: list[tuple[Pair, Pair]], hosts: int, liars: Collection[int]
    ) -> None:
        codes = np.array([[(low * hosts + high) * hosts + node for node in two] for (low, high), two in swaps])
        seats, seat_of = np.unique(codes, return_inverse=True)  # who has a part in which swap
        shape = (len(rounds), len(seats))
        first = np.full(shape, _NONE)
        final = np.full(shape, _NONE)
        t_ns = np.zeros(shape, dtype=np.int64)
        table = history.events.table(Resolve)
        row, known_round = _places(rounds, table["swap_round"])
        seat, known_seat = _places(seats, (table["swap_low"] * hosts + table["swap_high"]) * hosts + table.node)
        outcome = np.array([SWAP_ENDS.index(value) for value in table["outcome"].values], dtype=np.int64)
        outcome = outcome[table["outcome"].codes] if len(table) else np.empty(0, dtype=np.int64)
        chosen = np.flatnonzero(known_round & known_seat)
        slot = row * len(seats) + seat
        slots, at = np.unique(slot[chosen], return_index=True)
        first.flat[slots] = outcome[chosen[at]]
        t_ns.flat[slots] = table.t_ns[chosen[at]]
        ended = chosen[outcome[chosen] != _IN_DOUBT]
        slots, at = np.unique(slot[ended], return_index=True)
        final.flat[slots] = outcome[ended[at]]
        final.flat[slot[ended[outcome[ended] != final.flat[slot[ended]]]]] = _BOTH
        seat_of = seat_of.reshape(codes.shape)
        self.first, self.final, self.t_ns = first[:, seat_of], final[:, seat_of], t_ns[:, seat_of]
        at_end = (table.node == table["swap_low"]) | (table.node == table["swap_high"])  # a cell tells of no register
        peer = table["swap_low"] + table["swap_high"] - table.node
        whose = np.where(outcome == _COMMITTED, peer, table.node)
        begun = history.events.table(RoundStart)
        begun_row, begun_known = _places(rounds, begun["round"])
        told_twice = _told_twice(
            (len(rounds), hosts),
            (row * hosts + whose, table["value"], known_round & at_end & ~np.isin(table.node, list(liars))),
            (begun_row * hosts + begun.node, begun["offered"], begun_known & ~np.isin(begun.node, list(liars))),
        )
        low, high = np.array([pair for pair, _ in swaps]).T
        one, other = np.array([two for _, two in swaps]).T
        told = [(one == low) & told_twice[:, high], (other == high) & told_twice[:, low]]
        self.contradicted = (self.final == _BOTH) | (self.final == _COMMITTED) & np.stack(told, axis=2)

    def of(self, columns: Sequence[int]) -> _Ends:
        """Of some swaps only."""
        some = copy(self)
        for name in ("first", "final", "t_ns", "contradicted"):
            setattr(some, name, getattr(self, name)[:, columns])
        return some

    def kinds(self, both_live: Mask, deadline_ns: Ints, late_ns: Ints, epsilon_ns: int) -> Ints:
        """What is the matter with each swap, as places in SWAP_KINDS."""
        return np.select(
            [
                ~both_live,
                self.split() | self.contradicted.any(axis=2),
                np.isin(self.first, (_IN_DOUBT, _NONE)).any(axis=2),
                self.t_ns.max(axis=2) > late_ns,
                self.skew_ns(deadline_ns) > epsilon_ns,
            ],
            range(1, len(SWAP_KINDS)),
            0,
        )

    def split(self) -> Mask:
        """Which swaps ended differently at their ends, or both ways at one of them."""
        apart = np.isin(self.final, (_COMMITTED, _ABORTED)).all(axis=2) & (self.final[:, :, 0] != self.final[:, :, 1])
        return np.asarray(apart | (self.final == _BOTH).any(axis=2))

    def skew_ns(self, deadline_ns: Ints) -> Ints:
        """How far the ends lay apart; what lags within the tolerance happened at the window's end."""
        one, other = np.moveaxis(np.minimum(self.t_ns, deadline_ns[:, None, None]), 2, 0)
        return np.asarray(np.abs(one - other))

    def endings(self, row: int, column: int) -> tuple[Ending | None, Ending | None]:
        """Of one swap, by its places."""
        low, high = (
            None if first == _NONE else Ending(SWAP_ENDS[first], t_ns, SWAP_ENDS[final])
            for first, t_ns, final in zip(
                self.first[row, column].tolist(),
                self.t_ns[row, column].tolist(),
                self.final[row, column].tolist(),
                strict=True,
            )
        )
        return low, high

    def why(self, row: int, column: int, swap: SwapId, paths: Paths) -> str:
        """What the endings themselves say against a swap, or empty."""
        for end, node, peer in ((0, swap.low, swap.high), (1, swap.high, swap.low)):
            if self.final[row, column, end] == _BOTH:
                return f"{paths.hosts[node]} ended it both ways"
            if self.contradicted[row, column, end]:
                return f"{paths.hosts[node]} committed, but different values are told of {paths.hosts[peer]}'s register"
        return ""


def _told_twice(shape: tuple[int, int], *tellings: tuple[Ints, Coded, Mask]) -> Mask:
    """By round and node: whether different values are told of its register. tellings: columns of the place in
    ``shape``, the value, and whether to look at the row at all; an empty value tells nothing."""
    numbers: dict[bytes, int] = {}
    told: list[Ints] = []
    for place, values, known in tellings:
        codes = np.array([numbers.setdefault(value, len(numbers)) for value in values.values], dtype=np.int64)
        chosen = np.flatnonzero(known & ~values.where(b""))
        told.append(place[chosen] << 32 | codes[values.codes[chosen]])
    registers, times = np.unique(np.unique(np.concatenate(told)) >> 32, return_counts=True)
    twice = np.zeros(shape, dtype=bool)
    twice.flat[registers[times > 1]] = True
    return twice


def _places(known: Ints, wanted: Ints) -> tuple[Ints, Mask]:
    """Where in ``known``, which is sorted, each of ``wanted`` stands, and whether it is there at all."""
    place = np.minimum(np.searchsorted(known, wanted), max(0, len(known) - 1))
    return place, known[place] == wanted if len(known) else np.zeros(len(wanted), dtype=bool)


def _judged_rounds(plan: Plan, history: History, timeline: Timeline, tolerance_ns: int) -> Ints:
    """Their numbers, in order."""
    begun = np.union1d(history.events.table(RoundStart)["round"], history.events.table(Resolve)["swap_round"])
    deadline_ns = begun * plan.protocol.period_ns + plan.protocol.window_ns
    return np.asarray(begun[deadline_ns + tolerance_ns <= timeline.end_ns])


def link_name(pair: Pair | SwapId, paths: Paths) -> str:
    """``host1<->host2``."""
    return f"{paths.hosts[pair.low]}<->{paths.hosts[pair.high]}"
