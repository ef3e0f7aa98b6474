"""What the clients of a service saw in one run, and what it cost the members to serve them."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, NamedTuple

from testbed.history import History
from testbed.nodes.core import Invoke, Return
from testbed.nodes.core.record import Sent
from testbed.plan import Plan
from testbed.quantiles import quantile


class Load(NamedTuple):
    """operations: that were asked for. latencies_ns: of each that was answered. slowest_ns: the longest that any was
    waited for. outage_ns: the longest that somebody waited and nobody was answered. messages: that members sent until
    the last answer (to the end, where some are missing). attempts: (rounds, ballots or terms, decisions that took so
    many)."""

    operations: int
    latencies_ns: tuple[int, ...]
    slowest_ns: int
    outage_ns: int
    messages: int
    attempts: tuple[tuple[int, int], ...] = ()

    @staticmethod
    def from_json(data: list[Any]) -> Load:
        """Of the list that JSON makes of one."""
        load = Load(*data)
        attempts = tuple((number, count) for number, count in load.attempts)
        return load._replace(latencies_ns=tuple(load.latencies_ns), attempts=attempts)

    @property
    def unanswered(self) -> int:
        """Operations that were not answered by the end."""
        return self.operations - len(self.latencies_ns)

    def waited_ns(self, share: float) -> float:
        """What this share of the operations was waited for at most; infinite, where so many were not answered."""
        if not self.operations:
            return 0.0
        return quantile([*sorted(self.latencies_ns), *(inf,) * self.unanswered], share)

    def messages_per_answer(self) -> float:
        """Infinite, where nothing was answered."""
        return self.messages / len(self.latencies_ns) if self.latencies_ns else inf

    def attempts_per_decision(self) -> float:
        """Rounds, ballots or terms that a decision took, on average; infinite, where nothing was decided."""
        decisions = sum(count for _, count in self.attempts)
        return sum(number * count for number, count in self.attempts) / decisions if decisions else inf


def seen_by_clients(plan: Plan, history: History, attempts: Mapping[int, int]) -> Load:
    """Of a run in which everything is recorded. What is unanswered by its end was waited for until then. attempts:
    rounds to decide -> decisions."""
    members = {plan.names[number] for number in plan.members}
    called: dict[int, int] = {}
    latencies: list[int] = []
    operations = outage_ns = slowest_ns = since_ns = over_ns = 0
    for t_ns, _, what in history.events.of_kind(Invoke, Return):
        if isinstance(what, Invoke):
            since_ns = since_ns if called else t_ns
            called[what.operation] = t_ns
            operations += 1
        elif isinstance(what, Return) and what.operation in called:
            latencies.append(t_ns - called.pop(what.operation))
            outage_ns, since_ns, over_ns = max(outage_ns, t_ns - since_ns), t_ns, t_ns
    if called:
        over_ns = plan.duration_ns
        outage_ns = max(outage_ns, over_ns - since_ns)
        slowest_ns = over_ns - min(called.values())
    messages = sum(t_ns <= over_ns and node in members for t_ns, node, _ in history.events.of_kind(Sent))
    slowest_ns = max([slowest_ns, *latencies])
    return Load(operations, tuple(latencies), slowest_ns, outage_ns, messages, tuple(sorted(attempts.items())))
