"""What a space-time diagram shows, step by step: what happens next, and what each node knows after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from testbed.history import Event, History
from testbed.nodes.core import Decide, Resolve, SwapId, Transition
from testbed.nodes.core.record import Died, Started, Struck
from testbed.plan import Plan
from testbed.report.spacetime import (
    Flight,
    columns_of,
    decisions_of,
    flights_of,
    letters_of,
    nanoseconds,
    proposals_of,
    states_of,
)
from testbed.verdicts.model import Break, Disagreement
from testbed.verdicts.values import value_text

_KNOWS = {
    "IDLE": "knows nothing of this swap",
    "TENTATIVE": "has offered its own value, holds none of the other end",
    "REFLECTING": "holds the other end's value and has sent it back",
    "COMMITTED": "holds the other end's value, and has committed",
    "ABORTED": "has given up and keeps its own value",
    "IN_DOUBT": "can't know whether the other end committed",
}
_ENDED = {"committed": "COMMITTED", "aborted": "ABORTED", "in_doubt": "IN_DOUBT"}
_DEAD = "has crashed"


class Step(NamedTuple):
    """t_ns: on the run's clock; at: since the beginning of what is shown, for people. knows: node -> what it knows when
    this has happened."""

    t_ns: int
    at: str
    said: str
    knows: dict[str, str]


class _Happening(NamedTuple):
    """knows: what becomes known to whom."""

    t_ns: int
    said: str
    knows: dict[str, str]


def swap_steps(plan: Plan, history: History, broken: Break) -> list[Step]:
    """Of a broken swap: its messages, the states of its ends and of the cells between them, what struck them."""
    low, high = broken.link.split("<->")
    number = {name: place for place, name in enumerate(history.names)}
    swap = SwapId(broken.round, number[low], number[high])
    begin_ns, until_ns = broken.round * plan.protocol.period_ns, (broken.round + 1) * plan.protocol.period_ns
    flights = flights_of(plan, history, swap)
    columns = columns_of(plan, history, flights, swap)
    ends = columns if plan.cells else [low, high]
    found = [_Happening(begin_ns + plan.protocol.window_ns, "the window ends", {})]
    found += [said for flight in flights for said in _of_flight(flight)]
    states = [event for event in states_of(history, swap) if event.node in ends]
    resolved = {
        (event.node, event.t_ns, str(event.what.outcome)) for event in states if isinstance(event.what, Resolve)
    }
    found += [said for event in states for said in _of_state(event) if not _said_twice(event, resolved)]
    found += _faults(history, set(columns), begin_ns, until_ns)
    lived = _alive(history, begin_ns)
    knows = {node: _KNOWS["IDLE"] if node in lived else _DEAD for node in ends}
    last_ns = max([until_ns, *(time for flight in flights for time, _ in flight.points)])
    return _in_order([one for one in found if one.t_ns <= last_ns], begin_ns, knows)


def instance_steps(plan: Plan, history: History, found: Disagreement) -> list[Step]:
    """Of an instance that disagrees: who heard whom in each round, who decided what, who crashed."""
    letters, protocol = letters_of(plan, history, found), plan.protocol
    begin_ns = found.instance * protocol.instance_rounds * protocol.period_ns
    decisions = decisions_of(history, found.instance)
    until_ns = max([begin_ns + protocol.instance_rounds * protocol.period_ns, *(event.t_ns for event in decisions)])
    members = {plan.fabric.hosts[member] for member in plan.members}
    told = list(_heard(history, found.instance * protocol.instance_rounds, protocol.instance_rounds, members))
    for event in decisions:
        assert isinstance(event.what, Decide)
        value = value_text(plan, event.what.value)
        words = f"decides {letters.get(value, value)}"
        told.append(_Happening(event.t_ns, f"{event.node} {words}", {event.node: words.replace("decides", "decided")}))
    told += _faults(history, members, begin_ns, until_ns + 1)
    for event in history.events.of_kind(Died):
        if begin_ns <= event.t_ns <= until_ns and event.node in members:
            told.append(_Happening(event.t_ns, f"{event.node} crashes", {event.node: _DEAD}))
    lived = _alive(history, begin_ns)
    proposed = {
        node: f"proposed {letters.get(value, value)}" for node, value in proposals_of(plan, history, found.instance)
    }
    names = [plan.fabric.hosts[member] for member in plan.members]
    knows = {node: proposed.get(node, "proposed nothing") if node in lived else _DEAD for node in names}
    return _in_order(told, begin_ns, knows)


def _in_order(found: list[_Happening], begin_ns: int, knows: dict[str, str]) -> list[Step]:
    steps = []
    for one in sorted(found, key=lambda one: one.t_ns):
        knows = {**knows, **{node: what for node, what in one.knows.items() if node in knows}}
        steps.append(Step(one.t_ns, nanoseconds(one.t_ns - begin_ns), one.said, knows))
    return steps


def _of_flight(flight: Flight) -> Iterator[_Happening]:
    step = f"message {flight.sent.step}"
    yield _Happening(flight.t_ns, f"{flight.sender} sends {step} to {flight.receiver}", {})
    if flight.arrived:
        yield _Happening(flight.points[-1][0], f"{step} comes in at {flight.receiver}", {})
    elif flight.lost:
        why = "" if flight.lost.what == "lost" else f": {flight.lost.what}"
        yield _Happening(flight.lost.t_ns, f"{step} is lost at {flight.lost.nic}{why}", {})


def _of_state(event: Event) -> Iterator[_Happening]:
    what = event.what
    if isinstance(what, Transition):
        state = str(what.new)
        yield _Happening(event.t_ns, f"{event.node} is {state.lower().replace('_', ' ')}", {event.node: _KNOWS[state]})
    elif isinstance(what, Resolve):
        said = f"{event.node} ends: {what.outcome.replace('_', ' ')}"
        yield _Happening(event.t_ns, said, {event.node: _KNOWS[_ENDED[what.outcome]]})
    else:
        yield _Happening(event.t_ns, f"{event.node} crashes", {event.node: _DEAD})


def _said_twice(event: Event, resolved: set[tuple[str, int, str]]) -> bool:
    """Whether the end's resolution at the same instant says what this says."""
    return isinstance(event.what, Transition) and (event.node, event.t_ns, event.what.new.lower()) in resolved


def _faults(history: History, nodes: set[str], from_ns: int, until_ns: int) -> Iterator[_Happening]:
    for event in history.events.of_kind(Struck):
        if isinstance(event.what, Struck) and event.node in nodes and from_ns <= event.t_ns < until_ns:
            yield _Happening(event.t_ns, f"fault {event.what.fault}, {event.what.verb}, strikes {event.node}", {})


def _heard(history: History, first: int, rounds: int, members: set[str]) -> Iterator[_Happening]:
    """Of each round and node: with whom its swaps committed, when the last of them has ended."""
    table = history.events.table(Resolve)
    heard: dict[tuple[int, str], tuple[int, list[str], list[str]]] = {}
    chosen = (table["swap_round"] >= first) & (table["swap_round"] < first + rounds)
    for event in table.take(chosen).rows():
        if not isinstance(event.what, Resolve) or event.node not in members:
            continue
        low, high = (history.names[node] for node in event.what.swap[1:])
        _, yes, no = heard.get((event.what.swap.round, event.node), (0, [], []))
        (yes if event.what.outcome == "committed" else no).append(high if event.node == low else low)
        heard[event.what.swap.round, event.node] = (event.t_ns, yes, no)
    for (round_, node), (t_ns, yes, no) in heard.items():
        said = f"round {round_}: {node} hears {', '.join(sorted(yes)) or 'nobody'}"
        said += f", not {', '.join(sorted(no))}" if no else ""
        yield _Happening(t_ns, said, {node: f"heard {', '.join(sorted(yes)) or 'nobody'} in round {round_}"})


def _alive(history: History, at_ns: int) -> set[str]:
    """Who had started by then and not died since."""
    alive: set[str] = set()
    for event in history.events.of_kind(Started, Died):
        if event.t_ns < at_ns or (event.t_ns == at_ns and isinstance(event.what, Started)):
            (alive.add if isinstance(event.what, Started) else alive.discard)(event.node)
    return alive
