"""From a configuration to its machine. Engines are found, not listed: every folder of nodes.consensus with a spec.py.

Only the engine that is asked for is imported, for agents start in a guest in which imports are dear.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import nodes.consensus
from nodes.core.config import MEMBER
from nodes.core.inputs import Inputs
from nodes.core.segmented import Segmented

if TYPE_CHECKING:
    from nodes.consensus.spec import EngineSpec
    from nodes.core import Machine
    from nodes.core.config import NodeConfig


@cache
def engine_names() -> tuple[str, ...]:
    """The engines that there are, in the order of their names."""
    folders = {spec.parent.name for place in nodes.consensus.__path__ for spec in Path(place).glob("*/spec.*")}
    return tuple(sorted(folders - {"__pycache__"}))


@cache
def engine_spec(name: str) -> EngineSpec:
    """What the engine says about itself. Raises ValueError for a name that is no engine."""
    if name not in engine_names():
        raise ValueError(f"{name!r} is no engine; there are {', '.join(engine_names())}")
    spec: EngineSpec = import_module(f"nodes.consensus.{name}.spec").SPEC
    if spec.name != name:
        raise ValueError(f"the engine in nodes/consensus/{name} calls itself {spec.name!r}; one name for both")
    return spec


def engine_specs() -> tuple[EngineSpec, ...]:
    """All of them, loaded."""
    return tuple(engine_spec(name) for name in engine_names())


def build_machine(config: NodeConfig) -> Machine:
    """A fresh machine for a node's program, whose messages may have any size.

    Raises ValueError for a program that there is not.
    """
    if config.program.role != MEMBER:
        raise ValueError(f"{config.name}: there is no program {config.program.name!r} of role {config.program.role!r}")
    return member(config, ())


def member(config: NodeConfig, pitfalls: Collection[str]) -> Machine:
    """A fresh machine of a member, with the engine's ``pitfalls`` planted in it."""
    spec = engine_spec(config.protocol.consensus)
    engine = spec.build(config, pitfalls)
    machine: Machine = Inputs(config, engine, spec.made_of_swaps) if spec.decides else engine
    return machine if spec.made_of_swaps else Segmented(machine)
