"""What clients of a service lose, and which loss comes first: their deadline, the service for a while, or one truth.

deadline: some operation of a run was answered later than that, or was still unanswered after so long. availability: for
at least the length of an outage somebody waited and nobody was answered. agreement: the verdicts on the run found a
contradiction: decisions, entries, or what clients were told.

A run suffers a loss or does not, and runs are independent, so that the shares of runs have exact intervals. What
clients waited and what it cost is told alike: each run has one figure, and of the median run there is an exact
interval, whatever the figures' law. (Of all operations together there is none: those of a run depend on each other.)

A loss comes between two values of the sweep: at the lower one fewer than ``probability`` of the runs suffer it, at the
higher one more, and both are certain at the study's confidence, all values of the sweep taken together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, NamedTuple

from testbed.quantiles import quantile
from testbed.study.load import Load
from testbed.study.statistics import clopper_pearson, quantile_interval
from testbed.study.trials import Trial, summed
from testbed.verdicts.model import Consensus, Service

DEADLINE, AVAILABILITY, AGREEMENT = "deadline", "availability", "agreement"
LOSSES = (DEADLINE, AVAILABILITY, AGREEMENT)


# -- of a run ---------------------------------------------------------------------------------------------------------


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


class Typical(NamedTuple):
    """A figure of which each run has one, as the median run has it, and the interval of that median. None: beyond all
    bounds. Then the median run has none (nobody was answered, nothing was decided), or the interval does not end on
    that side."""

    value: float | None
    low: float | None
    high: float | None


def typical(figures: Iterable[float], confidence: float) -> Typical:
    """Of one figure of each run, infinite where it has none."""
    ordered = sorted(figures)
    told = (quantile(ordered, 0.5), *quantile_interval(ordered, 0.5, confidence))
    return Typical(*(one if isfinite(one) else None for one in told))


@dataclass(frozen=True, slots=True)
class LossRow:
    """One point. crashes: whether the study's crashes were put in. losses: of each kind, in how many runs. median_ns,
    p99_ns: what half of a run's operations, and 99 in 100, were waited for at most. outage_ns, messages (an answer),
    attempts (a decision): see Load. totals: see results.Row."""

    x: float
    crashes: bool
    losses: Mapping[str, Share]
    operations: int
    unanswered: int
    median_ns: Typical
    p99_ns: Typical
    outage_ns: Typical
    messages: Typical
    attempts: Typical
    contradiction: tuple[int, str] | None
    totals: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Flat but for shares and figures with their intervals: a row is a row of a table."""
        own = {name: getattr(self, name) for name in self.__slots__ if name not in ("losses", "totals")}
        told = {name: one._asdict() if isinstance(one, Typical) else one for name, one in own.items()}
        return {**told, "losses": {kind: share._asdict() for kind, share in self.losses.items()}, **self.totals}


def loss_row(
    x: float, crashes: bool, trials: Sequence[Trial], deadline_ns: int, outage_ns: int, confidence: float
) -> LossRow:
    """Of the trials at one point. confidence: of each interval."""
    loads = [load for trial in trials for load in trial.loads]
    suffered = {
        DEADLINE: sum(load.slowest_ns > deadline_ns for load in loads),
        AVAILABILITY: sum(load.outage_ns >= outage_ns for load in loads),
        AGREEMENT: sum(len(trial.contradicted) for trial in trials),
    }

    def told(figure: Callable[[Load], float]) -> Typical:
        return typical(map(figure, loads), confidence)

    return LossRow(
        x=x,
        crashes=crashes,
        losses={
            kind: Share(count, *clopper_pearson(count, len(loads), confidence)) for kind, count in suffered.items()
        },
        operations=sum(load.operations for load in loads),
        unanswered=sum(load.unanswered for load in loads),
        median_ns=told(lambda load: load.waited_ns(0.5)),
        p99_ns=told(lambda load: load.waited_ns(0.99)),
        outage_ns=told(lambda load: load.outage_ns),
        messages=told(Load.messages_per_answer),
        attempts=told(Load.attempts_per_decision),
        contradiction=next((one for trial in trials for one in trial.contradicted), None),
        totals=summed(trials),
    )


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
