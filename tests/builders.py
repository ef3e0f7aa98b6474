"""What tests of several rooms are built from: small, plain, with defaults for whatever a test does not care about."""

from __future__ import annotations

from testbed.plan import PlannedNode, derive_seed
from topologies.fabric import Fabric


def everyone(fabric: Fabric, seed: int = 0) -> tuple[PlannedNode, ...]:
    """All hosts of a fabric take part, each with a port to every other."""
    return tuple(PlannedNode(number, derive_seed(seed, "node", number)) for number in range(len(fabric.hosts)))
