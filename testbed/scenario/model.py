"""The scenario document as data: what may stand in it, with its units and defaults. docs/scenario.schema.json is made
from these classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    create_model,
    field_validator,
    model_validator,
)

from nodes.core import LinkState
from nodes.core.config import PLAIN_SWAPS
from nodes.registry import engine_names
from testbed.faults import VERBS
from testbed.scenario.document import Document
from testbed.scenario.errors import FieldError
from testbed.scenario.selectors import parse_selector
from testbed.scenario.units import Rate, Share, Time, parse_time
from topologies.base import MOST_HOSTS
from topologies.build import KINDS
from topologies.netem import INT_MAX

MOST_ROUNDS = 100_000_000
_SELECTORS_DEFAULT = "default"

EngineName = Literal["sim", "vkernel", "live"]
BreakKind = Literal["split", "blocked", "late", "skew"]

# Alternatives that are built from other rooms' registries: a type checker sees plain text.
if TYPE_CHECKING:
    VerbName = str
    StateName = str
    Consensus = str
else:
    Consensus = Literal[engine_names()]
    VerbName = Literal[tuple(VERBS)]
    StateName = Literal[tuple(state.value for state in LinkState)]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    BeforeValidator(_as_list, json_schema_input_type=str | list[str]),
    Field(min_length=1),
]
"""One name pattern or a list of them."""


class Part(BaseModel):
    """A mapping in the document: no unknown keys, no silent conversions."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class CustomClass(Part):
    """A Mininet Topo class in a Python file of the user's (the path counts from the scenario's directory)."""

    file: str
    class_: str = Field(alias="class")
    args: dict[str, int | float | str | bool] = Field(default_factory=dict)


class CustomTopology(Part):
    """A fabric from a Mininet Topo class of the user's."""

    custom: CustomClass


def _topology_model(kind: str) -> type[Part]:
    fields: dict[str, Any] = {
        name: (Annotated[int, Field(ge=1, le=MOST_HOSTS)], default) for name, default in KINDS[kind].parameters.items()
    }
    return create_model(
        "".join(word.capitalize() for word in kind.split("_")) + "Topology",
        __base__=Part,
        __module__=__name__,
        __doc__=KINDS[kind].description,
        **{"kind": (Literal[kind], ...), **fields},
    )


TOPOLOGY_MODELS: dict[str, type[Part]] = {**{kind: _topology_model(kind) for kind in KINDS}, "custom": CustomTopology}
globals().update({model.__name__: model for model in TOPOLOGY_MODELS.values()})  # pickle looks them up here


def _topology_tag(value: object) -> str | None:
    if isinstance(value, Part):
        return str(getattr(value, "kind", "custom"))
    if not isinstance(value, dict):
        return None
    kind = "custom" if "custom" in value else value.get("kind")
    return kind if isinstance(kind, str) else None


if TYPE_CHECKING:
    Topology = Part
else:
    Topology = Annotated[
        Union[tuple(Annotated[model, Tag(name)] for name, model in TOPOLOGY_MODELS.items())],  # noqa: UP007
        Discriminator(_topology_tag),
    ]


class BurstLoss(Part):
    """Gilbert-Elliott loss: p good to bad, r bad to good (per frame), and the loss in either state."""

    p: Share
    r: Share
    loss_bad: Share = 1.0
    loss_good: Share = 0.0


class MeasuredDelays(Part):
    """Delays measured by the user: a CSV column, or a capture in which (or two between which) frames are seen twice.

    delay and jitter default to the samples' mean and standard deviation. column: a name from the header, or a number
    from 1. unit: of values that carry none.
    """

    file: str
    column: Annotated[int, Field(ge=1)] | str = 1
    unit: Literal["ns", "us", "ms", "s"] = "us"
    received: str | None = None


def _distribution_tag(value: object) -> str:
    return "file" if isinstance(value, dict | MeasuredDelays) else "name"


Distribution = Annotated[
    Annotated[Literal["uniform", "normal", "pareto", "paretonormal"], Tag("name")]
    | Annotated[MeasuredDelays, Tag("file")],
    Discriminator(_distribution_tag),
]


class LinkSettings(Part):
    """What a selector sets on link directions; what it leaves out stays as earlier selectors set it.

    jitter: half the width for uniform, the standard deviation otherwise. order: fifo keeps frames in order. limit:
    frames that the direction can hold (default: computed). rate includes preamble, FCS and gap, and keeps the order.
    """

    delay: Time | None = None
    jitter: Annotated[Time, Field(le=INT_MAX)] | None = None
    distribution: Distribution | None = None
    correlation: Share | None = None
    loss: Share | None = None
    loss_correlation: Share | None = None
    burst_loss: BurstLoss | None = None
    duplicate: Share | None = None
    corrupt: Share | None = None
    order: Literal["free", "fifo"] | None = None
    rate: Rate | None = None
    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    @model_validator(mode="after")
    def _one_loss(self) -> LinkSettings:
        if self.loss and self.burst_loss:
            raise FieldError("burst_loss", "stands beside loss; a direction has one or the other")
        return self

    def settings(self) -> dict[str, Any]:
        """The fields that are set, by name."""
        return {name: getattr(self, name) for name in LinkSettings.model_fields if getattr(self, name) is not None}


class Protocol(Part):
    """The machine on every participant.

    window: W, from a round's start to its horizon. period: from one round's start to the next (default: window).
    rounds: how many are run; for paxos and ben_or, how many instances. f: crashes to bear. retry: retransmission
    interval (default: window). parameters: the engine's own settings. participants: name patterns of the hosts that
    take part.
    """

    consensus: Consensus = PLAIN_SWAPS
    handshake: Literal["alternating", "simultaneous"] = "alternating"
    depth: Annotated[int, Field(ge=1, le=255)] = 4
    horizon: Literal["abort", "hold", "reconcile"] = "abort"
    window: Annotated[Time, Field(gt=0)] = 300_000
    period: Annotated[Time, Field(gt=0)] | None = None
    rounds: Annotated[int, Field(ge=1, le=MOST_ROUNDS)] = 1
    f: Annotated[int, Field(ge=0)] = 0
    retry: Annotated[Time, Field(gt=0)] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    inputs: Literal["distinct", "random"] = "distinct"
    participants: Names = Field(default_factory=lambda: ["*"])

    @property
    def period_ns(self) -> int:
        """From one round's start to the next."""
        return self.window if self.period is None else self.period

    @property
    def retry_ns(self) -> int:
        """The retransmission interval."""
        return self.window if self.retry is None else self.retry

    @model_validator(mode="after")
    def _fits(self) -> Protocol:
        if self.period is not None and self.window > self.period:
            raise FieldError("window", "is longer than period; a round must end before the next begins")
        if self.handshake == "alternating" and self.depth < 2:
            raise FieldError("depth", f"must be at least 2 for an alternating handshake, not {self.depth}")
        return self


class Trigger(Part):
    """The protocol moment at which a fault strikes, once: a link state entered or left, or so many frames sent.

    node: at whom. enters, leaves: a link state. after_sends: right after that many sends of a round. round: only in
    this one. peer: only in the swap with this host. after: so much later.
    """

    node: str
    enters: StateName | None = None
    leaves: StateName | None = None
    after_sends: Annotated[int, Field(ge=1)] | None = None
    round: Annotated[int, Field(ge=0)] | None = None
    peer: str | None = None
    after: Time = 0

    @model_validator(mode="after")
    def _one_moment(self) -> Trigger:
        given = [name for name in ("enters", "leaves", "after_sends") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of enters, leaves, after_sends, not {' and '.join(given) or 'none'}")
        if self.peer is not None and self.after_sends is not None:
            raise FieldError("peer", "goes with enters and leaves only; sends are counted over all peers")
        return self


def _instant(value: object) -> object:
    """``10ms``, or ``round 17``, or ``round 17 + 20us``: kept as text, split into a round and a time later."""
    if not isinstance(value, str) or not value.strip().startswith("round"):
        parse_time(value)
        return value
    number, plus, later = value.strip().removeprefix("round").partition("+")
    if not number.strip().isdecimal() or len(number.strip()) > 12:
        raise ValueError(f"{value!r} is no instant; write 10ms, round 17 or round 17 + 20us")
    if plus:
        parse_time(later)
    return value


Instant = Annotated[
    str | int | float,
    BeforeValidator(_instant),
]


def instant_ns(value: str | int | float, period_ns: int) -> int:
    """An instant on the run's clock (ns)."""
    if not isinstance(value, str) or not value.strip().startswith("round"):
        return parse_time(value)
    number, plus, later = value.strip().removeprefix("round").partition("+")
    return int(number) * period_ns + (parse_time(later) if plus else 0)


class FaultOrder(LinkSettings):
    """One fault: what it does, on whom, and when (at an instant, or at a protocol moment).

    on: hosts by name pattern, or interfaces (host1-eth0); default with ``when``: the node of the moment. for: undone
    after this long. direction: tx or rx for nic_half. keep_state: whether a restarted node finds its state.
    links: selectors for jitter (default: all links); the other link settings are what jitter changes there.
    """

    do: VerbName
    on: Names | None = None
    at: Instant | None = None
    when: Trigger | None = None
    for_: Annotated[Time, Field(gt=0)] | None = Field(None, alias="for")
    direction: Literal["tx", "rx"] | None = None
    keep_state: bool | None = None
    links: Names | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> FaultOrder:
        verb = VERBS[self.do]
        if (self.at is None) == (self.when is None):
            raise ValueError("give either at: (an instant) or when: (a protocol moment)")
        if verb.strikes == "links":
            self._check_burst()
        elif self.settings() or self.links:
            extra = next(iter(self.settings()), "links")
            raise FieldError(extra, f"goes with jitter only; {self.do} strikes a {verb.strikes}")
        if verb.strikes != "links" and self.on is None and self.when is None:
            raise FieldError("on", f"is missing; say which host {self.do} strikes")
        if self.for_ is not None and not verb.undo and self.do != "node_restart":
            raise FieldError("for", f"makes no sense with {self.do}, which nothing undoes")
        if (self.direction is None) == (self.do == "nic_half"):
            what = "is missing; nic_half needs tx or rx" if self.direction is None else "goes with nic_half only"
            raise FieldError("direction", what)
        if self.keep_state is not None and self.do not in ("node_restart", "node_kill"):
            raise FieldError("keep_state", "goes with node_restart, or with node_kill and for, only")
        if self.do == "node_kill" and self.keep_state is not None and self.for_ is None:
            raise FieldError("keep_state", "makes no sense for a node that is never restarted; add for:")
        return self

    def _check_burst(self) -> None:
        if self.on is not None:
            raise FieldError("on", "does not go with jitter; name the links with links:")
        if not self.settings():
            raise ValueError("jitter changes nothing; add jitter: 100us or another link setting")


class Expectation(Part):
    """What the run is expected to show. kinds: exactly these kinds of breaks occur. splits, blocked: how many swaps."""

    bisynchrony: Literal["holds", "breaks"] | None = None
    kinds: list[BreakKind] | None = None
    splits: Annotated[int, Field(ge=0)] | None = None
    blocked: Annotated[int, Field(ge=0)] | None = None
    agreement: Literal["holds", "violated"] | None = None
    validity: Literal["holds", "violated"] | None = None
    termination: Literal["all", "some", "none"] | None = None
    fidelity: Literal["trusted", "untrusted"] | None = None


class Scenario(Part):
    """One scenario: a fabric, what its links do, the protocol on its hosts, what befalls them, what is expected.

    links: ``default`` applies first, then the others in the order in which they are written, each overriding the
    fields that it names. epsilon: the greatest skew between the two ends of a swap (default: window). settle: how long
    the run goes on after the last round (default: long enough for late frames).
    """

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._-]+$")]
    description: str = ""
    topology: Topology
    links: dict[str, LinkSettings] = Field(default_factory=dict)
    protocol: Protocol = Protocol()
    faults: list[FaultOrder] = Field(default_factory=list)
    seed: Annotated[int, Field(ge=0, lt=2**64)] = 0
    engine: EngineName = "sim"
    capture: bool = True
    epsilon: Time | None = None
    settle: Time | None = None
    expect: Expectation = Expectation()

    _document: Document | None = PrivateAttr(default=None)
    _base_dir: Path = PrivateAttr(default=Path())
    _resolved: Any = PrivateAttr(default=None)  # kept by testbed.scenario.resolve

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        # What was worked out can be worked out again; workers need not be sent it.
        private = state.get("__pydantic_private__") or {}
        return {**state, "__pydantic_private__": {**private, "_resolved": None}}

    @field_validator("links")
    @classmethod
    def _selectors(cls, links: dict[str, LinkSettings]) -> dict[str, LinkSettings]:
        for text in links:
            if text != _SELECTORS_DEFAULT:
                try:
                    parse_selector(text)
                except ValueError as error:
                    raise FieldError(text, str(error)) from None
        return links

    @property
    def base_dir(self) -> Path:
        """The directory from which paths in the scenario count."""
        return self._base_dir

    @property
    def document(self) -> Document:
        """What the user wrote, with its lines; made up when the scenario came from elsewhere."""
        if self._document is None:
            data = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
            return Document(data, self.name, {})
        return self._document

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed but probably not meant, one line each."""
        from testbed.scenario.resolve import resolve

        return resolve(self).warnings

    def with_override(self, path: str, value: Any) -> Scenario:
        """The same scenario with the value at a dotted path replaced: see testbed.scenario.load.override."""
        from testbed.scenario.load import override

        return override(self, path, value)
