"""What clients of a service lose, and which loss comes first: their deadline, the service for a while, or one truth.

deadline: some operation of a run was answered later than that, or was still unanswered after so long. availability: for
at least the length of an outage somebody waited and nobody was answered. agreement: the verdicts on the run found a
contradiction: decisions, entries, or what clients were told.

A run suffers a loss or does not, and runs are independent, so that the shares of runs have exact intervals. A loss
comes between two values of the sweep: at the lower one fewer than ``probability`` of the runs suffer it, at the higher
one more, and both are certain at the study's confidence, all values of the sweep taken together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from testbed.history import History
from testbed.nodes.core import Invoke, Return
from testbed.nodes.core.record import Sent
from testbed.plan import Plan
from testbed.quantiles import quantile
from testbed.study.statistics import clopper_pearson
from testbed.study.trials import Trial, summed
from testbed.verdicts.model import Consensus, Service

DEADLINE, AVAILABILITY, AGREEMENT = "deadline", "availability", "agreement"
LOSSES = (DEADLINE, AVAILABILITY, AGREEMENT)


# -- of a run ---------------------------------------------------------------------------------------------------------


class Load(NamedTuple):
    """What clients saw in one run. latencies_ns: of each operation that was answered. slowest_ns: the longest that any
    was waited for. outage_ns: the longest that somebody waited and nobody was answered. messages: that members sent
    until the last answer (to the end, where some are missing)."""

    operations: int
    latencies_ns: tuple[int, ...]
    slowest_ns: int
    outage_ns: int
    messages: int


def seen_by_clients(plan: Plan, history: History) -> Load:
    """Of a run in which everything is recorded. What is unanswered by its end was waited for until then."""
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
    return Load(operations, tuple(latencies), max([slowest_ns, *latencies]), outage_ns, messages)


def contradiction(service: Service | None, consensus: Consensus | None) -> str:
    """The first contradiction that was found in a run, in a sentence; empty: none."""
    if consensus is not None:
        for item in consensus.disagreements:
            return f"{item.instance} is decided in more than one way by {', '.join(item.decisions)}"
        for instance, node, value in consensus.invalid:
            return f"{node} decided {value} in {instance}, and nobody proposed it"
        for told in (*consensus.repeated, *consensus.disordered):
            return told
    return service.violations[0] if service is not None and service.violations else ""


# -- of many ----------------------------------------------------------------------------------------------------------


class Share(NamedTuple):
    """Runs that suffered a loss, of so many, and the interval of the probability."""

    suffered: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LossRow:
    """One point. crashes: whether the study's crashes were put in. losses: of each kind, in how many runs. latency_ns:
    the median and the 0.99 quantile over all answered operations (None: none was). outage_ns: the median over runs.
    attempts: rounds, ballots or terms that a decision took, on average (None: nothing was decided). totals: see
    results.Row."""

    x: float
    crashes: bool
    losses: Mapping[str, Share]
    operations: int
    unanswered: int
    messages_per_answer: float | None
    latency_ns: tuple[int, int] | None
    outage_ns: int
    attempts: float | None
    contradiction: tuple[int, str] | None
    totals: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Flat but for the losses: a row is a row of a table."""
        own = {name: getattr(self, name) for name in self.__slots__ if name not in ("losses", "totals")}
        return {**own, "losses": {kind: share._asdict() for kind, share in self.losses.items()}, **self.totals}


def loss_row(
    x: float, crashes: bool, trials: Sequence[Trial], deadline_ns: int, outage_ns: int, confidence: float
) -> LossRow:
    """Of the trials at one point. confidence: of each interval."""
    runs = sum(len(trial.seeds) for trial in trials)
    suffered = {
        DEADLINE: _count(trials, lambda trial: (one > deadline_ns for one in trial.slowest_ns)),
        AVAILABILITY: _count(trials, lambda trial: (one >= outage_ns for one in trial.outages_ns)),
        AGREEMENT: sum(len(trial.contradicted) for trial in trials),
    }
    latencies = sorted(one for trial in trials for one in trial.latencies_ns)
    outages = sorted(one for trial in trials for one in trial.outages_ns)
    operations, messages = (sum(getattr(trial, name) for trial in trials) for name in ("operations", "messages"))
    attempts: Counter[int] = Counter()
    for trial in trials:
        attempts.update({int(number): count for number, count in trial.attempts.items()})
    decisions = attempts.total()
    return LossRow(
        x=x,
        crashes=crashes,
        losses={kind: Share(count, *clopper_pearson(count, runs, confidence)) for kind, count in suffered.items()},
        operations=operations,
        unanswered=operations - len(latencies),
        messages_per_answer=messages / len(latencies) if latencies else None,
        latency_ns=(quantile(latencies, 0.5), quantile(latencies, 0.99)) if latencies else None,
        outage_ns=quantile(outages, 0.5),
        attempts=sum(number * count for number, count in attempts.items()) / decisions if decisions else None,
        contradiction=next((one for trial in trials for one in trial.contradicted), None),
        totals=summed(trials),
    )


def _count(trials: Iterable[Trial], lost: Callable[[Trial], Iterable[bool]]) -> int:
    return sum(sum(lost(trial)) for trial in trials)


@dataclass(frozen=True, slots=True)
class Lost:
    """Where a loss comes. before: the highest value of the sweep below ``at`` at which it is certain not to be there
    yet (None: at none). at: the lowest at which it is certain to be there (None: nowhere in the sweep)."""

    before: float | None
    at: float | None


class LostUnder(NamedTuple):
    """Without, or with crashes: where each kind of loss comes, and which is first (lost_first)."""

    crashes: bool
    where: Mapping[str, Lost]
    first: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        where = {kind: asdict(found) for kind, found in self.where.items()}
        return {"crashes": self.crashes, "where": where, "first": list(self.first)}


def where_lost(rows: Sequence[LossRow], kind: str, probability: float) -> Lost:
    """rows: of one condition. See the module's words on what is certain."""
    ordered = sorted(rows, key=lambda row: row.x)
    at = next((row.x for row in ordered if row.losses[kind].low > probability), None)
    spared = [row.x for row in ordered if row.losses[kind].high < probability and (at is None or row.x < at)]
    return Lost(spared[-1] if spared else None, at)


def lost_first(found: Mapping[str, Lost]) -> tuple[str, ...]:
    """The kinds that come at the lowest value; several when the sweep does not tell them apart, none if nothing is
    lost."""
    least = min((one.at for one in found.values() if one.at is not None), default=None)
    return tuple(kind for kind, one in found.items() if least is not None and one.at == least)


def each_confidence(confidence: float, points: int) -> float:
    """Of each of so many intervals that are to hold together (Bonferroni)."""
    return 1 - (1 - confidence) / points
