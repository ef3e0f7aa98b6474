"""From a node's configuration to its machine: the one place that knows all engines by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodes.oae.rounds import RoundMachine

if TYPE_CHECKING:
    from nodes.core import Machine
    from nodes.core.config import NodeConfig

ROUND_ENGINES = ("none", "floodset", "oae")
MESSAGE_ENGINES = ("paxos", "ben_or")
ENGINES = ROUND_ENGINES + MESSAGE_ENGINES


def build_machine(config: NodeConfig) -> Machine:
    """A fresh machine for ``config.protocol.consensus``. Raises ValueError for a name that is no engine."""
    name = config.protocol.consensus
    if name == "none":
        return RoundMachine(config)
    if name == "floodset":
        from nodes.consensus.floodset import FloodSet

        return RoundMachine(config, FloodSet)
    if name == "oae":
        from nodes.consensus.oae import Oae

        return RoundMachine(config, Oae)
    if name == "paxos":
        from nodes.consensus.paxos import PaxosMachine

        return PaxosMachine(config)
    if name == "ben_or":
        from nodes.consensus.ben_or import BenOrMachine

        return BenOrMachine(config)
    raise ValueError(f"{name!r} is no engine; there are {', '.join(ENGINES)}")
