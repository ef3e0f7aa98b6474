"""Whether operations could have happened one after another, each at a moment between its call and its return.

The search is that of Wing and Gong (JPDC 1993) with Lowe's memory of configurations (CCPE 2017): operations are taken
in an order that real time allows, each must return what the object would, and a set of operations that has led to a
state before is not tried again. One that returns what it must and leaves the state as it is, as reads do, is taken as
soon as it can be: in whatever order it comes later, it could have come there. An object whose parts don't touch each
other is judged part by part (Horn, Kroening, "Faster linearizability checking via P-compositionality", FORTE 2015). An
operation that never returned may have happened at any time since its call, or never.

Sequential consistency (Lamport 1979) is the same search with the order of each process alone; it can't be judged part
by part, for parts that are each sequentially consistent may not be so together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

STEPS = 2_000_000
"""How many times an operation is tried in all before the question is left open; a few seconds."""


class Timed(NamedTuple):
    """One operation as its process saw it. returned: None when it never did; ``result`` then means nothing.

    called and returned are on one clock; of two that are equal the call counts as the earlier.
    """

    process: str
    call: Any
    called: int
    result: Any = None
    returned: int | None = None


class Sequential(Protocol):
    """What the object does when one operation happens after another; total and deterministic."""

    def initial(self) -> Hashable:
        """The state before all operations."""

    def apply(self, state: Any, call: Any) -> tuple[Hashable, Hashable]:
        """The state after ``call`` in ``state``, and its result."""


class Answer(StrEnum):
    """Whether there is such an order; ``open`` when the search was given up."""

    YES = "yes"
    NO = "no"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Judged:
    """answer: for all operations. part: where it is not yes, those of the part concerned. longest: of these the longest
    order found. steps: operations tried."""

    answer: Answer
    part: tuple[Timed, ...] = ()
    longest: tuple[Timed, ...] = ()
    steps: int = 0


def linearizable(
    operations: Iterable[Timed],
    what: Sequential,
    part_of: Callable[[Any], Hashable | None] | None = None,
    steps: int = STEPS,
) -> Judged:
    """Whether ``operations`` on ``what`` are linearizable. part_of: of a call, the part of the object that alone it
    touches; None: it touches more than one, and then nothing is judged by parts."""
    taken = 0
    undecided: Judged | None = None
    for part in _parts(operations, part_of):
        found = _search([_in_time(part)], what, steps - taken, [what.initial()])
        taken += found.steps
        if found.answer is Answer.NO:
            return Judged(Answer.NO, found.part, found.longest, taken)
        if found.answer is Answer.OPEN:
            undecided = undecided or found
    if undecided is not None:
        return Judged(Answer.OPEN, undecided.part, undecided.longest, taken)
    return Judged(Answer.YES, steps=taken)


def sequentially_consistent(operations: Iterable[Timed], what: Sequential, steps: int = STEPS) -> Judged:
    """Whether there is an order that each process by itself can have seen. Two operations that one process has open at
    once are in no order."""
    by_process: dict[str, list[Timed]] = {}
    for one in operations:
        by_process.setdefault(one.process, []).append(one)
    return _search([_in_time(own) for own in by_process.values()], what, steps, [what.initial()])


def _parts(operations: Iterable[Timed], part_of: Callable[[Any], Hashable | None] | None) -> Iterable[list[Timed]]:
    whole = list(operations)
    if part_of is None:
        return [whole]
    parts: dict[Hashable, list[Timed]] = {}
    for one in whole:
        parts.setdefault(part_of(one.call), []).append(one)
    return [whole] if None in parts else sorted(parts.values(), key=len)


# -- the search ------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Entry:
    """A call, or a return (``operation`` is None), in the list of those that are still to be placed."""

    operation: Timed | None
    number: int
    before: _Entry | None = None
    after: _Entry | None = None
    end: _Entry | None = None  # of a call its return

    def lift(self) -> None:
        """Take a call and its return out."""
        for one in (self, self.end):
            if one is not None:
                if one.before is not None:
                    one.before.after = one.after
                if one.after is not None:
                    one.after.before = one.before

    def put_back(self) -> None:
        """The inverse, in the opposite order."""
        for one in (self.end, self):
            if one is not None:
                if one.before is not None:
                    one.before.after = one
                if one.after is not None:
                    one.after.before = one


def _in_time(operations: Iterable[Timed]) -> list[tuple[Timed, bool]]:
    """(operation, whether it is its return), as time goes; what never returned has no return."""
    moments = []
    for one in operations:
        moments.append((one.called, 0, one))
        if one.returned is not None:
            moments.append((one.returned, 1, one))
    moments.sort(key=lambda moment: moment[:2])
    return [(one, bool(ends)) for _, ends, one in moments]


def _lists(moments: Sequence[Sequence[tuple[Timed, bool]]]) -> list[_Entry]:
    """Linked lists behind a head each."""
    heads, numbers = [], 0
    for own in moments:
        last = head = _Entry(None, -1)
        calls: dict[int, _Entry] = {}
        for one, ends in own:
            entry = _Entry(None if ends else one, numbers, last)
            last.after, last = entry, entry
            if ends:
                calls[id(one)].end = entry
            else:
                calls[id(one)] = entry
                numbers += 1
        heads.append(head)
    return heads


class _Placed(NamedTuple):
    """An operation that was taken: its call's entry and list, and the state before it."""

    entry: _Entry
    list: int
    state: Hashable


def _search(
    moments: Sequence[Sequence[tuple[Timed, bool]]],
    what: Sequential,
    steps: int,
    states: Iterable[Hashable],
    known: set[tuple[int, Hashable]] | None = None,
) -> Judged:
    """From one of ``states``, depth first. What real time (or a process's own) leaves open: of each list the calls
    before its first return. known: filled with what was come by, (operations that have happened as bits, state)."""
    known = set() if known is None else known
    taken = 0
    longest: tuple[Timed, ...] = ()
    for state in states:
        if (0, state) not in known:
            known.add((0, state))
            found = _from(state, moments, what, steps - taken, known)
            taken += found.steps
            longest = max(longest, found.longest, key=len)
            if found.answer is not Answer.NO:
                return Judged(found.answer, found.part, longest, taken)
    return Judged(Answer.NO, _all(moments), longest, taken)


def _from(
    state: Hashable,
    moments: Sequence[Sequence[tuple[Timed, bool]]],
    what: Sequential,
    steps: int,
    known: set[tuple[int, Hashable]],
) -> Judged:
    heads = _lists(moments)
    left = sum(ends for own in moments for _, ends in own)  # that returned, and so must be placed
    placed, bits = list[_Placed](), 0
    longest: tuple[Timed, ...] = ()
    taken, at = 0, 0
    entry = heads[0].after if heads else None
    while left:
        if entry is not None and entry.operation is not None:
            taken += 1
            if taken > steps:
                return Judged(Answer.OPEN, _all(moments), longest, taken)
            follows, result = what.apply(state, entry.operation.call)
            returns = entry.end is not None
            # what nobody was answered, and changes nothing, need not happen
            fits = result == entry.operation.result if returns else follows != state
            if fits and (made := (bits | 1 << entry.number, follows)) not in known:
                known.add(made)
                placed.append(_Placed(entry, at, state))
                bits, state = made
                entry.lift()
                left -= returns
                at, entry = 0, heads[0].after
            else:
                entry = entry.after
        elif at + 1 < len(heads):  # the first return, or the end, of a list: what follows has to wait for it
            at += 1
            entry = heads[at].after
        else:
            if len(placed) >= len(longest):
                longest = tuple(one.entry.operation for one in placed if one.entry.operation is not None)
            entry = None
            while entry is None:
                if not placed:
                    return Judged(Answer.NO, _all(moments), longest, taken)
                last, follows = placed.pop(), state
                at, state = last.list, last.state
                bits ^= 1 << last.entry.number
                last.entry.put_back()
                left += last.entry.end is not None
                if state != follows:  # else it was no worse to take it there than anywhere else
                    entry = last.entry
            entry = entry.after
    return Judged(Answer.YES, steps=taken)


def _all(moments: Sequence[Sequence[tuple[Timed, bool]]]) -> tuple[Timed, ...]:
    return tuple(one for own in moments for one, ends in own if not ends)


# -- the least that can't be ------------------------------------------------------------------------------------------


def least_contradiction(operations: Sequence[Timed], what: Sequential, steps: int = STEPS) -> tuple[Timed, ...]:
    """Of operations that are not linearizable a few that show it, none of which can be left out.

    They contradict each other whatever happened before them, that is from any state that the operations can lead to.
    First comes the shortest beginning that is not linearizable (whatever is not stays so, however it goes on); then, of
    that, the shortest end. In this each operation is let go, one after another: it may have happened at any time or not
    at all. Where what is left is a contradiction nevertheless, it has nothing to do with it.
    """
    ends = sorted({one.returned for one in operations if one.returned is not None})
    last = ends[_first(range(len(ends)), lambda place: _leads_nowhere(_until(operations, ends[place]), what, steps))]
    beginning = _until(operations, last)
    states = _states(beginning, what, steps)
    begins = sorted({one.called for one in beginning}, reverse=True)
    least = begins[
        _first(range(len(begins)), lambda place: _leads_nowhere(_since(beginning, begins[place]), what, steps, states))
    ]
    kept, free = [one for one in beginning if one.called >= least], _spanning(beginning, least)
    for one in sorted(kept, key=lambda one: one.called):
        others, freed = [other for other in kept if other is not one], _free(one, least)
        if _leads_nowhere([*others, *free, freed], what, steps // 10, states):
            kept = others
            free.append(freed)
    return tuple(sorted(kept, key=lambda one: (one.called, one.process)))


def _first(places: range, holds: Callable[[int], bool]) -> int:
    """The first place for which it holds, as it does for all that follow; the last one, if for none before it."""
    low, high = places[0], places[-1]
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _until(operations: Iterable[Timed], until: int) -> list[Timed]:
    """What had been seen by then."""
    return [
        one if one.returned is not None and one.returned <= until else one._replace(result=None, returned=None)
        for one in operations
        if one.called <= until
    ]


def _since(operations: Sequence[Timed], since: int) -> list[Timed]:
    """What was asked for from then on, and what may have happened then, asked for before."""
    return [*(one for one in operations if one.called >= since), *_spanning(operations, since)]


def _spanning(operations: Iterable[Timed], at: int) -> list[Timed]:
    return [_free(one, at) for one in operations if one.called < at and (one.returned is None or one.returned >= at)]


def _free(one: Timed, since: int) -> Timed:
    return one._replace(called=since, result=None, returned=None)


def _leads_nowhere(
    operations: Iterable[Timed], what: Sequential, steps: int, states: Iterable[Hashable] | None = None
) -> bool:
    """Whether there is no order from the initial state, or from any of ``states``."""
    begin = [what.initial()] if states is None else states
    return _search([_in_time(operations)], what, steps, begin).answer is Answer.NO


def _states(operations: Iterable[Timed], what: Sequential, steps: int) -> list[Hashable]:
    """The states that these operations can lead to, all or some of them having happened."""
    seen: set[tuple[int, Hashable]] = set()
    _search([_in_time(operations)], what, steps, [what.initial()], seen)
    return list(dict.fromkeys(state for _, state in sorted(seen, key=lambda one: one[0])))
