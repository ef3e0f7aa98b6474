"""Two histories of one plan from two engines, held against each other frame by frame.

Engines that share a plan share every draw, so the same frame should take the same time in both, up to the fixed cost
of crossing a real kernel. Frames are matched by FrameKey and receiver.
"""

from __future__ import annotations

from dataclasses import dataclass

from nodes.core import Resolve, SwapId
from nodes.core.record import Received, Sent
from nodes.frames import FrameKey
from testbed.history import History

PROBABILITIES = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Delays from send to receive (ns) in a reference and in another engine.

    frames: matched in both; only_reference, only_other: delivered in one of them. fixed_cost_ns: median over frames of
    other minus reference. quantiles: (probability, reference, other). excess: quantiles of the frames' differences,
    fixed cost included, as (probability, ns). worst_quantile_ns: the greatest difference between the two distributions'
    quantiles once the fixed cost is taken off. resolutions_differ: ends of swaps that ended differently.
    """

    reference: str
    other: str
    frames: int
    only_reference: int
    only_other: int
    fixed_cost_ns: float
    worst_quantile_ns: float
    quantiles: tuple[tuple[float, float, float], ...]
    excess: tuple[tuple[float, float], ...]
    resolutions: int
    resolutions_differ: int


def compare(reference: History, other: History) -> Comparison:
    """Holds ``other`` against ``reference``. Raises ValueError when they share no delivered frame."""
    ours, theirs = frame_delays(reference), frame_delays(other)
    matched = ours.keys() & theirs.keys()
    if not matched:
        raise ValueError(f"{reference.engine} and {other.engine} have no delivered frame in common")
    differences = sorted(theirs[key] - ours[key] for key in matched)
    fixed = float(_quantile(differences, 0.5))
    one, two = sorted(ours.values()), sorted(theirs.values())
    quantiles = tuple((p, float(_quantile(one, p)), float(_quantile(two, p))) for p in PROBABILITIES)
    ends, other_ends = _last_resolutions(reference), _last_resolutions(other)
    everywhere = ends.keys() | other_ends.keys()
    return Comparison(
        reference=reference.engine,
        other=other.engine,
        frames=len(matched),
        only_reference=len(ours) - len(matched),
        only_other=len(theirs) - len(matched),
        fixed_cost_ns=fixed,
        worst_quantile_ns=max(abs(b - a - fixed) for _, a, b in quantiles),
        quantiles=quantiles,
        excess=tuple((p, float(_quantile(differences, p))) for p in (0.0, *PROBABILITIES, 1.0)),
        resolutions=len(everywhere),
        resolutions_differ=sum(ends.get(end) != other_ends.get(end) for end in everywhere),
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


def _last_resolutions(history: History) -> dict[tuple[str, SwapId], str]:
    rows = history.events.of_kind(Resolve)
    return {(node, what.swap): what.outcome for _, node, what in rows if isinstance(what, Resolve)}


def _quantile(ordered: list[int], p: float) -> int:
    return ordered[min(len(ordered) - 1, int(p * len(ordered)))]
