"""What each side of a partition got while it lasted: who was answered, who had to wait, and whether they agree.

What a member proposes is its question, and what it decides there its answer: in an engine that decides instance by
instance the instance's decision, in one that keeps a log the entry with the value that it submitted. Asked are those
questions that were put in the first half of the partition, so that there was as long again to answer them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from testbed.history import History
from testbed.nodes.consensus.spec import INSTANCES
from testbed.nodes.core import Decide, Install, Propose
from testbed.nodes.registry import engine_spec
from testbed.plan import Plan
from testbed.verdicts.timeline import Span, Timeline, hearing_groups


@dataclass(frozen=True, slots=True)
class Side:
    """hosts: who hear each other. asked: questions that they put; in_time: answered before the partition ended; later:
    after it. longest_ns: how long anybody waited for an answer in time (None: nobody got one)."""

    hosts: tuple[str, ...]
    asked: int
    in_time: int
    later: int
    longest_ns: int | None


@dataclass(frozen=True, slots=True)
class Sides:
    """since_ns, until_ns: the first partition of the run. sides: the greater ones first. before_ns: the longest wait
    before it."""

    since_ns: int
    until_ns: int
    sides: tuple[Side, ...]
    before_ns: int | None


class _Question(NamedTuple):
    node: str
    t_ns: int
    answered_ns: int | None


def judge_sides(plan: Plan, history: History) -> Sides | None:
    """None when there was no partition."""
    timeline = Timeline(plan, history)
    spans = [span for found in timeline.deaf.values() for span in found]
    if not spans:
        return None
    first = min(spans)
    until_ns = min(first.until_ns, timeline.end_ns)
    half_ns = (first.since_ns + until_ns) // 2
    questions = list(_questions(plan, history))
    members = [plan.fabric.hosts[number] for number in plan.members]
    sides = []
    for hosts in _groups(members, timeline, first.since_ns):
        asked = [one for one in questions if one.node in hosts and first.since_ns <= one.t_ns < half_ns]
        answers = [one.answered_ns for one in asked if one.answered_ns is not None]
        waits = _waits([one for one in asked if one.answered_ns is not None and one.answered_ns < until_ns])
        in_time = sum(answer < until_ns for answer in answers)
        sides.append(Side(hosts, len(asked), in_time, len(answers) - in_time, max(waits, default=None)))
    before = _waits([one for one in questions if one.t_ns < first.since_ns])
    sides.sort(key=lambda side: (-len(side.hosts), side.hosts))
    return Sides(first.since_ns, until_ns, tuple(sides), max(before, default=None))


def _waits(questions: list[_Question]) -> list[int]:
    return [one.answered_ns - one.t_ns for one in questions if one.answered_ns is not None]


def _groups(members: list[str], timeline: Timeline, at_ns: int) -> Iterator[tuple[str, ...]]:
    """Members that hear each other at an instant, each with all that it can reach over others."""

    def covers(spans: list[Span]) -> bool:
        return any(span.meets(at_ns, at_ns) for span in spans)

    parted = {(host, peer) for (host, _, peer), spans in timeline.deaf.items() if covers(spans)}
    return map(tuple, hearing_groups(members, parted))


def _questions(plan: Plan, history: History) -> Iterator[_Question]:
    if engine_spec(plan.protocol.consensus).order == INSTANCES:
        yield from _of_instances(history)
    else:
        yield from _of_a_log(history)


def _of_instances(history: History) -> Iterator[_Question]:
    asked: dict[tuple[str, int], int] = {}
    answered: dict[tuple[str, int], int] = {}
    for event in history.events.of_kind(Propose, Decide):
        assert isinstance(event.what, Propose | Decide)
        times = asked if isinstance(event.what, Propose) else answered
        times.setdefault((event.node, event.what.instance), event.t_ns)
    for (node, instance), t_ns in asked.items():
        yield _Question(node, t_ns, answered.get((node, instance)))


def _of_a_log(history: History) -> Iterator[_Question]:
    """A value may also come in a state that stands for the first entries."""
    asked: list[tuple[str, int, bytes]] = []
    answered: dict[tuple[str, bytes], int] = {}
    installed: dict[str, list[tuple[int, int]]] = {}
    entries: dict[bytes, int] = {}
    for event in history.events.of_kind(Propose, Decide, Install):
        what = event.what
        if isinstance(what, Propose):
            asked.append((event.node, event.t_ns, what.value))
        elif isinstance(what, Decide):
            answered.setdefault((event.node, what.value), event.t_ns)
            entries.setdefault(what.value, what.instance)
        elif isinstance(what, Install):
            installed.setdefault(event.node, []).append((what.below, event.t_ns))
    for node, t_ns, value in asked:
        yield _Question(node, t_ns, answered.get((node, value), _in_state(installed, node, entries.get(value))))


def _in_state(installed: Mapping[str, list[tuple[int, int]]], node: str, entry: int | None) -> int | None:
    """When a node took on a state in which the entry is."""
    if entry is None:
        return None
    return next((t_ns for below, t_ns in installed.get(node, ()) if below > entry), None)
