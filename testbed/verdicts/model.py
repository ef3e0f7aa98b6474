"""The verdicts as data."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from testbed.nodes.frames import FrameKey


@dataclass(frozen=True, slots=True)
class Break:
    """One swap that broke bisynchrony in one round.

    link: ``host1<->host2``. kind: split | blocked | late | skew. cause: late | lost | crashed | corrupted | paused |
    slow | clock | unknown. frame: the frame that caused it, ``host1>host2 round 17 step 3 (#412)``. hop: the interface
    where it was lost or held up (``leaf1-eth2``), empty when nothing was captured. detail: a sentence with the figures.
    key: which frame that is, when it was sent.
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
class LinkSwaps:
    """What became of the swaps that cells carry on one link (``host1<->leaf1``), between the two nodes there: counts as
    Bisynchrony.swaps has them."""

    link: str
    swaps: dict[str, int]


@dataclass(frozen=True, slots=True)
class Bisynchrony:
    """Rounds judged, rounds broken. swaps counts outcomes over all rounds: committed, aborted (both atomic), split,
    blocked, excluded (an end was not alive). breaks lists every broken swap; broken_rounds the rounds, each once.
    links: the same swaps link by link, where cells carry them."""

    rounds: int
    broken_rounds: tuple[int, ...]
    swaps: dict[str, int]
    breaks: tuple[Break, ...]
    links: tuple[LinkSwaps, ...] = ()

    @property
    def holds(self) -> bool:
        """True when no round broke."""
        return not self.broken_rounds


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One consensus instance whose deciders differ (or one node that decided twice): node -> values decided."""

    instance: int
    decisions: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Consensus:
    """Agreement, validity, termination over all instances of a run.

    disagreements: see Disagreement. invalid: (instance, node, value) decided but proposed by nobody. decided: instances
    in which every node that lived through the instance decided in its time. undecided: in which one did not. cut_off:
    whose time the run's end cut off before all had decided. connected: instances decided, in their time, by every node
    that lived through them and was connected all through (Timeline.connected); None: not counted. later: undecided ones
    that every node that lived through them decided all the same, by the run's end. rounds_to_decide: rounds needed
    (1-based within the instance) -> how many decisions.

    In a log: ``instances`` counts submissions, by their order in time from 0 on; one is decided when it is delivered
    everywhere in its time. Disagreements and what is invalid go by the entry. rounds_to_decide: the term that brought
    an entry there -> how many deliveries. repeated: a sentence for each value delivered more often than it was
    submitted; disordered: for each delivery out of the log's order. of: what is counted.
    """

    instances: int
    disagreements: tuple[Disagreement, ...]
    invalid: tuple[tuple[int, str, str], ...]
    decided: int
    undecided: tuple[int, ...]
    cut_off: tuple[int, ...]
    rounds_to_decide: dict[int, int]
    of: str = "instances"
    repeated: tuple[str, ...] = ()
    disordered: tuple[str, ...] = ()
    connected: int | None = None
    later: int = 0


class Seen(NamedTuple):
    """An operation as its client saw it: what it asked for and was told, in words, and when (ns; None: not by the
    end)."""

    client: str
    call: str
    called_ns: int
    result: str
    returned_ns: int | None


LINEARIZABLE, SEQUENTIAL = "linearizable", "sequentially consistent"
"""What clients may see of a service, see testbed.verdicts.linearizability."""


@dataclass(frozen=True, slots=True)
class Service:
    """What became of a service. entries: of its log. done, open: operations that returned, or that had not by the end.

    latency_ns: from call to result, at the probabilities in ``at`` (none when nothing returned). violations: a sentence
    for each contradiction among the logs, and between them and what clients were told. contradiction: where what
    clients saw is not linearizable, a few operations that show it, whether or not that was promised. unchecked: what
    was not checked, and why. consistency: of what clients saw, what was judged and whether it is so, the promised
    first. properties: what else was promised and whether it held: ``durability`` (nothing that a client was told of is
    lost), and what the service itself promises (ServiceSpec.properties).
    """

    name: str
    entries: int
    done: int
    open: int
    at: tuple[float, ...]
    latency_ns: tuple[int, ...]
    violations: tuple[str, ...]
    contradiction: tuple[Seen, ...]
    unchecked: tuple[str, ...]
    consistency: dict[str, bool] = field(default_factory=dict)
    properties: dict[str, bool] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether nothing contradicts anything."""
        return not self.violations


@dataclass(frozen=True, slots=True)
class DirectionFidelity:
    """One link direction, realised against asked (ns). n: delays compared; quantiles at the probabilities in ``at``.

    direction: ``host1>leaf1``; where nothing was captured on the way, ``host1>..>host3`` for all of it; after a fault
    that changed its impairments, those are named as well. loss: of frames that entered it. remark: what was not checked
    here, and why. shows_*: the least deviations that would have shown here (see Power).
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
    shows_shift_ns: float | None = None
    shows_late: float = 1.0
    shows_lost: float = 1.0


@dataclass(frozen=True, slots=True)
class Power:
    """The least deviations that the run would have shown, all but once in a thousand times.

    On the direction on which they show least (``direction``, with so many ``frames``): shift_ns longer delays of all
    its frames (None: no shift shows there), the share ``late`` of frames that come later than can be, the share
    ``lost`` of frames beyond those asked for. everywhere_ns: longer delays of all frames of the run.
    """

    direction: str
    frames: int
    shift_ns: float | None
    late: float
    lost: float
    everywhere_ns: float | None


def power_words(power: Power) -> str:
    """One line for people."""
    shift = f"{power.shift_ns:,.0f} ns longer delays" if power.shift_ns is not None else "no longer delays"
    everywhere = f"; on every frame, {power.everywhere_ns:,.0f} ns longer" if power.everywhere_ns is not None else ""
    return (
        f"would have shown {shift}, {power.late:.2g} of frames too late or {power.lost:.2g} more lost "
        f"on {power.direction} ({power.frames:,} frames), where it shows least{everywhere}"
    )


class Trust(StrEnum):
    """The three answers. What was not checked does not read ``trusted``."""

    TRUSTED = "trusted"
    NOT_CHECKED = "not_checked"
    NOT_TRUSTED = "not_trusted"

    @property
    def words(self) -> str:
        """As people read it."""
        return self.value.replace("_", " ")


def answer(reasons: Collection[str], unchecked: Collection[str]) -> Trust:
    """The answer that these make."""
    return Trust.NOT_TRUSTED if reasons else Trust.NOT_CHECKED if unchecked else Trust.TRUSTED


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Whether the measurement itself can be trusted.

    reasons: why not, one sentence each; none unless ``not_trusted``. unchecked: what was not checked and why, one
    sentence each; none when ``trusted``. left_waiting: frames that came in at a node and went with it as it was killed
    before it handled them (known where hops were captured). overrun: frames for which the NIC of a node that was paused
    or slow had no room left. power: None when no frame was compared.
    """

    answer: Trust
    reasons: tuple[str, ...]
    unchecked: tuple[str, ...]
    fixed_cost_ns: float
    timer_lag_max_ns: int
    limit_drops: int
    left_waiting: int = 0
    overrun: int = 0
    power: Power | None = None
    directions: tuple[DirectionFidelity, ...] = ()

    @property
    def trusted(self) -> bool:
        """True when all was checked and nothing was off."""
        return self.answer is Trust.TRUSTED


@dataclass(frozen=True, slots=True)
class Verdicts:
    """All verdicts on one run. consensus is None when the protocol proposes nothing, service when there is none. lies:
    how many each node that had some to tell has told, by kind; none of the verdicts binds these nodes."""

    name: str
    engine: str
    seed: int
    complete: bool
    bisynchrony: Bisynchrony
    consensus: Consensus | None
    fidelity: Fidelity
    notes: tuple[str, ...] = field(default=())
    service: Service | None = None
    lies: dict[str, dict[str, int]] = field(default_factory=dict)

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
                    tuple(LinkSwaps(entry["link"], dict(entry["swaps"])) for entry in rounds.get("links", ())),
                ),
                "consensus": _consensus(data["consensus"]) if data["consensus"] else None,
                "fidelity": Fidelity(
                    **{
                        **fidelity,
                        "answer": Trust(fidelity["answer"]),
                        "reasons": tuple(fidelity["reasons"]),
                        "unchecked": tuple(fidelity["unchecked"]),
                        "power": Power(**fidelity["power"]) if fidelity["power"] else None,
                        "directions": tuple(
                            DirectionFidelity(**{name: _tuples(value) for name, value in entry.items()})
                            for entry in fidelity["directions"]
                        ),
                    }
                ),
                "notes": tuple(data["notes"]),
                "service": _service(data["service"]) if data["service"] else None,
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
            "repeated": tuple(data.get("repeated", ())),
            "disordered": tuple(data.get("disordered", ())),
            "rounds_to_decide": {int(rounds): count for rounds, count in data["rounds_to_decide"].items()},
        }
    )


def _service(data: dict[str, Any]) -> Service:
    listed = {name: _tuples(value) for name, value in data.items()}
    return Service(**{**listed, "contradiction": tuple(Seen(*one) for one in data["contradiction"])})


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
