"""What tests of several rooms are built from: small, plain, with defaults for whatever a test does not care about."""

from __future__ import annotations

from typing import Any

from nodes.core.config import NodeConfig, Peer, ProtocolConfig
from testbed.plan import PlannedNode, derive_seed
from topologies.fabric import Fabric


def node_config(
    node: int, n: int, *, epoch: int = 1, node_seed: int = 0, start_ns: int = 0, **protocol: Any
) -> NodeConfig:
    """Node ``node`` of n nodes, each with a port to every other."""
    peers = tuple(
        Peer(other, f"host{other}", "eth0", f"02:00:00:00:00:{other:02x}") for other in range(n) if other != node
    )
    return NodeConfig(
        node,
        f"host{node}",
        peers,
        {"eth0": f"02:00:00:00:00:{node:02x}"},
        tuple(range(n)),
        ProtocolConfig(**protocol),
        seed=node_seed,
        epoch=epoch,
        start_ns=start_ns,
    )


def everyone(fabric: Fabric, seed: int = 0) -> tuple[PlannedNode, ...]:
    """All hosts of a fabric take part, each with a port to every other."""
    return tuple(PlannedNode(number, derive_seed(seed, "node", number)) for number in range(len(fabric.hosts)))
