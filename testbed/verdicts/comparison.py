"""Two histories of one plan from two engines, held against each other frame by frame and event row by event row.

Engines that share a plan share every draw. Between two in virtual time every row is the same, to the nanosecond; on a
wall clock a frame also takes what crossing a real kernel costs. Frames are matched by FrameKey and receiver.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from testbed.history import Event, History
from testbed.nodes.core import Resolve, SwapId
from testbed.nodes.core.record import Received, Sent
from testbed.nodes.frames import FrameKey
from testbed.quantiles import quantile

_SHOWN = 6
PROBABILITIES = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Delays from send to receive (ns) in a reference and in another engine.

    frames: matched in both; only_reference, only_other: delivered in one of them. frames_same: those that left and
    arrived at the same instants in both. fixed_cost_ns: median over frames of other minus reference. quantiles:
    (probability, reference, other). excess: quantiles of the frames' differences, fixed cost included, as (probability,
    ns). worst_quantile_ns: the greatest difference between the two distributions' quantiles once the fixed cost is
    taken off. resolutions_differ: ends of swaps that ended differently. rows: events in either; rows_differ: those that
    the other lacks; parts_ns, parts_at: the first instant at which they differ, and what is there (-1 and nothing when
    none does).
    """

    reference: str
    other: str
    frames: int
    frames_same: int
    only_reference: int
    only_other: int
    fixed_cost_ns: float
    worst_quantile_ns: float
    quantiles: tuple[tuple[float, float, float], ...]
    excess: tuple[tuple[float, float], ...]
    resolutions: int
    resolutions_differ: int
    rows: int
    rows_differ: int
    parts_ns: int
    parts_at: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether the two are one run."""
        return self.rows_differ == 0


def compare(reference: History, other: History) -> Comparison:
    """Holds ``other`` against ``reference``. Raises ValueError when they share no delivered frame."""
    ours, theirs = frame_delays(reference), frame_delays(other)
    arrivals, other_arrivals = _arrivals(reference), _arrivals(other)
    matched = ours.keys() & theirs.keys()
    if not matched:
        raise ValueError(f"{reference.engine} and {other.engine} have no delivered frame in common")
    differences = sorted(theirs[key] - ours[key] for key in matched)
    fixed = float(quantile(differences, 0.5))
    one, two = sorted(ours.values()), sorted(theirs.values())
    quantiles = tuple((p, float(quantile(one, p)), float(quantile(two, p))) for p in PROBABILITIES)
    ends, other_ends = _last_resolutions(reference), _last_resolutions(other)
    everywhere = ends.keys() | other_ends.keys()
    rows, lacking = _rows_apart(reference, other)
    parts_ns = min((event.t_ns for _, event in lacking), default=-1)
    told = [f"only {engine}: {event.node} {event.what}" for engine, event in lacking if event.t_ns == parts_ns]
    return Comparison(
        reference=reference.engine,
        other=other.engine,
        frames=len(matched),
        frames_same=sum(ours[key] == theirs[key] and arrivals[key] == other_arrivals[key] for key in matched),
        only_reference=len(ours) - len(matched),
        only_other=len(theirs) - len(matched),
        fixed_cost_ns=fixed,
        worst_quantile_ns=max(abs(b - a - fixed) for _, a, b in quantiles),
        quantiles=quantiles,
        excess=tuple((p, float(quantile(differences, p))) for p in (0.0, *PROBABILITIES, 1.0)),
        resolutions=len(everywhere),
        resolutions_differ=sum(ends.get(end) != other_ends.get(end) for end in everywhere),
        rows=rows,
        rows_differ=len(lacking),
        parts_ns=parts_ns,
        parts_at=tuple(told[:_SHOWN]),
    )


def frame_delays(history: History) -> dict[tuple[str, FrameKey], int]:
    """(receiver, frame) -> ns from its sending to its first arrival at the receiver's NIC."""
    sent: dict[FrameKey, int] = {}
    delays: dict[tuple[str, FrameKey], int] = {}
    for t_ns, node, what in history.events.of_kind(Sent, Received):
        if isinstance(what, Sent):
            sent[what.key] = t_ns
        elif isinstance(what, Received) and what.key in sent:
            delays.setdefault((node, what.key), what.at_ns - sent[what.key])
    return delays


def _arrivals(history: History) -> dict[tuple[str, FrameKey], int]:
    """(receiver, frame) -> when it first arrived at the receiver's NIC."""
    arrivals: dict[tuple[str, FrameKey], int] = {}
    for _, node, what in history.events.of_kind(Received):
        if isinstance(what, Received):
            arrivals.setdefault((node, what.key), what.at_ns)
    return arrivals


def _rows_apart(reference: History, other: History) -> tuple[int, list[tuple[str, Event]]]:
    """How many rows there are in either, and those that only one has, with its engine. A row may stand there twice."""
    ours, theirs = (Counter((type(event.what), event) for event in history.events) for history in (reference, other))
    apart = [(reference.engine, event) for _, event in (ours - theirs).elements()]
    apart += [(other.engine, event) for _, event in (theirs - ours).elements()]
    return sum((ours | theirs).values()), apart


def _last_resolutions(history: History) -> dict[tuple[str, SwapId], str]:
    rows = history.events.of_kind(Resolve)
    return {(node, what.swap): what.outcome for _, node, what in rows if isinstance(what, Resolve)}
