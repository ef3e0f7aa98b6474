"""A fabric written down for other tools: containerlab, Kathara, Mininet as it comes. Pure functions; no I/O.

What a tool can't express is told: in a comment of its file and among the remarks, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Callable

from testbed.export.common import Exported
from testbed.export.containerlab import containerlab
from testbed.export.kathara import kathara
from testbed.export.mininet import mininet
from testbed.topologies.fabric import Fabric

TOOLS: dict[str, Callable[[Fabric, str], Exported]] = {
    "containerlab": containerlab,
    "kathara": kathara,
    "mininet": mininet,
}

__all__ = ["TOOLS", "Exported"]
