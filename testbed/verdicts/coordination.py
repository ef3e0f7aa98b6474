"""What services promise of coordination, judged by what clients asked for and were told alone.

Each checker is a pure function of operations and their facts (testbed.nodes.services.facts); it knows no service. It
gives a sentence for each contradiction. Before and after are those of real time: an operation is before another when it
returned before that one was called. An operation that never returned accuses nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from typing import NamedTuple, TypeVar

from testbed.nodes.services.facts import (
    Contributed,
    Entered,
    Fact,
    Granted,
    Holds,
    Left,
    Pulled,
    Pushed,
    Reduced,
    Wrote,
)


class Observed(NamedTuple):
    """One operation. process: a life of a client. asked: what the call says; told: what it came to. returned_ns: None
    when it never did."""

    name: str
    process: str
    called_ns: int
    returned_ns: int | None
    asked: tuple[Fact, ...]
    told: tuple[Fact, ...]


Checker = Callable[[Sequence[Observed]], list[str]]
F = TypeVar("F", bound=Fact)
_Held = tuple[Observed, Granted | Holds]


def exclusion(operations: Sequence[Observed]) -> list[str]:
    """Mutual exclusion with fencing: a token has one holder, later grants have higher ones, and what is guarded takes
    nothing that is written under a token after something under a higher one, or by somebody else than its holder."""
    found = leadership(operations)
    granted = {(fact.what, fact.token): one.process for one, fact in _told(operations, Granted)}
    for one, fact in _told(operations, Wrote):
        holder = granted.get((fact.what, fact.token))
        if holder != one.process and holder is not None:
            found.append(f"{one.name} wrote to {fact.what} under token {fact.token}, which was given to {holder}")
    newest = _Highest()
    for one, fact in _in_time(_told(operations, Wrote)):
        other = newest.before(fact.what, one.called_ns)
        if other is not None and fact.token < other[0]:
            found.append(
                f"{one.name} wrote to {fact.what} under token {fact.token} after {other[1]} had under token {other[0]}"
            )
        newest.add(fact.what, one, fact.token)
    return found


def leadership(operations: Sequence[Observed]) -> list[str]:
    """A token, or a term, has one holder, and later grants have higher ones."""
    found: dict[str, None] = {}
    holders: dict[tuple[str, int], tuple[str, str]] = {}
    for one, fact in chain[_Held](_told(operations, Granted), _told(operations, Holds)):
        known = holders.setdefault((fact.what, fact.token), (fact.holder, one.name))
        if known[0] != fact.holder:
            told = f"{known[0]} by {known[1]} and {fact.holder} by {one.name}"
            found[f"{fact.what} is held under {fact.token} by two: {told}"] = None
    grants: dict[tuple[str, int], str] = {}
    newest = _Highest()
    for one, fact in _in_time(_told(operations, Granted)):
        known_name = grants.setdefault((fact.what, fact.token), one.name)
        if known_name != one.name:
            found[f"{fact.what} was given under {fact.token} twice, by {known_name} and by {one.name}"] = None
        other = newest.before(fact.what, one.called_ns)
        if other is not None and fact.token < other[0]:
            found[f"{one.name} was given {fact.what} under {fact.token} after {other[1]} had been under {other[0]}"] = (
                None
            )
        newest.add(fact.what, one, fact.token)
    return list(found)


def barrier(operations: Sequence[Observed]) -> list[str]:
    """Nobody leaves a round before all have entered it: what counts is when they asked to."""
    entered: dict[int, dict[int, int]] = {}
    of: dict[int, int] = {}
    for one, fact in _asked(operations, Entered):
        workers = entered.setdefault(fact.round, {})
        workers[fact.worker] = min(one.called_ns, workers.get(fact.worker, one.called_ns))
        of[fact.round] = fact.of
    found = []
    for one, left in _told(operations, Left):
        assert one.returned_ns is not None, "it was told"
        there = entered.get(left.round, {})
        missing = [w for w in range(of.get(left.round, 1)) if there.get(w, one.returned_ns) >= one.returned_ns]
        if missing:
            found.append(f"{one.name} left round {left.round} before {_workers(missing)} had entered it")
    return found


def sums(operations: Sequence[Observed]) -> list[str]:
    """The sum of a round is that of what each worker contributed to it, once. A worker says the same in each life."""
    contributed: dict[int, dict[int, tuple[int, ...]]] = {}
    for _, fact in _asked(operations, Contributed):
        contributed.setdefault(fact.round, {}).setdefault(fact.worker, fact.values)
    found = []
    for one, reduced in _told(operations, Reduced):
        due = _total(contributed.get(reduced.round, {}).values())
        if due != reduced.values:
            told = f"{_numbers(reduced.values)} as the sum of round {reduced.round}"
            found.append(f"{one.name} was told {told}; what was contributed comes to {_numbers(due)}")
    return found


def staleness(operations: Sequence[Observed]) -> list[str]:
    """A model lacks no more iterations than its worker bears, and is made of what it says, each gradient once."""
    pushed: dict[int, dict[int, tuple[int, tuple[int, ...]]]] = {}
    for one, fact in _in_time(_asked(operations, Pushed)):
        pushed.setdefault(fact.worker, {}).setdefault(fact.iteration, (one.called_ns, fact.values))
    made = {worker: _sums_of_first(gradients) for worker, gradients in pushed.items()}
    found = []
    for one, pulled in _told(operations, Pulled):
        assert one.returned_ns is not None, "it was told"
        behind = [w for w, clock in enumerate(pulled.clocks) if clock < pulled.iteration - pulled.staleness]
        if behind:
            lag = f"{pulled.iteration} with a model that lacks more than {pulled.staleness} iterations"
            found.append(f"{one.name} is in iteration {lag} of {_workers(behind)}")
        known = [(made.get(worker, _NONE), clock) for worker, clock in enumerate(pulled.clocks)]
        if any(clock >= len(its) or its[clock][0] >= one.returned_ns for its, clock in known):
            found.append(f"{one.name} was given a model with what nobody had pushed")
        elif _total(its[clock][1] for its, clock in known) != pulled.values:
            found.append(f"{one.name} was given a model that is not the sum of what it says is in it")
    return found


_NONE: list[tuple[int, tuple[int, ...]]] = [(-1, ())]


def _sums_of_first(gradients: Mapping[int, tuple[int, tuple[int, ...]]]) -> list[tuple[int, tuple[int, ...]]]:
    """Of the first 0, 1, .. iterations that were pushed: when the last one was, and the sum."""
    found = list(_NONE)
    while len(found) - 1 in gradients:
        called_ns, values = gradients[len(found) - 1]
        latest_ns, total = found[-1]
        found.append((max(latest_ns, called_ns), _total([total, values])))
    return found


def _total(values: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(map(sum, zip_longest(*values, fillvalue=0)))


def _numbers(values: tuple[int, ...]) -> str:
    return ",".join(map(str, values)) or "nothing"


def _workers(numbers: Sequence[int]) -> str:
    return f"worker{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


class _Highest:
    """Of each thing, the highest number that was told before a given time; asked in the order of time."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[tuple[int, int, str]]] = {}
        self.highest: dict[str, tuple[int, str]] = {}

    def add(self, what: str, one: Observed, number: int) -> None:
        assert one.returned_ns is not None, "it was told"
        self.waiting.setdefault(what, []).append((one.returned_ns, number, one.name))

    def before(self, what: str, called_ns: int) -> tuple[int, str] | None:
        """The number, and whose it was."""
        over = [item for item in self.waiting.get(what, ()) if item[0] < called_ns]
        self.waiting[what] = [item for item in self.waiting.get(what, ()) if item[0] >= called_ns]
        known = [*([self.highest[what]] if what in self.highest else ()), *((number, name) for _, number, name in over)]
        if known:
            self.highest[what] = max(known)
        return self.highest.get(what)


def _told(operations: Iterable[Observed], kind: type[F]) -> Iterator[tuple[Observed, F]]:
    for one in operations:
        for fact in one.told if one.returned_ns is not None else ():
            if isinstance(fact, kind):
                yield one, fact


def _asked(operations: Iterable[Observed], kind: type[F]) -> Iterator[tuple[Observed, F]]:
    for one in operations:
        for fact in one.asked:
            if isinstance(fact, kind):
                yield one, fact


def _in_time(facts: Iterable[tuple[Observed, F]]) -> list[tuple[Observed, F]]:
    """By their calls."""
    return sorted(facts, key=lambda item: item[0].called_ns)


PROPERTIES: dict[str, Checker] = {
    "exclusion": exclusion,
    "leadership": leadership,
    "barrier": barrier,
    "sums": sums,
    "staleness": staleness,
}
"""What services may promise (ServiceSpec.properties), each with its checker."""
