"""The scenario document as data: what may stand in it, with its units and defaults, and nothing of what comes of it.

docs/scenario.schema.json is made from these classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    create_model,
    field_validator,
    model_validator,
)

from testbed.faults import VERBS
from testbed.nodes.consensus.spec import READS
from testbed.nodes.core import LinkState
from testbed.nodes.core.config import PLAIN_SWAPS
from testbed.nodes.core.disk import State
from testbed.nodes.core.lies import LieKind
from testbed.nodes.core.own import EngineName as ConsensusName
from testbed.nodes.core.own import OwnEngine, OwnEngineError
from testbed.nodes.registry import engine_names, engine_spec, service_names
from testbed.own_engines import Files, engine_called, own_engine
from testbed.scenario.errors import FieldError, shown, suggestion
from testbed.scenario.fault_text import parse_order, spell_order
from testbed.scenario.neighbourhoods import ALL, OF_SOME_WIDTH
from testbed.scenario.neighbourhoods import KINDS as KINDS_OF_NEIGHBOURHOOD
from testbed.scenario.selectors import parse_selector
from testbed.scenario.units import Drift, Rate, Share, SignedTime, Size, Time, parse_time, spell_size
from testbed.topologies.base import MOST_HOSTS
from testbed.topologies.build import KINDS
from testbed.topologies.netem import INT_MAX

MOST_ROUNDS = 100_000_000
MOST_BLOWS = 10_000
_SELECTORS_DEFAULT = "default"

EngineName = Literal["sim", "vkernel", "live"]
BreakKind = Literal["split", "blocked", "late", "skew"]

# Alternatives that are built from other rooms' registries: a type checker sees plain text.
if TYPE_CHECKING:
    VerbName = str
    StateName = str
    DiskState = str
    KindOfLie = str
    ServiceName = str
    Reads = str
    NeighbourhoodKind = str
else:
    NeighbourhoodKind = Literal[KINDS_OF_NEIGHBOURHOOD]
    ServiceName = Literal[service_names()]
    Reads = Literal[READS]
    VerbName = Literal[tuple(VERBS)]
    StateName = Literal[tuple(state.value for state in LinkState)]
    DiskState = Literal[tuple(state.value for state in State)]
    KindOfLie = Literal[tuple(kind.value for kind in LieKind)]


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


def _consensus(value: object, info: ValidationInfo) -> object:
    """The name of an engine that ships, or the engine in a file of the user's: ``mine.py:Mine``."""
    if not isinstance(value, str):
        return value
    try:
        found = engine_called(value, _files(info))
    except OwnEngineError as error:
        raise ValueError(str(error)) from None
    if found is None:
        known = suggestion(value, engine_names())
        raise ValueError(f"{shown(value)} is not known here; {known}; one of your own is called mine.py:Mine")
    return found


def _files(info: ValidationInfo) -> Files:
    """The files that the document names; it stands in the present folder where nobody says where it stands."""
    return info.context if isinstance(info.context, Files) else Files()


_SHIPPED_OR_OWN = {"anyOf": [{"enum": list(engine_names())}, {"type": "string", "pattern": r"^.+\.py:[A-Za-z_]\w*$"}]}

Consensus = Annotated[
    str | OwnEngine,
    BeforeValidator(_consensus),
    WithJsonSchema(_SHIPPED_OR_OWN),
]


class CustomEngine(Part):
    """An engine of consensus in a Python file of the user's: a class, or an EngineSpec."""

    file: Annotated[str, Field(description="The file; its path counts from the scenario's directory.")]
    class_: Annotated[
        str,
        Field(
            alias="class",
            description="What in the file is the engine: a machine, an algorithm made of rounds, or an EngineSpec.",
        ),
    ]
    args: Annotated[
        dict[str, int | float | str | bool],
        Field(description="The class's own settings: its keyword-only arguments. The same as protocol.parameters."),
    ] = Field(default_factory=dict)
    _engine: OwnEngine = PrivateAttr()

    @property
    def engine(self) -> OwnEngine:
        """What is in the file."""
        return self._engine

    @model_validator(mode="after")
    def _read(self, info: ValidationInfo) -> CustomEngine:
        if not self.file.endswith(".py"):
            raise FieldError("file", f"{shown(self.file)} is no Python file; its name ends in .py")
        if not self.class_.isidentifier():
            raise FieldError("class", f"{shown(self.class_)} can be no name in a Python file")
        try:
            self._engine = own_engine(self.file, self.class_, _files(info))
        except OwnEngineError as error:
            raise FieldError("file", str(error)) from None
        return self


class CustomClass(Part):
    """A Mininet Topo class in a Python file of the user's (the path counts from the scenario's directory)."""

    file: str
    class_: str = Field(alias="class")
    args: dict[str, int | float | str | bool] = Field(default_factory=dict)


class CustomTopology(Part):
    """A fabric from a Mininet Topo class of the user's."""

    custom: CustomClass


class FromFileTopology(Part):
    """A fabric from a file: an adjacency list, GraphML, or a topology of containerlab's.

    file: its path, from the scenario's directory. format: default by the file's ending (.adj and .txt, .graphml, .yml
    and .yaml). hosts_per_switch: so many hosts are put on every switch of the file; nodes that it does not say to be
    hosts are then switches (without: a node with one link is a host, one with more a switch).
    """

    kind: Literal["from_file"]
    file: Annotated[str, Field(min_length=1)]
    format: Literal["adjacency", "graphml", "containerlab"] | None = None
    hosts_per_switch: Annotated[int, Field(ge=0, le=MOST_HOSTS)] = 0


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


TOPOLOGY_MODELS: dict[str, type[Part]] = {
    **{kind: _topology_model(kind) for kind in KINDS},
    "from_file": FromFileTopology,
    "custom": CustomTopology,
}
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
    """Delays measured by the user: a column of a table, what ping, owping or sockperf prints, or a capture in which
    (or two between which) frames are seen twice; which of these a file is, is told by what stands in it.

    delay and jitter default to the samples' mean and standard deviation. column: of a table; a name from the header, or
    a number from 1 (default: the only one that looks like delays). unit: of values that carry none (default: what the
    column's name ends with, else us). of: what a value is, a delay of one way or a round trip, of which the half is
    taken (default: rtt for ping and for sockperf's round trips). received: a second capture, in which the frames of
    the first arrive. between: the interface of the captures at which a frame is seen first, and the other.
    """

    file: Annotated[str, Field(min_length=1)]
    column: Annotated[int, Field(ge=1)] | str | None = None
    unit: Literal["ns", "us", "ms", "s"] | None = None
    of: Literal["delay", "rtt"] | None = None
    received: str | None = None
    between: Annotated[tuple[str, str], Field(strict=False)] | None = None


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

    consensus: an engine that ships, or mine.py:Mine, one in a file of the user's; custom says that at more length.
    window: W, from a round's start to its horizon. period: from one round's start (or instance's) to the next
    (default: window). rounds: how many are run, for engines made of swaps. instances: how many are run, for engines
    that are not. f: crashes to bear. retry: retransmission interval (default: window). parameters: the engine's own
    settings. participants: patterns of the hosts that take part (names, or role:server, group:pod1). neighbourhood: who
    of them is whose peer: all; tree (parent and children), groups (all of a group, and its first with those of the
    others), lattice (a grid), links (direct links only), or reach (whoever frames get to without another host between);
    default: all where all reach each other, else reach. neighbourhood_width: children in a tree (2), members of a group
    or columns of a lattice (default: the root of the participants' number).
    """

    consensus: Consensus = PLAIN_SWAPS
    custom: CustomEngine | None = None
    handshake: Literal["alternating", "simultaneous"] = "alternating"
    depth: Annotated[int, Field(ge=1, le=255)] = 4
    horizon: Literal["abort", "hold", "reconcile"] = "abort"
    window: Annotated[Time, Field(gt=0)] = 300_000
    period: Annotated[Time, Field(gt=0)] | None = None
    rounds: Annotated[int, Field(ge=1, le=MOST_ROUNDS)] | None = None
    instances: Annotated[int, Field(ge=1, le=MOST_ROUNDS)] | None = None
    f: Annotated[int, Field(ge=0)] = 0
    retry: Annotated[Time, Field(gt=0)] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    inputs: Literal["distinct", "random"] = "distinct"
    participants: Names = Field(default_factory=lambda: ["*"])
    neighbourhood: NeighbourhoodKind | None = None
    neighbourhood_width: Annotated[int, Field(ge=1, le=MOST_HOSTS)] | None = None

    @property
    def period_ns(self) -> int:
        """From one round's start to the next."""
        return self.window if self.period is None else self.period

    @property
    def engine(self) -> ConsensusName:
        """The engine that runs, by its name or whole."""
        return self.consensus if self.custom is None else self.custom.engine

    @property
    def settings(self) -> dict[str, Any]:
        """The engine's own, as they are written."""
        return self.parameters if self.custom is None else {**self.custom.args, **self.parameters}

    @property
    def counted(self) -> str:
        """What a run of this engine is so many of: ``rounds`` or ``instances``."""
        return "rounds" if engine_spec(self.engine).made_of_swaps else "instances"

    @property
    def count(self) -> int:
        """How many rounds, or instances, are run."""
        return self.rounds or self.instances or 1

    @property
    def retry_ns(self) -> int:
        """The retransmission interval."""
        return self.window if self.retry is None else self.retry

    @model_validator(mode="after")
    def _fits(self) -> Protocol:
        if self.period is not None and self.window > self.period:
            raise FieldError("window", "is longer than period; a round must end before the next begins")
        if self.custom is not None and "consensus" in self.model_fields_set:
            raise FieldError("custom", "stands beside consensus; one of them says which engine runs")
        try:
            engine_spec(self.engine)
        except OwnEngineError as error:
            where = "consensus" if self.custom is None else ("custom", "class")
            raise FieldError(where, str(error)) from None
        if self.counted == "rounds" and self.instances is not None:
            what = f"{self.engine} is made of rounds of swaps; say how many rounds: are run, in place of instances:"
            raise FieldError("instances", what)
        if self.counted == "instances" and self.rounds is not None:
            what = f"{self.engine} has no rounds of swaps; say how many instances: are run, in place of rounds:"
            raise FieldError("rounds", what)
        if self.neighbourhood_width is not None and self.neighbourhood not in OF_SOME_WIDTH:
            raise FieldError("neighbourhood_width", f"means nothing with neighbourhood {self.neighbourhood or ALL}")
        if self.handshake == "alternating" and self.depth < 2:
            raise FieldError("depth", f"must be at least 2 for an alternating handshake, not {self.depth}")
        return self


class Service(Part):
    """What the participants replicate: a state machine on a log whose entries the consensus decides.

    batch: most operations in one entry. snapshot_every: after so many entries a replica writes its state down in their
    place. reads: commands that only read stand in the log like all others; or the replica that is asked carries them
    out by its own state, once the consensus says that it is not old (by a read index, by a leader's lease), or at once
    (local), which need not be linearizable.
    """

    kind: ServiceName
    batch: Annotated[int, Field(ge=1, le=10_000)] = 64
    snapshot_every: Annotated[int, Field(ge=1, le=1_000_000)] = 64
    reads: Reads = "log"


def _as_service(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


NamedService = Annotated[Service, BeforeValidator(_as_service, json_schema_input_type=ServiceName | Service)]


class Clients(Part):
    """Hosts that ask for the service, besides the participants.

    hosts: name patterns. operations: how many each asks for. think: from an answer to the next call (closed loop).
    every: from one call to the next, answered or not, in place of think (open loop). timeout: without an answer for so
    long, the next replica is asked (default: ten windows). mix: what is asked for, the service's own settings.
    """

    hosts: Names
    operations: Annotated[int, Field(ge=1, le=MOST_ROUNDS)] = 100
    think: Time | None = None
    every: Annotated[Time, Field(gt=0)] | None = None
    timeout: Annotated[Time, Field(gt=0)] | None = None
    mix: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_loop(self) -> Clients:
        if self.think is not None and self.every is not None:
            raise FieldError("every", "stands beside think; a client waits for answers, or it does not")
        return self


class ClockSync(Part):
    """The synchronisation that a fabric would have: every clock is set at the multiples of ``every`` on the run's
    clock, to within so much of true time; how far off it is then is drawn from the run's seed."""

    every: Annotated[Time, Field(gt=0)]
    within: Time = 0


class ClockSettings(Part):
    """A host's own clock.

    offset: how far it is ahead of true time (behind, if negative) at the start; where it is synchronised, every time it
    is set. drift: how much it gains. What is left out stays as earlier patterns set it.
    """

    offset: SignedTime | None = None
    drift: Drift | None = None
    sync: ClockSync | None = None


class Trigger(Part):
    """The protocol moment at which a fault strikes, once: a link state entered or left, or so many frames sent, or
    records written.

    node: at whom, by name, role:server or group:pod1; at several, it strikes once for each. enters, leaves: a link
    state. after_sends: right after that many sends of a round. after_writes: when so many records of one life have been
    written to the node's disk, before the last is synced. round: only in this one. peer: only in the swap with this
    host. after: so much later.
    """

    node: str
    enters: StateName | None = None
    leaves: StateName | None = None
    after_sends: Annotated[int, Field(ge=1)] | None = None
    after_writes: Annotated[int, Field(ge=1)] | None = None
    round: Annotated[int, Field(ge=0)] | None = None
    peer: str | None = None
    after: Time = 0

    @model_validator(mode="after")
    def _one_moment(self) -> Trigger:
        kinds = ("enters", "leaves", "after_sends", "after_writes")
        given = [name for name in kinds if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(kinds)}, not {' and '.join(given) or 'none'}")
        if self.peer is not None and given[0].startswith("after_"):
            raise FieldError("peer", "goes with enters and leaves only; sends and writes are counted over all peers")
        if self.round is not None and self.after_writes is not None:
            raise FieldError("round", "does not go with after_writes; writes are counted over all of a life")
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


def _example(verb: str) -> str:
    """What a verb that changes links might say."""
    examples = {"delay": "delay: 1ms", "loss": "loss: 5%", "rate_limit": "rate: 10mbit"}
    return examples.get(verb, "jitter: 100us" if verb == "jitter" else f"{verb}: 1%")


class FaultOrder(LinkSettings):
    """One fault: what it does, on whom, and when (at or from an instant, or at a protocol moment). A mapping, or a line
    of text: ``at 10ms partition host1,host2 | host3``, ``when host2 enters REFLECTING: nic_down host2 for 5ms``.

    on: hosts by name pattern, role:server or group:pod1, or interfaces (host1-eth0); default with ``when``: the node of
    the moment. for: undone after this long. until: undone then, or where it happens over and over, until then. every:
    strikes again and again, so long after each other (``rolling_restart``: from host to host; ``churn``: how long a
    host is up on average). times: how often, in place of until. groups: of a partition; who shares one hears each
    other. one_way: what the first group sends does not reach the second. to: the hosts that nic_deaf is deaf to.
    direction: tx or rx for nic_half. state: what a restarted node finds on its disk: all that it had written (kept),
    what it had also synced (unsynced_lost), all but the last unsynced record, which was cut (torn), or nothing (lost,
    the default). by: how far clock_step sets a clock forward, or back; how much
    longer a slow node takes for each frame and timer. drift: what a clock gains by clock_drift.
    reroute: so long after a link or switch went down, and after it came back, switches forward around what is down.
    links: selectors of the links that go down or come up, or, for jitter, delay, loss, duplicate, corrupt and
    rate_limit, of those whose settings are others then (default: all); the link settings given here are what changes.
    """

    do: VerbName
    on: Names | None = None
    groups: Annotated[list[Names], Field(min_length=2)] | None = None
    one_way: bool | None = None
    at: Instant | None = None
    from_: Instant | None = Field(None, alias="from")
    until: Instant | None = None
    when: Trigger | None = None
    for_: Annotated[Time, Field(gt=0)] | None = Field(None, alias="for")
    every: Annotated[Time, Field(gt=0)] | None = None
    times: Annotated[int, Field(ge=1, le=MOST_BLOWS)] | None = None
    direction: Literal["tx", "rx"] | None = None
    to: Names | None = None
    state: DiskState | None = None
    by: SignedTime | None = None
    drift: Drift | None = None
    reroute: Time | None = None
    links: Names | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if isinstance(value, dict) and len(value) == 1 and str(next(iter(value))).startswith("when "):
            value = ": ".join(map(str, *value.items()))  # without quotes, YAML takes the colon of a moment for a key's
        if not isinstance(value, str):
            return value
        return parse_order(value, [field.alias or key for key, field in cls.model_fields.items()])

    def text(self) -> str:
        """The same order as a line of text."""
        return spell_order(self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True))

    @model_validator(mode="after")
    def _makes_sense(self) -> FaultOrder:
        verb = VERBS[self.do]
        if sum(begin is not None for begin in (self.at, self.from_, self.when)) != 1:
            raise ValueError("give either at: or from: (an instant) or when: (a protocol moment)")
        self._check_repeats()
        self._check_peers()
        if verb.strikes == "links":
            self._check_burst()
        elif self.settings() or (self.links and verb.strikes != "link"):
            extra = next(iter(self.settings()), "links")
            raise FieldError(extra, f"goes with jitter only, and its like; {self.do} strikes a {verb.strikes}")
        self._check_targets()
        if not verb.undo and self.do != "node_restart":
            for key, given in (("for", self.for_), ("until", self.until), ("every", self.every)):
                if given is not None:
                    raise FieldError(key, f"makes no sense with {self.do}, which nothing undoes")
        if (self.direction is None) == (self.do == "nic_half"):
            what = "is missing; nic_half needs tx or rx" if self.direction is None else "goes with nic_half only"
            raise FieldError("direction", what)
        self._check_amount()
        if self.state is not None and "node_restart" not in (self.do, verb.undo):
            raise FieldError("state", "goes with node_restart, or with node_kill and for, only")
        if self.do == "node_kill" and self.state is not None and self.for_ is None and self.until is None:
            raise FieldError("state", "makes no sense for a node that is never restarted; add for:")
        return self

    def _check_targets(self) -> None:
        strikes = VERBS[self.do].strikes
        if strikes == "link" and self.on is not None:
            raise FieldError("on", f"does not go with {self.do}; name the links with links:")
        if strikes == "link" and self.links is None:
            raise FieldError("links", f"is missing; say which links {self.do} strikes, such as leaf1<->spine1")
        if strikes == "fabric" and self.on is not None:
            raise FieldError("on", f"does not go with {self.do}, which is about all switches")
        if strikes == "switch" and self.on is None:
            raise FieldError("on", f"is missing; say which switch {self.do} strikes")
        whom_said = self.on is not None or self.when is not None or self.do in ("partition", "heal")
        if strikes in ("node", "nic") and not whom_said:
            raise FieldError("on", f"is missing; say which host {self.do} strikes")
        if self.reroute is not None and strikes not in ("link", "switch"):
            raise FieldError("reroute", "goes with link_down, link_up, switch_kill and switch_restart only")

    @property
    def amount(self) -> int:
        """How much of it: ns of ``by``, ppb of ``drift``."""
        return self.by or self.drift or 0

    def _check_amount(self) -> None:
        for key, verbs, example in (
            ("by", ("clock_step", "node_slow"), "5us"),
            ("drift", ("clock_drift",), "20ppm"),
        ):
            given = getattr(self, key)
            if self.do in verbs and not given:
                raise FieldError(key, f"is missing; say how much, such as {key}: {example}")
            if self.do not in verbs and given is not None:
                raise FieldError(key, f"goes with {' and '.join(verbs)} only")
        if self.do == "node_slow" and self.amount < 0:
            raise FieldError("by", "must be above zero; a node is slower by so much, not faster")

    def _check_repeats(self) -> None:
        """``every`` and what belongs to it: what happens over and over ends some time, and is undone in between."""
        needs_every, in_turn = self.do in ("flap", "churn", "rolling_restart"), self.do == "rolling_restart"
        if needs_every and self.every is None:
            raise FieldError("every", f"is missing; {self.do} needs it")
        if self.every is None:
            if self.times is not None:
                raise FieldError("times", "goes with every only")
            if self.for_ is not None and self.until is not None:
                raise FieldError("until", "stands beside for; an undoing has one time")
        elif in_turn and (self.until is not None or self.times is not None):
            raise FieldError(
                "times" if self.times else "until", "does not go with rolling_restart: each host has a turn"
            )
        elif self.do == "churn" and (self.until is None or self.times is not None):
            raise FieldError("until", "is missing; churn goes on from: an instant until: another")
        elif not in_turn and (self.until is None) == (self.times is None):
            raise FieldError("every", "needs an end: give either until: (with from:) or times:")
        if self.every is not None and self.for_ is None and self.do != "flap":
            raise FieldError("for", f"is missing; say how long {self.do} lasts each time")
        over_and_over = self.every is not None and self.do not in ("churn", "rolling_restart")
        if over_and_over and self.for_ is not None and self.every is not None and self.for_ >= self.every:
            raise FieldError("for", "must be shorter than every; it is undone before it strikes again")
        if self.until is not None and self.from_ is None:
            raise FieldError("until", "goes with from only")

    def _check_peers(self) -> None:
        if (self.groups is None) == (self.do == "partition"):
            what = "is missing; say who is parted from whom" if self.groups is None else "goes with partition only"
            raise FieldError("groups", what)
        if self.do == "partition" and self.on is not None:
            raise FieldError("on", "does not go with partition; name the hosts in groups:")
        if self.one_way is not None and (self.groups is None or len(self.groups) != 2):
            raise FieldError("one_way", "goes with a partition of two groups only")
        if self.to is not None and self.do not in ("nic_deaf", "nic_hear"):
            raise FieldError("to", "goes with nic_deaf and nic_hear only")
        if self.to is None and self.do == "nic_deaf":
            raise FieldError("to", "is missing; say what hosts it is deaf to, or take nic_half with direction: rx")

    def _check_burst(self) -> None:
        if self.on is not None:
            raise FieldError("on", f"does not go with {self.do}; name the links with links:")
        if self.do == "unimpair":
            for extra in self.settings():
                raise FieldError(extra, "does not go with unimpair, which gives links back what they had")
            return
        if not self.settings():
            raise ValueError(f"{self.do} changes nothing; add {_example(self.do)} or another link setting")
        needs = VERBS[self.do].needs
        if needs and not any(name in self.settings() for name in needs):
            raise FieldError(needs[0], f"is missing; say how much, such as {_example(self.do)}")


def _as_orders(value: object) -> object:
    """A text of several lines is as many orders; ``#`` begins a comment, as in the rest of the document."""
    if not isinstance(value, str):
        return value
    lines = (line.partition("#")[0].strip() for line in value.splitlines())
    return [line for line in lines if line]


class RandomFaults(Part):
    """Faults at random instants from one on until another, so many of each; ``testbed explain`` prints them as lines
    that can be pasted in their place.

    seed: of these faults (the run's own seed does not change them). crashes: hosts that die and stay dead. restarts:
    that come back, with any state. pauses, mutes: of hosts and NICs. flaps: NICs that come and go two to four times.
    partitions: one-way ones among them. slows: nodes that take 1 us to a tenth of shortest longer for each event.
    shortest, longest: how long those last that end. on: hosts by name pattern.
    """

    seed: Annotated[int, Field(ge=0, lt=2**64)]
    from_: Instant = Field("0s", alias="from")
    until: Instant
    crashes: Annotated[int, Field(ge=0, le=1000)] = 0
    restarts: Annotated[int, Field(ge=0, le=1000)] = 0
    pauses: Annotated[int, Field(ge=0, le=1000)] = 0
    mutes: Annotated[int, Field(ge=0, le=1000)] = 0
    flaps: Annotated[int, Field(ge=0, le=1000)] = 0
    partitions: Annotated[int, Field(ge=0, le=1000)] = 0
    slows: Annotated[int, Field(ge=0, le=1000)] = 0
    shortest: Annotated[Time, Field(gt=1)] = 100_000
    longest: Annotated[Time, Field(gt=1)] = 2_000_000
    on: Names = Field(default_factory=lambda: ["*"])

    @model_validator(mode="after")
    def _in_order(self) -> RandomFaults:
        if self.shortest > self.longest:
            raise FieldError("shortest", "is longer than longest")
        return self


class RandomPlan(Part):
    """Faults that are drawn instead of listed."""

    random: RandomFaults


def _faults_tag(value: object) -> str:
    return "random" if isinstance(value, dict | RandomPlan) else "list"


if TYPE_CHECKING:
    Faults = list[FaultOrder] | RandomPlan
else:
    Faults = Annotated[
        Annotated[
            Annotated[
                list[FaultOrder], BeforeValidator(_as_orders, json_schema_input_type=str | list[FaultOrder | str])
            ],
            Tag("list"),
        ]
        | Annotated[RandomPlan, Tag("random")],
        Discriminator(_faults_tag),
    ]


class LieOrder(Part):
    """One lie: what a host says that its machine does not. Verdicts bind the hosts that have none to tell.

    kind: equivocate (another value to ``to``, or to each peer its own), wrong_value (one to all), withhold (nothing to
    ``to``), silent (nothing to anybody), replay (an old message again behind each), delay (``by`` so much later). on:
    hosts by name pattern, role:server or group:pod1; default with ``when``: the node of the moment. to: the peers that
    it is told to (default: all). from, until: instants (default: all of the run); for: so long. when: the protocol
    moment of the liar's own at which it begins.
    """

    kind: KindOfLie
    on: Names | None = None
    to: Names | None = None
    from_: Instant | None = Field(None, alias="from")
    until: Instant | None = None
    for_: Annotated[Time, Field(gt=0)] | None = Field(None, alias="for")
    when: Trigger | None = None
    by: Annotated[Time, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> LieOrder:
        if self.on is None and self.when is None:
            raise FieldError("on", "is missing; say which host lies")
        if self.when is not None and (self.from_ is not None or self.until is not None):
            extra = "from" if self.from_ is not None else "until"
            raise FieldError(extra, "does not go with when; a lie that begins at a moment lasts for:, or to the end")
        if self.until is not None and self.for_ is not None:
            raise FieldError("for", "stands beside until; a lie has one end")
        if self.kind == LieKind.SILENT and self.to is not None:
            raise FieldError("to", "does not go with silent, which says nothing to anybody; take withhold")
        if self.kind == LieKind.WITHHOLD and self.to is None:
            raise FieldError("to", "is missing; say from whom it is withheld, or take silent")
        if (self.by is None) == (self.kind == LieKind.DELAY):
            what = "is missing; say how much later" if self.by is None else "goes with delay only"
            raise FieldError("by", what)
        return self


LEAST_MEMORY = 32 * 2**20  # with less the engine can't even start a node


class ContainerNodes(Part):
    """Nodes are containers. cpus: how many processors' worth of time each may take; memory: how much (default: no limit
    of its own). What a node records counts.
    """

    kind: Literal["container"]
    cpus: Annotated[float, Field(ge=0.01, le=1024)] | None = None
    memory: Size | None = None

    @field_validator("memory")
    @classmethod
    def _enough(cls, memory: int | None) -> int | None:
        if memory is not None and memory < LEAST_MEMORY:
            raise ValueError(
                f"{spell_size(memory)} are too little to start a node in; {spell_size(LEAST_MEMORY)} at least"
            )
        return memory


def _nodes_tag(value: object) -> str:
    return "mapping" if isinstance(value, dict | ContainerNodes) else "name"


Nodes = Annotated[
    Annotated[Literal["namespace", "container"], Tag("name")] | Annotated[ContainerNodes, Tag("mapping")],
    Discriminator(_nodes_tag),
]


class CaptureFiles(Part):
    """A capture file for each of these links (selectors such as leaf*<->spine*; both ends) and nodes (patterns; all
    NICs), in place of one of everything. What a run records beside them is the same.
    """

    links: Names = Field(default_factory=list)
    nodes: Names = Field(default_factory=list)

    @model_validator(mode="after")
    def _of_something(self) -> CaptureFiles:
        if not self.links and not self.nodes:
            raise ValueError("names nothing; write links: [leaf*<->spine*], nodes: [host1], or capture: true")
        return self


def _capture_tag(value: object) -> str:
    return "mapping" if isinstance(value, dict | CaptureFiles) else "flag"


Capture = Annotated[Annotated[bool, Tag("flag")] | Annotated[CaptureFiles, Tag("mapping")], Discriminator(_capture_tag)]


class Expectation(Part):
    """What the run is expected to show. kinds: exactly these kinds of breaks occur. splits, blocked: how many swaps.
    integrity, order: of a log (nothing is delivered more often than submitted, or out of the one order).
    service: whether logs agree, every result follows from them, and what is promised of them holds. operations: how
    many of those asked for returned. durability, exclusion, leadership, barrier, sums, staleness: of a service that
    promises them (docs/services.md)."""

    bisynchrony: Literal["holds", "breaks"] | None = None
    kinds: list[BreakKind] | None = None
    splits: Annotated[int, Field(ge=0)] | None = None
    blocked: Annotated[int, Field(ge=0)] | None = None
    agreement: Literal["holds", "violated"] | None = None
    validity: Literal["holds", "violated"] | None = None
    integrity: Literal["holds", "violated"] | None = None
    order: Literal["holds", "violated"] | None = None
    termination: Literal["all", "some", "none"] | None = None
    service: Literal["holds", "violated"] | None = None
    durability: Literal["holds", "violated"] | None = None
    exclusion: Literal["holds", "violated"] | None = None
    leadership: Literal["holds", "violated"] | None = None
    barrier: Literal["holds", "violated"] | None = None
    sums: Literal["holds", "violated"] | None = None
    staleness: Literal["holds", "violated"] | None = None
    operations: Literal["all", "some", "none"] | None = None
    fidelity: Literal["trusted", "not_checked", "not_trusted"] | None = None


class Written(Part):
    """A scenario as it was written: a fabric, what its links do, the protocol on its hosts, what befalls them, and what
    is expected.

    clocks: hosts' own clocks by name pattern, in order, each overriding the fields that it names; any other host
    tells true time. service: what the participants replicate, a name or a mapping. clients: who asks for it.

    links: ``default`` applies first, then the others in the order in which they are written, each overriding the
    fields that it names; a selector is host1<->leaf1, leaf*->spine*, role:spine or tier:core-aggregation. epsilon: the
    greatest skew between the two ends of a swap (default: window). settle: how long the run goes on after the last
    round (default: long enough for late frames). nodes: what a host is in live and vkernel: a plain namespace, or a
    container; sim computes both alike. switches: plain ones, which forward, or cells: nodes that speak OAE and carry
    swaps hop by hop. capture: whether it is recorded where each frame was when, and captured as pcapng; a mapping names
    the files that are wanted.
    """

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._-]+$")]
    description: str = ""
    topology: Topology
    links: dict[str, LinkSettings] = Field(default_factory=dict)
    protocol: Protocol = Protocol()
    service: NamedService | None = None
    clients: Clients | None = None
    clocks: dict[str, ClockSettings] = Field(default_factory=dict)
    faults: Faults = Field(default_factory=list)
    lies: list[LieOrder] = Field(default_factory=list)
    seed: Annotated[int, Field(ge=0, lt=2**64)] = 0
    engine: EngineName = "sim"
    nodes: Nodes = "namespace"
    switches: Literal["plain", "cells"] = "plain"
    capture: Capture = True
    epsilon: Time | None = None
    settle: Time | None = None
    expect: Expectation = Expectation()

    @model_validator(mode="after")
    def _served(self) -> Written:
        if self.clients is not None and self.service is None:
            raise FieldError("clients", "ask for nothing: there is no service; add service: kv, or another")
        if self.service is not None and self.clients is None:
            raise FieldError("service", "is asked for by nobody; add clients: {hosts: ...}")
        engine = engine_spec(self.protocol.engine)
        if self.service is not None and not engine.can_serve:
            able = [name for name in engine_names() if engine_spec(name).can_serve]
            what = f"decides a {engine.carries} at a time" if engine.decides else "decides nothing"
            raise FieldError("service", f"needs a log of bytes, and {engine.name} {what}; take {' or '.join(able)}")
        if self.service is not None and self.service.reads not in engine.read_modes:
            able = [name for name in engine_names() if self.service.reads in engine_spec(name).read_modes]
            what = f"{engine.name} reads by {' or '.join(engine.read_modes)}"
            raise FieldError(("service", "reads"), f"{what}; {self.service.reads} needs {' or '.join(able)}")
        return self

    @model_validator(mode="after")
    def _carried(self) -> Written:
        """Cells carry swaps, and nothing else."""
        if self.switches == "plain":
            return self
        engine = engine_spec(self.protocol.engine)
        if not engine.made_of_swaps:
            able = [name for name in engine_names() if engine_spec(name).made_of_swaps]
            what = (
                f"cells carry swaps, and {engine.name} is not made of them; take {', '.join(able)}, or plain switches"
            )
            raise FieldError("switches", what)
        if self.protocol.handshake != "alternating":
            raise FieldError("switches", f"cells carry alternating handshakes, not {self.protocol.handshake} ones")
        if self.service is not None:
            raise FieldError("switches", "cells carry swaps, and a service's hosts say more than that; take plain")
        if self.lies:
            raise FieldError("switches", "hosts tell no lies to cells; take plain switches, or leave out lies:")
        return self

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
