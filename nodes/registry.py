"""From a configuration to its machine. Engines and services are found, not listed: every folder of
testbed.nodes.consensus, or of testbed.nodes.services, with a spec.py.

Only what is asked for is imported, for agents start in a guest in which imports are dear.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import testbed.nodes.consensus
import testbed.nodes.services
from testbed.nodes.core.commuting import Commuting, by_number
from testbed.nodes.core.config import CLIENT, MEMBER, RELAY
from testbed.nodes.core.inputs import Inputs, Submissions
from testbed.nodes.core.lies import Liar
from testbed.nodes.core.own import EngineName, OwnEngine
from testbed.nodes.core.segmented import Segmented

if TYPE_CHECKING:
    from types import ModuleType

    from testbed.nodes.consensus.spec import EngineSpec
    from testbed.nodes.core import Consensus, Log, Machine, PartialLog
    from testbed.nodes.core.config import NodeConfig, ProtocolConfig
    from testbed.nodes.frames import Message
    from testbed.nodes.services.spec import ServiceSpec


@cache
def engine_names() -> tuple[str, ...]:
    """The engines that there are, in the order of their names."""
    return _folders(testbed.nodes.consensus)


@cache
def engine_spec(name: EngineName) -> EngineSpec:
    """What the engine says about itself. Raises ValueError for a name that is no engine."""
    if isinstance(name, OwnEngine):
        from testbed.nodes.consensus.own import own_spec

        return own_spec(name)
    spec: EngineSpec = _spec(testbed.nodes.consensus, name, engine_names(), "engine")
    return spec


def engine_specs() -> tuple[EngineSpec, ...]:
    """All of them, loaded."""
    return tuple(engine_spec(name) for name in engine_names())


@cache
def service_names() -> tuple[str, ...]:
    """The services that there are, in the order of their names."""
    return _folders(testbed.nodes.services)


@cache
def service_spec(name: str) -> ServiceSpec:
    """What the service says about itself. Raises ValueError for a name that is no service."""
    spec: ServiceSpec = _spec(testbed.nodes.services, name, service_names(), "service")
    return spec


def commuting(protocol: ProtocolConfig, service: str) -> Commuting:
    """Which values commute in a partial order: a service's by the parts that its commands touch, plain inputs by their
    numbers, modulo ``classes`` of the engine's parameters."""
    if not service:
        return Commuting(engine_spec(protocol.consensus).parameters_of(protocol).classes, by_number)
    from testbed.nodes.services.touching import CLASSES, Touching

    return Commuting(CLASSES, Touching(service_spec(service)))


def _folders(room: ModuleType) -> tuple[str, ...]:
    folders = {spec.parent.name for place in room.__path__ for spec in Path(place).glob("*/spec.*")}
    return tuple(sorted(folders - {"__pycache__"}))


def _spec(room: ModuleType, name: str, names: tuple[str, ...], what: str) -> Any:
    """The SPEC in the folder ``name`` of a room; ``what``: what there is one of in each of its folders ``names``."""
    if name not in names:
        raise ValueError(f"{name!r} is no {what}; there are {', '.join(names)}")
    spec = import_module(f"{room.__name__}.{name}.spec").SPEC
    if spec.name != name:
        folder = f"{room.__name__}.{name}".replace(".", "/")
        raise ValueError(f"the {what} in {folder} calls itself {spec.name!r}; one name for both")
    return spec


def build_machine(config: NodeConfig, pitfalls: Collection[str] = ()) -> Machine:
    """A fresh machine for a node's program, whose messages may have any size, with ``pitfalls`` planted in it: of the
    engine, of the service, and of replicas.

    Raises ValueError for a program that there is not.
    """
    role = config.program.role
    if role == CLIENT:
        return Segmented(_client(config))
    if role == MEMBER:
        return member(config, pitfalls)
    if role == RELAY:
        from testbed.nodes.oae.cell import Cell

        return Cell(config)
    raise ValueError(f"{config.name}: no program of role {role!r} can be run; nodes are {MEMBER}, {CLIENT} or {RELAY}")


def member(config: NodeConfig, pitfalls: Collection[str]) -> Machine:
    """A fresh machine of a member, with ``pitfalls`` planted in it."""
    if isinstance(config.protocol.consensus, OwnEngine):
        from testbed.nodes.consensus.own import Guarded

        return Guarded(config, lambda: _member(config, pitfalls))
    return _member(config, pitfalls)


def _member(config: NodeConfig, pitfalls: Collection[str]) -> Machine:
    if config.ways:
        from testbed.nodes.oae.carried import CarriedEnd, inner_config

        return CarriedEnd(config, _member(inner_config(config), pitfalls))
    spec = engine_spec(config.protocol.consensus)
    engine = spec.build(config, tuple(name for name in pitfalls if name in spec.pitfalls))
    if spec.order == "partial":
        cast("PartialLog", engine).order_by(commuting(config.protocol, config.program.name))
    if config.program.name:
        return Segmented(_replica(config, engine, pitfalls))
    machine: Machine = _fed(config, engine) if spec.decides else engine
    return machine if spec.made_of_swaps else Segmented(machine)


def _fed(config: NodeConfig, engine: Consensus | Log) -> Machine:
    """With what the node enters by itself."""
    spec = engine_spec(config.protocol.consensus)
    if spec.keeps_a_log:
        return Submissions(config, cast("Log", engine))
    return Inputs(config, cast("Consensus", engine), spec.made_of_swaps)


def _replica(config: NodeConfig, engine: Consensus | Log, pitfalls: Collection[str]) -> Machine:
    from testbed.nodes.services.by_instances import ReplicaByInstances
    from testbed.nodes.services.by_log import ReplicaByLog
    from testbed.nodes.services.spec import LogParameters

    program, spec = config.program, engine_spec(config.protocol.consensus)
    if not spec.can_serve:
        raise ValueError(f"{config.name}: {spec.name} decides a {spec.carries} at a time; a service needs bytes")
    service, parameters = service_spec(program.name), LogParameters(**program.parameters)
    if parameters.reads not in spec.read_modes:
        raise ValueError(f"{config.name}: {spec.name} has no reads by {parameters.reads}")
    if spec.keeps_a_log:
        return ReplicaByLog(config, cast("Log", engine), service, parameters, pitfalls)
    proposes = cast("Consensus", engine)
    if spec.carries == "number":
        from testbed.nodes.services.spread import Spread

        proposes = Spread(config, proposes)
    return ReplicaByInstances(config, proposes, service, spec.made_of_swaps, parameters, pitfalls)


def _client(config: NodeConfig) -> Machine:
    from testbed.nodes.services.client import Client, ClientParameters
    from testbed.nodes.services.spec import Asker

    parameters = ClientParameters(**config.program.parameters)
    spec = service_spec(config.program.name)
    asker = Asker(config.seed, f"{config.name}.{config.epoch}", parameters.place, parameters.of)
    return Client(config, spec.load(asker, spec.mix(**parameters.mix)), parameters)


def build_liar(config: NodeConfig) -> Liar | None:
    """Who tells a node's lies; None: it has none to tell."""
    if not config.lies:
        return None
    falsify = engine_spec(config.protocol.consensus).falsify

    def falsified(message: Message, which: int) -> Message | None:
        return None if falsify is None else falsify(config, message, which)

    return Liar(config.lies, [peer.node for peer in config.peers], falsified)
