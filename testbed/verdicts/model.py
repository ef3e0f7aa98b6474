"""The verdicts as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from nodes.frames import FrameKey


@dataclass(frozen=True, slots=True)
class Break:
    """One swap that broke bisynchrony in one round.

    link: ``host1<->host2``. kind: split | blocked | late | skew. cause: late | lost | crashed | corrupted | paused |
    unknown. frame: the frame that caused it, ``host1>host2 round 17 step 3 (#412)``. hop: the interface where it was
    lost or held up (``leaf1-eth2``), empty when nothing was captured. detail: a sentence with the figures. key: which
    frame that is, when it was sent.
    """

    round: int
    link: str
    kind: str
    cause: str
    frame: str
    hop: str
    detail: str
    key: FrameKey | None = None


@dataclass(frozen=True, slots=True)
class Bisynchrony:
    """Rounds judged, rounds broken. swaps counts outcomes over all rounds: committed, aborted (both atomic), split,
    blocked, excluded (an end was not alive). breaks lists every broken swap; broken_rounds the rounds, each once."""

    rounds: int
    broken_rounds: tuple[int, ...]
    swaps: dict[str, int]
    breaks: tuple[Break, ...]

    @property
    def holds(self) -> bool:
        """True when no round broke."""
        return not self.broken_rounds


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One consensus instance whose deciders differ (or one node that decided twice): node -> values decided."""

    instance: int
    decisions: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Consensus:
    """Agreement, validity, termination over all instances of a run.

    disagreements: see Disagreement. invalid: (instance, node, value) decided but proposed by nobody. decided: instances
    in which every node that lived through the instance decided in its time. undecided: in which one did not. cut_off:
    whose time the run's end cut off before all had decided. rounds_to_decide: rounds needed (1-based within the
    instance) -> how many decisions.
    """

    instances: int
    disagreements: tuple[Disagreement, ...]
    invalid: tuple[tuple[int, str, int], ...]
    decided: int
    undecided: tuple[int, ...]
    cut_off: tuple[int, ...]
    rounds_to_decide: dict[int, int]


@dataclass(frozen=True, slots=True)
class DirectionFidelity:
    """One link direction, realised against asked (ns). n frames; quantiles at the probabilities in ``at``.

    direction: ``host1>leaf1``; where nothing was captured on the way, ``host1>..>host3`` for all of it. loss: of frames
    that entered it, corrupted ones among them when the direction corrupts. remark: what was not checked here, and why.
    """

    direction: str
    n: int
    at: tuple[float, ...]
    asked_ns: tuple[float, ...]
    realised_ns: tuple[float, ...]
    fixed_cost_ns: float
    loss_asked: float
    loss_realised: float
    ok: bool
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Whether the measurement itself can be trusted. reasons: why not, one sentence each; empty when trusted."""

    trusted: bool
    reasons: tuple[str, ...]
    fixed_cost_ns: float
    timer_lag_max_ns: int
    limit_drops: int
    directions: tuple[DirectionFidelity, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdicts:
    """All verdicts on one run. consensus is None when the protocol proposes nothing."""

    name: str
    engine: str
    seed: int
    complete: bool
    bisynchrony: Bisynchrony
    consensus: Consensus | None
    fidelity: Fidelity
    notes: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Verdicts:
        """The inverse of to_dict, also after a way through JSON (which turns tuples to lists and keys to text)."""
        rounds, fidelity = data["bisynchrony"], data["fidelity"]
        return Verdicts(
            **{
                **data,
                "bisynchrony": Bisynchrony(
                    rounds["rounds"],
                    tuple(rounds["broken_rounds"]),
                    dict(rounds["swaps"]),
                    tuple(_break(entry) for entry in rounds["breaks"]),
                ),
                "consensus": _consensus(data["consensus"]) if data["consensus"] else None,
                "fidelity": Fidelity(
                    **{
                        **fidelity,
                        "reasons": tuple(fidelity["reasons"]),
                        "directions": tuple(
                            DirectionFidelity(**{name: _tuples(value) for name, value in entry.items()})
                            for entry in fidelity["directions"]
                        ),
                    }
                ),
                "notes": tuple(data["notes"]),
            }
        )


def _break(data: dict[str, Any]) -> Break:
    return Break(**{**data, "key": FrameKey(*data["key"]) if data["key"] else None})


def _consensus(data: dict[str, Any]) -> Consensus:
    return Consensus(
        **{
            **data,
            "disagreements": tuple(
                Disagreement(entry["instance"], {node: tuple(values) for node, values in entry["decisions"].items()})
                for entry in data["disagreements"]
            ),
            "invalid": tuple((instance, node, value) for instance, node, value in data["invalid"]),
            "undecided": tuple(data["undecided"]),
            "cut_off": tuple(data["cut_off"]),
            "rounds_to_decide": {int(rounds): count for rounds, count in data["rounds_to_decide"].items()},
        }
    )


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
