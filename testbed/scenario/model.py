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

from testbed import plugins
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


def shown_as(*examples: dict[str, Any]) -> ConfigDict:
    """The config of a part of a document with whole examples of it: every key's own example makes sense in the first
    that has the key, or else in the first (testbed.scenario.keys)."""
    return ConfigDict(json_schema_extra={"examples": list(examples)})


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
    """An engine of consensus in a Python file of the user's."""

    model_config = shown_as({"file": "dictator.py", "class": "Dictator"})

    file: str = Field(description="The Python file, from the scenario's directory.", examples=["dictator.py"])
    class_: str = Field(
        alias="class",
        description="What in the file is the engine: a machine, an algorithm made of rounds, or an EngineSpec.",
        examples=["Dictator"],
    )
    args: dict[str, int | float | str | bool] = Field(
        default_factory=dict,
        description="The class's own settings: its keyword-only arguments. The same as protocol.parameters.",
        examples=[{"patience": 2}],
    )
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
    """A Mininet Topo class in a Python file of the user's."""

    model_config = shown_as({"file": "mine.py", "class": "Mine", "args": {"size": 5}})

    file: str = Field(description="The Python file, from the scenario's directory.", examples=["mine.py"])
    class_: str = Field(
        alias="class",
        description="The name of the Topo class in it, or one of its dictionary topos, as mn --custom takes it.",
        examples=["Mine"],
    )
    args: dict[str, int | float | str | bool] | list[int | float | str | bool] = Field(
        default_factory=dict, description="What the class is built with, by name or by place.", examples=[{"size": 5}]
    )


class CustomTopology(Part):
    """A fabric from a Mininet Topo class of the user's."""

    model_config = shown_as({"custom": {"file": "mine.py", "class": "Mine"}})

    custom: CustomClass = Field(
        description="The file and the class in it.", examples=[{"file": "mine.py", "class": "Mine"}]
    )


class FromFileTopology(Part):
    """A fabric from a file: an adjacency list, GraphML, or a topology of containerlab's."""

    model_config = shown_as(
        {"kind": "from_file", "file": "mine.adj"},
        {"kind": "from_file", "file": "switches.adj", "hosts_per_switch": 2},
    )

    kind: Literal["from_file"] = Field(description="That it comes from a file.", examples=["from_file"])
    file: Annotated[str, Field(min_length=1)] = Field(
        description="Its path, from the scenario's directory.", examples=["mine.adj"]
    )
    format: Literal["adjacency", "graphml", "containerlab"] | None = Field(
        default=None,
        description="What is in it; default by the file's ending (.adj and .txt, .graphml, .yml and .yaml).",
        examples=["adjacency"],
    )
    hosts_per_switch: Annotated[int, Field(ge=0, le=MOST_HOSTS)] = Field(
        default=0,
        description="So many hosts are put on every switch of the file; nodes that it does not say to be hosts are "
        "then switches. 0: a node with one link is a host, one with more a switch.",
        examples=[2],
    )


_KINDS_HERE = (*KINDS, "from_file")


class InstalledTopology(Part):
    """A topology that an installed package brings (entry points ``oae_testbed.topologies``), with its own arguments."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(
        description="Its name, as the package says it; what else stands here are its arguments.",
        examples=["comb"],
        json_schema_extra={"not": {"enum": list(_KINDS_HERE)}},
    )


def _topology_model(kind: str) -> type[Part]:
    known = KINDS[kind]
    fields: dict[str, Any] = {
        name: (
            Annotated[int, Field(ge=1, le=MOST_HOSTS)],
            Field(default=default, description=known.meanings[name], examples=[default]),
        )
        for name, default in known.parameters.items()
    }
    tag = Field(description="Which fabric.", examples=[kind])
    return create_model(
        "".join(word.capitalize() for word in kind.split("_")) + "Topology",
        __base__=Part,
        __module__=__name__,
        __doc__=known.description,
        **{"kind": (Literal[kind], tag), **fields},
    )


TOPOLOGY_MODELS: dict[str, type[Part]] = {
    **{kind: _topology_model(kind) for kind in KINDS},
    "from_file": FromFileTopology,
    "custom": CustomTopology,
}
globals().update({model.__name__: model for model in TOPOLOGY_MODELS.values()})  # pickle looks them up here


def _topology_tag(value: object) -> str | None:
    if isinstance(value, InstalledTopology):
        return "installed"
    if isinstance(value, Part):
        return str(getattr(value, "kind", "custom"))
    if not isinstance(value, dict):
        return None
    kind = "custom" if "custom" in value else value.get("kind")
    if not isinstance(kind, str):
        return None
    return "installed" if plugins.called(plugins.TOPOLOGIES, kind, _KINDS_HERE) else kind


if TYPE_CHECKING:
    Topology = Part
else:
    Topology = Annotated[
        Union[  # noqa: UP007
            tuple(
                Annotated[model, Tag(name)]
                for name, model in {**TOPOLOGY_MODELS, "installed": InstalledTopology}.items()
            )
        ],
        Discriminator(_topology_tag),
    ]


class BurstLoss(Part):
    """Gilbert-Elliott loss: a direction is in a good or a bad state, and loses frames in either."""

    model_config = shown_as({"p": "1%", "r": "20%"})

    p: Share = Field(description="Chance, per frame, to go from the good state to the bad one.", examples=["1%"])
    r: Share = Field(description="Chance, per frame, to go from the bad state back to the good one.", examples=["20%"])
    loss_bad: Share = Field(
        default=1.0, description="Share of frames that are lost in the bad state.", examples=["80%"]
    )
    loss_good: Share = Field(
        default=0.0, description="Share of frames that are lost in the good state.", examples=["0.1%"]
    )


class MeasuredDelays(Part):
    """Delays measured by the user: a column of a table, what ping, owping or sockperf prints, or a capture in which
    (or two between which) frames are seen twice; which of these a file is, is told by what stands in it. delay and
    jitter default to the samples' mean and standard deviation."""

    model_config = shown_as(
        {"file": "rtt.csv", "column": "rtt_us"},
        {"file": "sent.pcapng", "received": "received.pcapng"},
        {"file": "run.pcapng", "between": ["host1-eth0", "host2-eth0"]},
    )

    file: Annotated[str, Field(min_length=1)] = Field(
        description="The file, from the scenario's directory.", examples=["rtt.csv"]
    )
    column: Annotated[int, Field(ge=1)] | str | None = Field(
        default=None,
        description="Of a table: a name from the header, or a number from 1 (default: the only one that looks like "
        "delays).",
        examples=["rtt_us"],
    )
    unit: Literal["ns", "us", "ms", "s"] | None = Field(
        default=None,
        description="Of values that carry none (default: what the column's name ends with, else us).",
        examples=["us"],
    )
    of: Literal["delay", "rtt"] | None = Field(
        default=None,
        description="What a value is: a delay of one way, or a round trip, of which the half is taken (default: rtt "
        "for ping and for sockperf's round trips, else delay).",
        examples=["rtt"],
    )
    received: str | None = Field(
        default=None,
        description="A second capture, in which the frames of the first arrive.",
        examples=["received.pcapng"],
    )
    between: Annotated[tuple[str, str], Field(strict=False)] | None = Field(
        default=None,
        description="The interface of the captures at which a frame is seen first, and the other.",
        examples=[["host1-eth0", "host2-eth0"]],
    )


def _distribution_tag(value: object) -> str:
    """No tag may be a key that can stand below: a place in the document is found by leaving tags out."""
    return "measured delays" if isinstance(value, dict | MeasuredDelays) else "name"


Distribution = Annotated[
    Annotated[Literal["uniform", "normal", "pareto", "paretonormal"], Tag("name")]
    | Annotated[MeasuredDelays, Tag("measured delays")],
    Discriminator(_distribution_tag),
]


class LinkSettings(Part):
    """What a selector sets on link directions; what it leaves out stays as earlier selectors set it."""

    model_config = shown_as({"delay": "20us", "jitter": "2us"})

    delay: Time | None = Field(default=None, description="How long a frame is on the link.", examples=["20us"])
    jitter: Annotated[Time, Field(le=INT_MAX)] | None = Field(
        default=None,
        description="How much the delay varies: half the width of a uniform distribution, the standard deviation of "
        "any other.",
        examples=["2us"],
    )
    distribution: Distribution | None = Field(
        default=None,
        description="How the delay is distributed: by name, or as measured delays have it.",
        examples=["normal"],
    )
    correlation: Share | None = Field(
        default=None,
        description="Of a frame's delay with that of the frame before it (netem's; it narrows the jitter).",
        examples=["25%"],
    )
    loss: Share | None = Field(
        default=None, description="Share of frames that are lost, each by itself.", examples=["0.1%"]
    )
    loss_correlation: Share | None = Field(
        default=None, description="Of a frame's loss with that of the frame before it.", examples=["25%"]
    )
    burst_loss: BurstLoss | None = Field(
        default=None, description="Loss in bursts, in place of loss.", examples=[{"p": "1%", "r": "20%"}]
    )
    duplicate: Share | None = Field(default=None, description="Share of frames that come twice.", examples=["0.1%"])
    corrupt: Share | None = Field(
        default=None,
        description="Share of frames in which a bit flips; who reads such a frame drops it.",
        examples=["0.1%"],
    )
    order: Literal["free", "fifo"] | None = Field(
        default=None,
        description="free: a frame with a shorter delay overtakes; fifo: frames stay in order, and wait for those "
        "before them.",
        examples=["fifo"],
    )
    rate: Rate | None = Field(
        default=None,
        description="How fast frames are put on the link, preamble, FCS and gap included; it keeps their order.",
        examples=["10gbit"],
    )
    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        description="Frames that the direction can hold; more are lost (default: computed, so that none are).",
        examples=[1000],
    )

    @model_validator(mode="after")
    def _one_loss(self) -> LinkSettings:
        if self.loss and self.burst_loss:
            raise FieldError("burst_loss", "stands beside loss; a direction has one or the other")
        return self

    def settings(self) -> dict[str, Any]:
        """The fields that are set, by name."""
        return {name: getattr(self, name) for name in LinkSettings.model_fields if getattr(self, name) is not None}


class Protocol(Part):
    """The machine on every participant."""

    model_config = shown_as(
        {"consensus": "oae", "rounds": 100},
        {"consensus": "paxos", "instances": 20},
        {"custom": {"file": "dictator.py", "class": "Dictator"}, "instances": 20},
        {"neighbourhood": "tree", "neighbourhood_width": 3},
    )

    consensus: Consensus = Field(
        default=PLAIN_SWAPS,
        description="The engine of consensus: one that ships (none: swaps, and nothing to decide), or mine.py:Mine, "
        "one in a file of the user's.",
        examples=["oae"],
    )
    custom: CustomEngine | None = Field(
        default=None,
        description="An engine in a file of the user's, in place of consensus.",
        examples=[{"file": "dictator.py", "class": "Dictator"}],
    )
    handshake: Literal["alternating", "simultaneous"] = Field(
        default="alternating",
        description="Of a swap: alternating (one speaks, the other answers, and so on) or simultaneous (both speak at "
        "once).",
        examples=["simultaneous"],
    )
    depth: Annotated[int, Field(ge=1, le=255)] = Field(
        default=4, description="Messages of an alternating handshake.", examples=[6]
    )
    horizon: Literal["abort", "hold", "reconcile"] = Field(
        default="abort",
        description="What an end does that has not heard enough when the window has passed: give the swap up (abort), "
        "wait on (hold), or ask until both know the same (reconcile).",
        examples=["reconcile"],
    )
    window: Annotated[Time, Field(gt=0)] = Field(
        default=300_000, description="W, from a round's start to its horizon.", examples=["300us"]
    )
    period: Annotated[Time, Field(gt=0)] | None = Field(
        default=None,
        description="From one round's start (or instance's) to the next (default: window).",
        examples=["400us"],
    )
    rounds: Annotated[int, Field(ge=1, le=MOST_ROUNDS)] | None = Field(
        default=None, description="How many rounds are run, for engines made of swaps (default: 1).", examples=[1000]
    )
    instances: Annotated[int, Field(ge=1, le=MOST_ROUNDS)] | None = Field(
        default=None,
        description="How many instances are run, for engines that are not made of swaps (default: 1).",
        examples=[20],
    )
    f: Annotated[int, Field(ge=0)] = Field(default=0, description="Crashes that the engine has to bear.", examples=[1])
    retry: Annotated[Time, Field(gt=0)] | None = Field(
        default=None,
        description="From a message to its retransmission where no answer comes (default: window).",
        examples=["100us"],
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="The engine's own settings; which there are stands with each engine.",
        examples=[{}],
    )
    inputs: Literal["distinct", "random"] = Field(
        default="distinct",
        description="What nodes propose: each its own number (distinct), or a number drawn from the run's seed "
        "(random).",
        examples=["random"],
    )
    participants: Names = Field(
        default_factory=lambda: ["*"],
        description="Patterns of the hosts that take part: names, role:server, group:pod1.",
        examples=[["host1", "host2", "host3"]],
    )
    neighbourhood: NeighbourhoodKind | None = Field(
        default=None,
        description="Who of them is whose peer: all; tree (parent and children), groups (all of a group, and its first "
        "with those of the others), lattice (a grid), links (direct links only), or reach (whoever frames "
        "get to without another host between). Default: all where all reach each other, else reach.",
        examples=["tree"],
    )
    neighbourhood_width: Annotated[int, Field(ge=1, le=MOST_HOSTS)] | None = Field(
        default=None,
        description="Children in a tree (2), members of a group or columns of a lattice (default: the root of the "
        "participants' number).",
        examples=[3],
    )

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
    """What the participants replicate: a state machine on a log whose entries the consensus decides."""

    model_config = shown_as({"kind": "kv", "reads": "index"})

    kind: ServiceName = Field(description="Which service.", examples=["kv"])
    batch: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=64, description="Most operations in one entry.", examples=[32]
    )
    snapshot_every: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=64, description="After so many entries a replica writes its state down in their place.", examples=[100]
    )
    reads: Reads = Field(
        default="log",
        description="How commands that only read are carried out: as entries of the log like all others (log); by the "
        "own state of the replica that is asked, once the consensus says that it is not old, by a read "
        "index (index) or by a leader's lease (lease); or by that state at once (local), which need not be "
        "linearizable.",
        examples=["index"],
    )


def _as_service(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


NamedService = Annotated[Service, BeforeValidator(_as_service, json_schema_input_type=ServiceName | Service)]


class Clients(Part):
    """Hosts that ask for the service, besides the participants."""

    model_config = shown_as({"hosts": ["host4"], "operations": 50}, {"hosts": ["host4"], "every": "1ms"})

    hosts: Names = Field(description="Patterns of the hosts that ask.", examples=[["host4"]])
    operations: Annotated[int, Field(ge=1, le=MOST_ROUNDS)] = Field(
        default=100, description="How many operations each asks for.", examples=[50]
    )
    think: Time | None = Field(
        default=None,
        description="From an answer to the next call: a closed loop (default: at once).",
        examples=["100us"],
    )
    every: Annotated[Time, Field(gt=0)] | None = Field(
        default=None,
        description="From one call to the next, answered or not, in place of think: an open loop.",
        examples=["1ms"],
    )
    timeout: Annotated[Time, Field(gt=0)] | None = Field(
        default=None,
        description="Without an answer for so long, the next replica is asked (default: ten windows).",
        examples=["5ms"],
    )
    mix: dict[str, Any] = Field(
        default_factory=dict,
        description="What is asked for: the service's own settings; which there are stands with each service.",
        examples=[{}],
    )

    @model_validator(mode="after")
    def _one_loop(self) -> Clients:
        if self.think is not None and self.every is not None:
            raise FieldError("every", "stands beside think; a client waits for answers, or it does not")
        return self


class ClockSync(Part):
    """The synchronisation that a fabric would have: every clock is set at the multiples of ``every`` on the run's
    clock, to within so much of true time; how far off it is then is drawn from the run's seed."""

    model_config = shown_as({"every": "10ms", "within": "1us"})

    every: Annotated[Time, Field(gt=0)] = Field(description="From one synchronisation to the next.", examples=["10ms"])
    within: Time = Field(
        default=0, description="How far off true time a clock may be right after it.", examples=["1us"]
    )


class ClockSettings(Part):
    """A host's own clock. What is left out stays as earlier patterns set it."""

    model_config = shown_as({"offset": "3us", "drift": "-20ppm"})

    offset: SignedTime | None = Field(
        default=None,
        description="How far it is ahead of true time (behind, if negative) at the start; where it is synchronised, "
        "every time it is set.",
        examples=["-5us"],
    )
    drift: Drift | None = Field(default=None, description="How much it gains (loses, if negative).", examples=["20ppm"])
    sync: ClockSync | None = Field(
        default=None,
        description="How it is synchronised (default: never).",
        examples=[{"every": "10ms", "within": "1us"}],
    )


class Trigger(Part):
    """The protocol moment at which a fault strikes, once: a link state entered or left, or so many frames sent, or
    records written."""

    model_config = shown_as(
        {"node": "host2", "enters": "REFLECTING"},
        {"node": "host2", "leaves": "TENTATIVE"},
        {"node": "host2", "after_sends": 3},
        {"node": "host2", "after_writes": 2},
    )

    node: str = Field(
        description="At whom, by name, role:server or group:pod1; at several, it strikes once for each.",
        examples=["host2"],
    )
    enters: StateName | None = Field(
        default=None, description="The link state that it enters.", examples=["REFLECTING"]
    )
    leaves: StateName | None = Field(default=None, description="The link state that it leaves.", examples=["TENTATIVE"])
    after_sends: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Right after that many sends of a round.", examples=[3]
    )
    after_writes: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="When so many records of one life have been written to the node's disk, before the last is synced.",
        examples=[2],
    )
    round: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Only in this round (default: in any).", examples=[17]
    )
    peer: str | None = Field(
        default=None, description="Only in the swap with this host (default: with any).", examples=["host3"]
    )
    after: Time = Field(default=0, description="So much later.", examples=["5us"])

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
    """One fault: what it does, on whom, and when (at or from an instant, or at a protocol moment). A mapping, or a
    line of text: ``at 10ms partition host1,host2 | host3``, ``when host2 enters REFLECTING: nic_down host2 for
    5ms``. Link settings given here are what changes on links."""

    model_config = shown_as(
        {"at": "10ms", "do": "nic_down", "on": ["host1"], "for": "5ms"},
        {"at": "10ms", "do": "jitter", "jitter": "100us", "links": ["leaf*<->spine*"], "for": "5ms"},
        {"at": "10ms", "do": "partition", "groups": [["host1"], ["host2", "host3"]], "one_way": True},
        {"from": "1ms", "until": "9ms", "do": "flap", "on": ["host1"], "every": "2ms", "for": "1ms"},
        {"at": "1ms", "do": "nic_mute", "on": ["host1"], "every": "2ms", "times": 3, "for": "1ms"},
        {"when": {"node": "host2", "enters": "REFLECTING"}, "do": "nic_down"},
        {"at": "10ms", "do": "nic_half", "on": ["host1"], "direction": "tx"},
        {"at": "10ms", "do": "nic_deaf", "on": ["host1"], "to": ["host2"]},
        {"at": "10ms", "do": "node_kill", "on": ["host1"], "for": "5ms", "state": "kept"},
        {"at": "10ms", "do": "clock_step", "on": ["host1"], "by": "-5us"},
        {"at": "10ms", "do": "clock_drift", "on": ["host1"], "drift": "20ppm"},
        {"at": "10ms", "do": "link_down", "links": ["leaf1<->spine1"], "reroute": "1ms"},
        {"at": "10ms", "do": "loss", "burst_loss": {"p": "1%", "r": "20%"}},
        {
            "at": "10ms",
            "do": "jitter",
            "jitter": "2us",
            "delay": "20us",
            "distribution": "normal",
            "correlation": "25%",
            "loss": "0.1%",
            "loss_correlation": "25%",
            "duplicate": "0.1%",
            "corrupt": "0.1%",
            "order": "fifo",
            "rate": "10gbit",
            "limit": 1000,
        },
    )

    do: VerbName = Field(description="The verb.", examples=["nic_down"])
    on: Names | None = Field(
        default=None,
        description="Hosts by name pattern, role:server or group:pod1, interfaces (host1-eth0), or switches; default "
        "with when: the node of the moment.",
        examples=[["host1"]],
    )
    groups: Annotated[list[Names], Field(min_length=2)] | None = Field(
        default=None,
        description="Of a partition, the groups; who shares one hears each other.",
        examples=[[["host1"], ["host2", "host3"]]],
    )
    one_way: bool | None = Field(
        default=None,
        description="Of a partition of two groups: what the first sends does not reach the second, and no more than "
        "that.",
        examples=[True],
    )
    at: Instant | None = Field(
        default=None,
        description="The instant: a time on the run's clock, or a round's start and so much later.",
        examples=["round 17 + 20us"],
    )
    from_: Instant | None = Field(
        default=None,
        alias="from",
        description="The first instant of what goes on or happens over and over.",
        examples=["1ms"],
    )
    until: Instant | None = Field(
        default=None, description="Undone then; where it happens over and over, until then.", examples=["9ms"]
    )
    when: Trigger | None = Field(
        default=None,
        description="The protocol moment, in place of an instant.",
        examples=[{"node": "host2", "enters": "REFLECTING"}],
    )
    for_: Annotated[Time, Field(gt=0)] | None = Field(
        default=None, alias="for", description="Undone after this long.", examples=["1ms"]
    )
    every: Annotated[Time, Field(gt=0)] | None = Field(
        default=None,
        description="Strikes again and again, so long after each other (rolling_restart: from host to host; churn: how "
        "long a host is up on average).",
        examples=["2ms"],
    )
    times: Annotated[int, Field(ge=1, le=MOST_BLOWS)] | None = Field(
        default=None, description="How often, in place of until.", examples=[3]
    )
    direction: Literal["tx", "rx"] | None = Field(
        default=None, description="Of nic_half: what it sends (tx), or what comes to it (rx).", examples=["tx"]
    )
    to: Names | None = Field(
        default=None, description="The hosts that nic_deaf is deaf to, and nic_hear hears again.", examples=[["host2"]]
    )
    state: DiskState | None = Field(
        default=None,
        description="What a restarted node finds on its disk: all that it had written (kept), what it had also synced "
        "(unsynced_lost), all but the last unsynced record, which was cut (torn), or nothing (lost, the "
        "default).",
        examples=["kept"],
    )
    by: SignedTime | None = Field(
        default=None,
        description="How far clock_step sets a clock forward, or back; how much longer a node_slow node takes for each "
        "frame and timer.",
        examples=["-5us"],
    )
    drift: Drift | None = Field(
        default=None, description="What a clock gains by clock_drift, besides what it did before.", examples=["20ppm"]
    )
    reroute: Time | None = Field(
        default=None,
        description="So long after a link or switch went down, and after it came back, switches forward around what is "
        "down (default: never).",
        examples=["1ms"],
    )
    links: Names | None = Field(
        default=None,
        description="Selectors of the links that go down or come up, or, for verbs that change link settings, of those "
        "that are changed (default: all).",
        examples=[["leaf1<->spine1"]],
    )

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


class OwnFault(Part):
    """A fault that is made of others: one that an installed package brings (entry points ``oae_testbed.faults``), or a
    function in a file of the user's. What stands beside ``do`` is its own."""

    model_config = ConfigDict(extra="allow")

    do: str = Field(
        description="Its name, as the package says it, or mine.py:rack_power.",
        examples=["mine.py:rack_power"],
        json_schema_extra={"not": {"enum": list(VERBS)}},
    )


def _order_tag(value: object) -> str:
    verb = value.get("do") if isinstance(value, dict) else getattr(value, "do", None)
    if not isinstance(verb, str) or (verb in VERBS and plugins.called(plugins.FAULTS, verb, VERBS) is None):
        return "order"
    return "own" if ".py:" in verb or plugins.called(plugins.FAULTS, verb, VERBS) is not None else "order"


if TYPE_CHECKING:
    AnyOrder = FaultOrder | OwnFault
else:
    AnyOrder = Annotated[
        Annotated[FaultOrder, Tag("order")] | Annotated[OwnFault, Tag("own")], Discriminator(_order_tag)
    ]


def _as_orders(value: object) -> object:
    """A text of several lines is as many orders; ``#`` begins a comment, as in the rest of the document."""
    if not isinstance(value, str):
        return value
    lines = (line.partition("#")[0].strip() for line in value.splitlines())
    return [line for line in lines if line]


class RandomFaults(Part):
    """Faults at random instants from one on until another, so many of each; ``testbed explain`` prints them as lines
    that can be pasted in their place."""

    model_config = shown_as({"seed": 7, "until": "25ms", "crashes": 1, "partitions": 2})

    seed: Annotated[int, Field(ge=0, lt=2**64)] = Field(
        description="Of these faults; the run's own seed does not change them.", examples=[7]
    )
    from_: Instant = Field(
        default="0s", alias="from", description="The instant from which on they come.", examples=["2ms"]
    )
    until: Instant = Field(description="The instant until which they come.", examples=["25ms"])
    crashes: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="Hosts that die and stay dead, different ones.", examples=[1]
    )
    restarts: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="Hosts that die and come back, with any state.", examples=[2]
    )
    pauses: Annotated[int, Field(ge=0, le=1000)] = Field(default=0, description="Pauses of hosts.", examples=[2])
    mutes: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="NICs that fall silent for a while.", examples=[2]
    )
    flaps: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="NICs that come and go two to four times.", examples=[2]
    )
    partitions: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="Partitions, one-way ones among them.", examples=[3]
    )
    slows: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0,
        description="Nodes that take 1 us to a tenth of shortest longer for each event, for a while.",
        examples=[1],
    )
    shortest: Annotated[Time, Field(gt=1)] = Field(
        default=100_000, description="How long those last at least that end.", examples=["100us"]
    )
    longest: Annotated[Time, Field(gt=1)] = Field(
        default=2_000_000, description="How long they last at most.", examples=["2ms"]
    )
    on: Names = Field(
        default_factory=lambda: ["*"], description="The hosts that are struck, by name pattern.", examples=[["host*"]]
    )

    @model_validator(mode="after")
    def _in_order(self) -> RandomFaults:
        if self.shortest > self.longest:
            raise FieldError("shortest", "is longer than longest")
        return self


class RandomPlan(Part):
    """Faults that are drawn instead of listed."""

    model_config = shown_as({"random": {"seed": 7, "until": "25ms", "crashes": 1}})

    random: RandomFaults = Field(
        description="How many of which faults, and when.", examples=[{"seed": 7, "until": "25ms", "crashes": 1}]
    )


def _faults_tag(value: object) -> str:
    return "random" if isinstance(value, dict | RandomPlan) else "list"


if TYPE_CHECKING:
    Faults = list[FaultOrder | OwnFault] | RandomPlan
else:
    Faults = Annotated[
        Annotated[
            Annotated[list[AnyOrder], BeforeValidator(_as_orders, json_schema_input_type=str | list[AnyOrder | str])],
            Tag("list"),
        ]
        | Annotated[RandomPlan, Tag("random")],
        Discriminator(_faults_tag),
    ]


class LieOrder(Part):
    """One lie: what a host says that its machine does not. Verdicts bind the hosts that have none to tell."""

    model_config = shown_as(
        {"kind": "silent", "on": ["host1"], "from": "1ms", "until": "9ms"},
        {"kind": "equivocate", "on": ["host1"], "to": ["host2"]},
        {"kind": "delay", "on": ["host1"], "by": "50us"},
        {"kind": "silent", "when": {"node": "host1", "enters": "REFLECTING"}, "for": "5ms"},
    )

    kind: KindOfLie = Field(
        description="equivocate (another value to the peers of to, or to each peer its own), wrong_value (one to all), "
        "withhold (nothing to those of to), silent (nothing to anybody), replay (an old message again "
        "behind each), delay (by so much later).",
        examples=["silent"],
    )
    on: Names | None = Field(
        default=None,
        description="The liars, by name pattern, role:server or group:pod1; default with when: the node of the moment.",
        examples=[["host1"]],
    )
    to: Names | None = Field(
        default=None, description="The peers that it is told to (default: all).", examples=[["host2"]]
    )
    from_: Instant | None = Field(
        default=None,
        alias="from",
        description="The instant from which on it is told (default: from the start).",
        examples=["1ms"],
    )
    until: Instant | None = Field(
        default=None, description="The instant until which it is told (default: to the end).", examples=["9ms"]
    )
    for_: Annotated[Time, Field(gt=0)] | None = Field(
        default=None, alias="for", description="So long, in place of until.", examples=["5ms"]
    )
    when: Trigger | None = Field(
        default=None,
        description="The protocol moment of the liar's own at which it begins.",
        examples=[{"node": "host1", "enters": "REFLECTING"}],
    )
    by: Annotated[Time, Field(gt=0)] | None = Field(
        default=None, description="Of delay: how much later.", examples=["50us"]
    )

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
    """Nodes are containers. What a node records counts."""

    model_config = shown_as({"kind": "container", "cpus": 0.5, "memory": "256MiB"})

    kind: Literal["container"] = Field(description="That they are containers.", examples=["container"])
    cpus: Annotated[float, Field(ge=0.01, le=1024)] | None = Field(
        default=None,
        description="How many processors' worth of time each may take (default: no limit of its own).",
        examples=[0.5],
    )
    memory: Size | None = Field(
        default=None,
        description="How much memory each may take, 32MiB at least (default: no limit of its own).",
        examples=["256MiB"],
    )

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
    """A capture file for each of these links and nodes, in place of one of everything. What a run records beside them
    is the same."""

    model_config = shown_as({"links": ["leaf*<->spine*"], "nodes": ["host1"]})

    links: Names = Field(
        default_factory=list, description="Selectors of links; both ends are captured.", examples=[["leaf*<->spine*"]]
    )
    nodes: Names = Field(
        default_factory=list, description="Patterns of nodes; all their NICs are captured.", examples=[["host1"]]
    )

    @model_validator(mode="after")
    def _of_something(self) -> CaptureFiles:
        if not self.links and not self.nodes:
            raise ValueError("names nothing; write links: [leaf*<->spine*], nodes: [host1], or capture: true")
        return self


def _capture_tag(value: object) -> str:
    return "mapping" if isinstance(value, dict | CaptureFiles) else "flag"


Capture = Annotated[Annotated[bool, Tag("flag")] | Annotated[CaptureFiles, Tag("mapping")], Discriminator(_capture_tag)]


class Expectation(Part):
    """What the run is expected to show; exit code 1 when it does not."""

    model_config = shown_as({"bisynchrony": "holds"})

    bisynchrony: Literal["holds", "breaks"] | None = Field(
        default=None,
        description="Whether every swap of every round ended alike at both ends, in time.",
        examples=["holds"],
    )
    kinds: list[BreakKind] | None = Field(
        default=None, description="Exactly these kinds of breaks occur.", examples=[["split", "late"]]
    )
    splits: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="So many swaps end with one end committed and the other aborted.", examples=[0]
    )
    blocked: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="So many swaps are still undecided at an end when the run is over.", examples=[0]
    )
    agreement: Literal["holds", "violated"] | None = Field(
        default=None, description="Whether nobody decides otherwise than others.", examples=["holds"]
    )
    validity: Literal["holds", "violated"] | None = Field(
        default=None, description="Whether only what somebody proposed is decided.", examples=["holds"]
    )
    integrity: Literal["holds", "violated"] | None = Field(
        default=None,
        description="Of a log: whether nothing is delivered more often than submitted.",
        examples=["holds"],
    )
    order: Literal["holds", "violated"] | None = Field(
        default=None, description="Of a log: whether all deliver in the one order.", examples=["holds"]
    )
    termination: Literal["all", "some", "none"] | None = Field(
        default=None, description="How many of the instances are decided everywhere.", examples=["all"]
    )
    service: Literal["holds", "violated"] | None = Field(
        default=None,
        description="Whether logs agree, every result follows from them, and what is promised of them holds.",
        examples=["holds"],
    )
    durability: Literal["holds", "violated"] | None = Field(
        default=None,
        description="Whether what a client was told to have happened stands in the log.",
        examples=["holds"],
    )
    exclusion: Literal["holds", "violated"] | None = Field(
        default=None,
        description="Of a lock: one holder of each token, and nothing written under an older token after a newer one.",
        examples=["holds"],
    )
    leadership: Literal["holds", "violated"] | None = Field(
        default=None, description="Of an election: one leader of each term, and terms grow.", examples=["holds"]
    )
    barrier: Literal["holds", "violated"] | None = Field(
        default=None, description="Of rounds that open: nobody is let through before all have come.", examples=["holds"]
    )
    sums: Literal["holds", "violated"] | None = Field(
        default=None,
        description="Of an all-reduce: each sum is that of what every worker contributed, once.",
        examples=["holds"],
    )
    staleness: Literal["holds", "violated"] | None = Field(
        default=None, description="Of a parameter server: no model is older than its bound.", examples=["holds"]
    )
    operations: Literal["all", "some", "none"] | None = Field(
        default=None, description="How many of the operations that clients asked for returned.", examples=["all"]
    )
    fidelity: Literal["trusted", "not_checked", "not_trusted"] | None = Field(
        default=None, description="Whether the run can be trusted as a measurement.", examples=["trusted"]
    )


class Written(Part):
    """A scenario as it was written: a fabric, what its links do, the protocol on its hosts, what befalls them, and
    what is expected."""

    model_config = shown_as(
        {
            "name": "example",
            "topology": {"kind": "leaf_spine", "leaves": 2},
            "protocol": {"rounds": 100},
        },
        {
            "name": "example",
            "topology": {"kind": "star", "hosts": 4},
            "protocol": {"consensus": "raft", "participants": ["host1", "host2", "host3"], "instances": 10},
            "service": {"kind": "kv"},
            "clients": {"hosts": ["host4"]},
        },
    )

    schema_: str | None = Field(
        default=None,
        alias="$schema",
        description="Where this document's JSON Schema is, for editors; it changes nothing.",
        examples=["../docs/scenario.schema.json"],
    )
    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._-]+$")] = Field(
        description="What it is called; of letters, digits, '.', '_' and '-'.", examples=["example"]
    )
    description: str = Field(
        default="",
        description="What it is about; the first sentence is its story in lists.",
        examples=["A NIC falls silent in the middle of a swap."],
    )
    topology: Topology = Field(
        description="The fabric: a kind with its parameters, a file, or a class of your own.",
        examples=[{"kind": "star", "hosts": 4}],
    )
    links: dict[str, LinkSettings] = Field(
        default_factory=dict,
        description="What links do, by selector: default applies first, then the others in the order in which they are "
        "written, each overriding the fields that it names. A selector is host1<->leaf1, leaf*->spine* (one "
        "direction), role:spine or tier:core-aggregation.",
        examples=[{"default": {"delay": "5us", "jitter": "1us"}}],
    )
    protocol: Protocol = Field(
        default=Protocol(),
        description="The machine on every participant.",
        examples=[{"consensus": "oae", "rounds": 100}],
    )
    service: NamedService | None = Field(
        default=None, description="What the participants replicate: a name, or a mapping.", examples=[{"kind": "kv"}]
    )
    clients: Clients | None = Field(
        default=None, description="Who asks for the service.", examples=[{"hosts": ["host4"]}]
    )
    clocks: dict[str, ClockSettings] = Field(
        default_factory=dict,
        description="Hosts' own clocks by name pattern, in order, each overriding the fields that it names; any other "
        "host tells true time.",
        examples=[{"host1": {"drift": "20ppm"}}],
    )
    faults: Faults = Field(
        default_factory=list,
        description="What befalls nodes, NICs, links and switches: a list of mappings and lines of text, lines of text "
        "alone, or so many at random.",
        examples=[[{"at": "10ms", "do": "nic_mute", "on": ["host3"]}, "at 20ms node_kill host2 for 5ms"]],
    )
    lies: list[LieOrder] = Field(
        default_factory=list,
        description="What hosts say that their machines do not.",
        examples=[[{"kind": "silent", "on": ["host1"]}]],
    )
    seed: Annotated[int, Field(ge=0, lt=2**64)] = Field(
        default=0, description="All that is drawn in a run comes of it.", examples=[7]
    )
    engine: EngineName = Field(
        default="sim", description="What runs it unless the command line says otherwise.", examples=["vkernel"]
    )
    nodes: Nodes = Field(
        default="namespace",
        description="What a host is in live and vkernel: a plain namespace, or a container, with limits if wanted; sim "
        "computes both alike.",
        examples=["container"],
    )
    switches: Literal["plain", "cells"] = Field(
        default="plain",
        description="plain ones, which forward, or cells: nodes that speak OAE and carry swaps hop by hop.",
        examples=["cells"],
    )
    capture: Capture = Field(
        default=True,
        description="Whether it is recorded where each frame was when, and captured as pcapng; a mapping names the "
        "files that are wanted.",
        examples=[False],
    )
    epsilon: Time | None = Field(
        default=None,
        description="The greatest skew between the two ends of a swap (default: window).",
        examples=["50us"],
    )
    settle: Time | None = Field(
        default=None,
        description="How long the run goes on after the last round (default: long enough for late frames).",
        examples=["5ms"],
    )
    expect: Expectation = Field(
        default=Expectation(), description="What the run is expected to show.", examples=[{"bisynchrony": "holds"}]
    )

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
